"""A hook of the site: files of the repository that pages link to, and the pages that are such files.

Pages link to scripts, results and the changelog by their paths in the repository, so that a reader of the files finds
them. In the site these files lie under `repository/`; a folder becomes plain text, because a site has no listing of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {"CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md"}
"""Files beside the folder of the documentation that are pages of the site."""
FOLDERS = {"src/effiseg/recipes": "reference/recipes.md"}
"""Folders whose content is a page of the site."""
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?!\w+:|#|<)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand beside the documentation's folder, and every file that a page links to outside it."""
    root, documents = Path(config.config_file_path).parent, Path(config.docs_dir)
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=(root / source).read_text(encoding="utf-8")))
    wanted: set[str] = set()
    for file in files.documentation_pages():
        if file.abs_src_path is None:
            continue
        for match in _LINK.finditer(Path(file.abs_src_path).read_text(encoding="utf-8")):
            path = (documents / file.src_uri).parent / match[3]
            outside = os.path.relpath(path, root)
            if path.is_file() and not outside.startswith("docs") and outside not in PAGES:
                wanted.add(outside)
    for outside in sorted(wanted):
        files.append(File.generated(config, f"repository/{outside}", abs_src_path=str(root / outside)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where their files lie in the site."""
    root = Path(config.config_file_path).parent
    here = root / "docs" / page.file.src_uri
    if page.file.src_uri in PAGES.values():
        here = root / next(source for source, target in PAGES.items() if target == page.file.src_uri)

    def pointed(match: re.Match[str]) -> str:
        picture, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = Path(os.path.normpath(here.parent / target))
        if not path.exists() or not path.is_relative_to(root):
            return match[0]  # strict building names it
        inside = path.relative_to(root).as_posix()
        if path.is_dir() and inside not in FOLDERS:
            return text
        place = PAGES.get(inside) or FOLDERS.get(inside) or f"repository/{inside}"
        if inside.startswith("docs/"):
            place = inside.removeprefix("docs/")
        if place.endswith(".ipynb") and not page.file.src_uri.startswith("notebooks/"):
            place = place.removesuffix(".ipynb") + ".md"
        address = os.path.relpath(place, PurePosixPath(page.file.src_uri).parent)
        return f"{picture}[{text}]({address}{anchor})"

    return _LINK.sub(pointed, markdown)
