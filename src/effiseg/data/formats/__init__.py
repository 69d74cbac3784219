"""Mask formats; one file a format, and here the closed set of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from effiseg.data.formats.base import MaskFormat, MaskKeys, parse_choice
from effiseg.data.formats.coco import CocoMasks
from effiseg.data.formats.color import ColorMasks
from effiseg.data.formats.cvat import CvatMasks
from effiseg.data.formats.datumaro import DatumaroMasks
from effiseg.data.formats.index import IndexMasks
from effiseg.data.formats.label_studio import LabelStudioMasks
from effiseg.data.formats.labelme import LabelmeMasks
from effiseg.data.formats.roboflow import RoboflowMasks
from effiseg.data.formats.supervisely import SuperviselyMasks
from effiseg.data.formats.yolo import YoloMasks
from effiseg.data.orientation import MaskOrientation
from effiseg.errors import DataError

FORMATS: tuple[type[MaskFormat], ...] = (
    IndexMasks,
    ColorMasks,
    CocoMasks,
    YoloMasks,
    CvatMasks,
    LabelStudioMasks,
    LabelmeMasks,
    SuperviselyMasks,
    RoboflowMasks,
    DatumaroMasks,
)
"""Every format; the first is the default."""
FORMAT_KEYS = ("mask_format", "mask_orientation", *dict.fromkeys(key for known in FORMATS for key in known.keys))
"""The keys of a data set's YAML file that say what its masks are."""


def parse_masks(
    source: Path, values: dict[str, Any], names: tuple[str, ...], ignore_index: int, splits: tuple[str, ...]
) -> MaskFormat:
    """The mask keys of a data set's YAML file.

    Args:
        source: the file, for errors.
        values: its content.
        names: the classes.
        ignore_index: the ignored label.
        splits: the splits that the file names.

    Raises:
        DataError: a key breaks a rule, or has no meaning for the format.
    """
    chosen = parse_choice(source, values, "mask_format", [known.name for known in FORMATS])
    mask_format = next(known for known in FORMATS if known.name == chosen)
    orientation: MaskOrientation = parse_choice(source, values, "mask_orientation", get_args(MaskOrientation))
    _refuse_foreign_keys(source, values, mask_format)
    return mask_format.parse(MaskKeys(source, values, names, ignore_index, splits, orientation))


def _refuse_foreign_keys(source: Path, values: dict[str, Any], mask_format: type[MaskFormat]) -> None:
    """A key that the format passes over would look obeyed."""
    for key in FORMAT_KEYS:
        owners = [known.name for known in FORMATS if key in known.keys]
        if owners and values.get(key) is not None and key not in mask_format.keys:
            raise DataError(
                f"{source}: {key} belongs to mask_format {' or '.join(owners)}, not {mask_format.name}; "
                f"{mask_format.instead}"
            )
