"""A hook of the site: nothing that a page needs comes from elsewhere. A reference to another host fails the build.

Links that a reader may follow are no such reference; scripts, styles, fonts, pictures and frames are.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
           "embed": "src", "object": "data", "link": "href", "image": "href", "use": "href"}  # fmt: skip
_ELSEWHERE = re.compile(r"(?:\w+:)?//")
_IN_STYLES = re.compile(r"(?:url\(\s*[\"']?|@import\s+[\"'])((?:https?:)?//[^\"')]+)")
_INERT_LINKS = {"canonical", "next", "prev", "edit"}


class _Loaded(HTMLParser):
    """The addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element loads."""
        attributes = dict(attrs)
        if tag == "link" and attributes.get("rel") in _INERT_LINKS:
            return
        self.addresses += [part for part in [attributes.get(_LOADED.get(tag, ""))] if part]
        self.addresses += _IN_STYLES.findall(attributes.get("style") or "")


def external_references(name: str, text: str) -> list[str]:
    """The addresses of other hosts that a file of the site loads.

    Args:
        name: the file's name, whose suffix says what it is: .html, .css or .svg; other files load nothing.
        text: its content.
    """
    if name.endswith(".css"):
        return _IN_STYLES.findall(text)
    if not name.endswith((".html", ".svg")):
        return []
    page = _Loaded()
    page.feed(text)
    found = [address for address in page.addresses if _ELSEWHERE.match(address)]
    return found + [
        a for part in re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL) for a in _IN_STYLES.findall(part)
    ]


def on_post_build(config: MkDocsConfig) -> None:
    """Read every page and style of the built site.

    Raises:
        PluginError: something is loaded from another host.
    """
    folder = Path(config.site_dir)
    found = [
        f"{path.relative_to(folder)} loads {address}"
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".html", ".css", ".svg")
        for address in external_references(path.name, path.read_text(encoding="utf-8"))
    ]
    if found:
        raise PluginError("the site must load nothing from elsewhere:\n" + "\n".join(found))
