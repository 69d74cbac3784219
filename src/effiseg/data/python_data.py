"""A data set that comes as Python objects instead of files: what its items must be, and reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from effiseg.data.dataset_spec import DatasetSpec, spec_of_listings
from effiseg.data.sample import PairSample, Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError, EffisegError

PREFIX = "python:"
"""How config.yaml begins to name such data, which no file can name in full."""


class PairDataset(Protocol):
    """A user's data set with `len` and an index, as a map-style torch Dataset: `dataset[i]` is (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class PythonData:
    """A data set made of Python objects, for `effiseg.train(data=…)` and `effiseg.evaluate`.

    Every split is a map-style `torch.utils.data.Dataset`, or anything else with a length and items. An item is a
    pair (image, label), as a NumPy array, a Pillow image or a tensor on the CPU each:

    - image: (H, W, 3) uint8 RGB, of any size;
    - label: (H, W), integer: class indices 0..K-1, or `ignore_index`.

    Items are the raw pictures. They are resized, varied and normalized afterwards, as images from files are. Equal
    indices must give equal items, or a run cannot be repeated.

    Args:
        names: the classes in the order of their indices.
        train: the split to learn from.
        val: the split that is evaluated while training.
        test: another one, for `effiseg.evaluate`.
        palette: one (red, green, blue) a class, 0..255; default: made up.
        ignore_index: the label that counts nowhere, from K to 255.

    Raises:
        DataError: no split, an empty one, no names, or a palette of another length.

    Example:
        >>> import numpy as np
        >>> class Stripes:
        ...     def __len__(self):
        ...         return 8
        ...     def __getitem__(self, index):
        ...         label = np.zeros((48, 64), np.uint8)
        ...         label[:, index : index + 32] = 1
        ...         return np.stack([255 * label] * 3, axis=-1), label
        >>> data = effiseg.PythonData(names=["ground", "stripe"], train=Stripes(), val=Stripes())
        >>> small = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "epochs": 1}
        >>> run = effiseg.train(data=data, out="runs/stripes", **small)
        >>> sorted(run.class_iou)
        ['ground', 'stripe']
        >>> effiseg.evaluate(run, data, "val", workers=0).images
        8
    """

    names: Sequence[str]
    train: PairDataset | None = None
    val: PairDataset | None = None
    test: PairDataset | None = None
    palette: Sequence[tuple[int, int, int]] | None = None
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not self.splits:
            raise DataError("PythonData: give at least one of train, val and test")
        for split, dataset in self.splits.items():
            if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
                kind = type(dataset).__qualname__
                raise DataError(f"PythonData: {split} needs a length and items by index; found {kind}")
            if not len(dataset):
                raise DataError(f"PythonData: {split} needs at least one item; found none")
        self.spec()

    @property
    def splits(self) -> dict[str, PairDataset]:
        """The splits that were given."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: dataset for split, dataset in given.items() if dataset is not None}

    @property
    def reference(self) -> str:
        """The word in config.yaml in place of a file."""
        kind = type(next(iter(self.splits.values())))
        return f"{PREFIX}{kind.__module__}.{kind.__qualname__}"

    def spec(self) -> DatasetSpec:
        """The description that everything behind it reads.

        Raises:
            DataError: names, palette or ignore_index break a rule.
        """
        palette = None if self.palette is None else [list(colour) for colour in self.palette]
        values = {"names": list(self.names), "palette": palette, "ignore_index": self.ignore_index}
        listings = {split: partial(_list_items, split, dataset) for split, dataset in self.splits.items()}
        return spec_of_listings(Path(self.reference), listings, values)


@dataclass(frozen=True)
class PythonSample(PairSample):
    """An item of a Python object; its paths only name it."""

    can_be_sent: ClassVar[bool] = False

    dataset: PairDataset
    """The split."""
    index: int
    """Which item."""

    def fetch(self) -> tuple[UInt8Array, npt.NDArray[np.integer[Any]]]:
        """Image (H, W, 3) uint8 RGB and label (H, W), whose values are not checked.

        Raises:
            DataError: the item cannot be had, or is no such pair.
        """
        try:
            item = self.dataset[self.index]
        except EffisegError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            raise DataError(f"{self.image}: item {self.index} raised {type(error).__name__}: {text}") from error
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"{self.image}: an item is a pair (image, label); found {type(item).__name__}")
        image, label = (np.asarray(part) for part in item)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(
                f"{self.image}: an image is uint8 RGB of shape (H, W, 3), neither normalized nor augmented; found "
                f"{image.dtype} {image.shape}"
            )
        if label.dtype == np.bool_:
            label = label.astype(np.uint8)
        if not np.issubdtype(label.dtype, np.integer) or label.shape != image.shape[:2]:
            raise DataError(
                f"{self.mask}: a label is integer and as large as its image, {image.shape[:2]}; found {label.dtype} "
                f"{label.shape}"
            )
        return np.ascontiguousarray(image), label


def _list_items(split: str, dataset: PairDataset) -> list[Sample]:
    """The items of a split, named after their indices."""
    digits = len(str(len(dataset) - 1))
    return [
        PythonSample(
            f"{split}{index:0{digits}d}", Path(f"{split}[{index}]"), Path(f"{split}[{index}] label"), dataset, index
        )
        for index in range(len(dataset))
    ]
