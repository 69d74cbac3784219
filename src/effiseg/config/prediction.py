"""Prediction: every setting of `effiseg predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from effiseg.config.framing import FramingConfig

Saved = Literal["labels", "color", "overlay", "probabilities"]
"""Outputs of an image."""
Existing = Literal["refuse", "skip", "overwrite"]
"""Treatment of an output folder that holds something: refuse it, skip images whose outputs are there, replace."""


@dataclass(kw_only=True)
class PredictionConfig(FramingConfig):
    """Settings of `effiseg predict`."""

    model: str
    """Run folder, model folder, transformers folder, Hub id, or a file that `effiseg export` wrote."""
    source: list[str]
    """Images or videos: files, a folder (with its subfolders), a glob; or a webcam's number, or the URL of a stream."""
    out: Path
    """Folder for the outputs."""
    save: list[Saved] | None = None
    """Any of labels, color, overlay and probabilities; null: the first three of images, the overlay of videos."""
    label_ids: bool = False
    """labels/ID.png holds the values of the data set's masks, as the Cityscapes server wants them."""
    existing: Existing = "refuse"
    """Where the folder holds something: refuse it, skip images whose outputs are all there, or overwrite files of these
    names."""
