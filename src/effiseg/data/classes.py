"""The classes of a data set: what a label is, and what raw values lead to one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from effiseg.data.yaml_values import Colour

IGNORE_LABEL = "ignore_label"
"""How the YAML file names the ignored label, whatever its number is."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """All that reading labels asks of a data set's description."""

    source: Path
    """The YAML file, or what stands for it in errors."""
    names: tuple[str, ...]
    """Class names in the order of their indices."""
    ignore_index: int
    """Label that counts nowhere; at least num_classes, at most 255."""
    label_mapping: dict[int, int] | None
    """Raw mask value → class or ignore_index; None: the masks hold class indices."""
    palette: tuple[Colour, ...]
    """An RGB color, 0..255, for every class."""

    palette_is_written: bool = False
    """Whether the palette is the user's, not made up."""

    @property
    def classes(self) -> Classes:
        """This alone, without what a description says besides: fit to be sent to processes many times."""
        return Classes(**{field.name: getattr(self, field.name) for field in fields(Classes)})

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.names)
