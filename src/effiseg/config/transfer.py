"""How a pretrained network is measured: settings of `--transfer`."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.config.data import parse_image_size
from effiseg.config.ranges import COUNT, check_ranges
from effiseg.errors import UsageError


@dataclass
class TransferConfig:
    """A short training on labelled pictures, from the finished network and from every kept epoch of it."""

    data: str | None = None
    """Data set whose train split is learnt and whose val split is measured; null measures nothing."""
    data_root: str | None = None
    """Folder of that data set; replaces the YAML's `path`."""
    image_size: str = "144x192"
    """Network input, HEIGHTxWIDTH."""
    batch_size: int = 4
    """Images per step."""
    steps: int = 800
    """Steps of each training, rounded to whole epochs."""
    scratch: bool = True
    """Also train from random weights, to compare with."""

    def __post_init__(self) -> None:
        parse_image_size(self.image_size, "transfer.image_size")
        if self.data is None and self.data_root is not None:
            raise UsageError("transfer.data_root is the folder of transfer.data; give that too")
        check_ranges(self, {"batch_size": COUNT, "steps": COUNT}, "transfer.")
