"""Masks of one integer a pixel: class indices, or raw values for label_mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.formats.base import MaskedImage, MaskFormat, MaskKeys
from effiseg.data.reading import Labels, map_labels, map_values, read_raw_mask
from effiseg.data.regular_file import DataFile


@dataclass(frozen=True, kw_only=True)
class IndexMasks(MaskFormat):
    """A PNG (or BMP or TIFF) of one integer a pixel."""

    name: ClassVar[str] = "index"
    fits_shards: ClassVar[bool] = True
    holds_indices: ClassVar[bool] = True

    is_stated: bool = False
    """Whether the YAML file names the format: indices count then, whatever palettes say."""

    @classmethod
    def parse(cls, keys: MaskKeys) -> IndexMasks:
        """There are no keys of its own."""
        return cls(is_stated="mask_format" in keys.values, orientation=keys.orientation)

    @property
    def indices_are_stated(self) -> bool:
        """See `MaskFormat`."""
        return self.is_stated

    def read_stored(self, sample: MaskedImage, classes: Classes) -> Labels:
        """See `MaskFormat`."""
        return map_labels(read_raw_mask(sample.mask), classes, sample.mask)

    def content_key(self, classes: Classes) -> dict[str, Any]:
        """Without a label_mapping the number of classes decides."""
        return {"classes": classes.num_classes}

    def count(self, mask: DataFile, classes: Classes) -> tuple[npt.NDArray[np.int64], dict[int, int]]:
        """Mapping the few values that a mask holds is cheaper than mapping its pixels."""
        raw = read_raw_mask(mask)
        if raw.dtype == np.uint8:
            counts = np.bincount(raw.reshape(-1), minlength=256)
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(raw, return_counts=True)
        labels, unlisted = map_values(values, counts, classes, mask)
        per_label = np.zeros(256, dtype=np.int64)
        np.add.at(per_label, labels, counts)
        return per_label, unlisted
