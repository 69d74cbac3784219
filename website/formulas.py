"""A hook of the site: formulas as MathML, which browsers show by themselves, so no script is needed.

Pages write formulas as GitHub reads them: a block ```` ```math ````, and $`…`$ within a line.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert

_BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"\$`([^`]+)`\$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Convert every formula of a page."""
    markdown = _BLOCK.sub(lambda match: f'<div class="formula">{convert(match[1], display="block")}</div>', markdown)
    return _INLINE.sub(lambda match: convert(match[1]), markdown)
