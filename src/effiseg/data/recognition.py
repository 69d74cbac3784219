"""Folders without a description: what wrote them, and the YAML file that describes them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

from effiseg.data.folder_contents import FolderContents
from effiseg.data.formats import FORMATS


@lru_cache(maxsize=8)
def recognize(folder: Path) -> str | None:
    """One line: what wrote a folder, and the keys to write into a YAML file; None where no format knows it.

    Args:
        folder: it holds images and annotations.
    """
    contents = FolderContents(folder)
    for known in FORMATS:
        found = known.recognize(contents)
        if found is not None:
            keys = yaml.safe_dump(found.keys, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
            return f"this looks like {found.title}: write a YAML file of {keys.strip()}"
    return None
