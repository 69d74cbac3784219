"""A hook of the site: notebooks as pages, with the outputs that are stored in them.

The cells of a notebook become Markdown: texts as they are, code in blocks, printed text below it, pictures as files.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace every notebook by its page, with its pictures and the notebook itself beside it."""
    for file in [each for each in files if each.src_uri.endswith(".ipynb")]:
        assert file.abs_src_path is not None
        stem = file.src_uri.removesuffix(".ipynb")
        text, pictures = notebook_page(Path(file.abs_src_path), Path(stem).name)
        files.append(File.generated(config, f"{stem}.md", content=text))
        for name, data in pictures.items():
            files.append(File.generated(config, f"{Path(stem).parent.as_posix()}/{name}", content=data))
    return files


def notebook_page(path: Path, stem: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and its pictures by file name.

    Args:
        path: the notebook.
        stem: beginning of the pictures' names.
    """
    notebook = nbformat.read(path, as_version=4)
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            parts += [_shown(output, stem, pictures) for output in cell.outputs]
        if len(parts) == 1:  # below the title
            parts.append(f"[Download this notebook]({path.name})")
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _shown(output: Any, stem: str, pictures: dict[str, bytes]) -> str:
    """One output: a picture, a table, or text."""
    if output.output_type == "stream":
        return _text(output.text)
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(pictures)}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![output]({name})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    return _text(data["text/plain"]) if "text/plain" in data else ""


def _text(text: str) -> str:
    """Printed text, of lines that overwrite each other the last."""
    lines = [line.rpartition("\r")[2] for line in _ESCAPES.sub("", text).replace("\r\n", "\n").rstrip("\n").split("\n")]
    return "```text\n" + "\n".join(lines) + "\n```"
