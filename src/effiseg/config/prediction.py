"""Prediction: every setting of `effiseg predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from effiseg.config.cluster import ClusterConfig
from effiseg.config.framing import FramingConfig
from effiseg.config.ranges import NOT_NEGATIVE, check_ranges
from effiseg.errors import UsageError

Saved = Literal["labels", "color", "overlay", "probabilities", "coco", "cvat", "label_studio", "labelme", "yolo"]
"""Outputs of an image; the last five are polygons for annotation tools."""
Existing = Literal["refuse", "skip", "overwrite"]
"""Treatment of an output folder that holds something: refuse it, skip images whose outputs are there, replace."""


RayOutput = Literal["files", "shards", "parquet"]
"""Form of what a cluster writes."""


@dataclass(kw_only=True)
class PredictionConfig(FramingConfig, ClusterConfig):
    """Settings of `effiseg predict`."""

    model: str
    """Run folder, model folder, transformers folder, Hub id, or a file that `effiseg export` wrote."""
    source: list[str]
    """Images or videos: files, a folder (with its subfolders), a glob; or a webcam's number, or the URL of a stream.
    With `on` ray images alone, also of a .txt list, of shards (.tar), or of a column of bytes in Parquet files."""
    out: Path | None = None
    """Folder for the outputs; with `on` ray also file:// or s3://, and never null. null: runs/predict, or with a number
    where there is one already."""
    save: list[Saved] | None = None
    """Any of labels, color, overlay and probabilities, and of coco, cvat, label_studio, labelme and yolo, polygons for
    annotation tools; null: the first three of images, the overlay of videos."""
    polygon_tolerance: float = 0.35
    """The farthest that simplifying polygons may move a border, pixels; up to 0.35 they are the labels to the pixel."""
    polygon_area: int = 0
    """Regions of fewer pixels get no polygon and go to what lies nearest."""
    label_ids: bool = False
    """labels/ID.png holds the values of the data set's masks, as the Cityscapes server wants them."""
    existing: Existing = "refuse"
    """Where the folder holds something: refuse it, skip images whose outputs are all there, or overwrite files of these
    names."""
    ray_output: RayOutput = "files"
    """files: as without a cluster. shards: labels and areas of each part in a tar file. parquet: a table of each part,
    with id, labels (PNG), areas, model and error."""
    ray_column: str = "image"
    """Column of Parquet files that holds the pictures' bytes."""
    ray_id_column: str | None = None
    """Column of Parquet files that holds ids; null: rows are numbered."""

    def __post_init__(self) -> None:
        FramingConfig.__post_init__(self)
        ClusterConfig.__post_init__(self)
        if self.on == "ray" and self.out is None:
            raise UsageError("--on ray writes where all machines can: give --out")
        check_ranges(self, dict.fromkeys(("polygon_tolerance", "polygon_area"), NOT_NEGATIVE))
