"""Exports: every setting of `effiseg export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from effiseg.config.engine import ExportForm, Output, Precision
from effiseg.config.ranges import COUNT, check_ranges
from effiseg.errors import UsageError


@dataclass(frozen=True)
class ExportConfig:
    """Settings of one export: the file, its form, and the images that it is checked with."""

    out: Path
    """The file; its suffix says the format. Of web the folder, which must not exist."""
    format: ExportForm | None = None
    """Format of the file; null: the one that the suffix of `out` means. web: no file but a folder, a page that runs one
    or two models in the visitor's browser."""
    image_size: tuple[int, int] | None = None
    """Size of the input; null: the model's own, unless `dynamic`."""
    dynamic: bool = False
    """Take any batch, height and width (from 64 on) instead of one image of one size."""
    precision: Precision = "float32"
    """Precision of the file, as far as its format can. int8: quantized after calibration on data."""
    opset: int | None = None
    """Version of the set of operators, of a format that has several (docs/deployment.md); null: the usual one."""
    output: Output = "logits"
    """logits at a quarter of the input's size (n and s: an eighth), or labels at its size."""
    data: str | None = None
    """Data set whose images check the file, and calibrate int8."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's path."""
    split: str = "val"
    """Split that checks the file, and whose mIoU is measured before and after int8."""
    calibration_images: int = 64
    """Most images of the train split that int8 is calibrated on."""
    evaluation_images: int | None = None
    """Most images of `split` that mIoU is measured on before and after int8; null: all."""

    def __post_init__(self) -> None:
        check_ranges(self, {"calibration_images": COUNT, "evaluation_images": COUNT})
        if self.dynamic and self.image_size is not None:
            raise UsageError("give either --image_size or --dynamic; found both")
        if self.precision == "int8" and self.data is None:
            raise UsageError(
                "--precision int8 needs images to calibrate on; add --data FILE.yaml (or a preset with --data_root)"
            )
        if self.data is None and self.data_root is not None:
            raise UsageError("--data_root concerns --data; found no --data")
