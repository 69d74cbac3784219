"""Weights of others made a model: every setting of `effiseg convert`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class ModelConvertConfig:
    """Settings of `effiseg convert`."""

    weights: str
    """A file of weights, a transformers folder or a Hub id."""
    out: str
    """Model folder to write; new or empty."""
    data: str | None = None
    """Data set whose classes the weights know: a YAML file, or a preset's name together with --data_root; null: the
    classes that the weights name."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""
    image_size: tuple[int, int] | None = None
    """Size that images are brought to; null: the one that the folder says, if any."""
