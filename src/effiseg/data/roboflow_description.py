"""The data.yaml that Roboflow's YOLO exports hold, taken as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MARK = "roboflow"
"""The key that Roboflow writes into its files."""
_BACKGROUND = "background"


def complete_roboflow(source: Path, values: dict[str, Any], splits: tuple[str, ...]) -> dict[str, Any]:
    """The description with what Roboflow leaves unsaid.

    Without `mask_format` it is `yolo`, and pixels in no polygon are a class called background, added last where names
    has none, as in Roboflow's own masks. Folders that begin with "../" lie beside the file where there are none above.

    Args:
        source: the YAML file.
        values: its content.
        splits: keys that name folders.
    """
    if MARK not in values:
        return values
    known = {key: value for key, value in values.items() if key != MARK}
    for split in splits:
        written = known.get(split)
        if isinstance(written, str) and written.startswith("../") and not (source.parent / written).exists():
            known[split] = written.removeprefix("../")
    if "mask_format" in known:
        return known
    names = known.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if isinstance(names, list) and _BACKGROUND not in names:
        known["names"] = [*names, _BACKGROUND]
        known.pop("nc", None)
    return {"mask_format": "yolo", _BACKGROUND: _BACKGROUND, **known}
