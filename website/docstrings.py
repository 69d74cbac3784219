"""A griffe extension: `Example:` in a docstring is the section that others write `Examples:`, of code that is run."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Reads the singular as the plural."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring that is shown; the source keeps its own."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
