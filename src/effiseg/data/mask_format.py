"""What a data set's masks are (indices, colours, COCO or YOLO polygons), as its YAML file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from effiseg.data.yaml_values import Colour, colours, optional_text
from effiseg.errors import DataError

IGNORE_LABEL = "ignore_label"
"""How the YAML file names the ignored label, whatever its number is."""
FORMAT_KEYS = ("mask_format", "ignore_colors", "annotations", "background", "mask_orientation")

MaskFormat = Literal["index", "color", "coco", "yolo"]
"""index: a PNG of one integer a pixel. color: a PNG of the palette's colours. coco: polygons and run lengths in one
JSON file for each split. yolo: a text file of polygons for each image."""
MaskOrientation = Literal["auto", "upright", "stored"]
"""Whether masks fit the upright image or the stored one, where an image's EXIF data turns it; auto: by their size."""
_OTHERS = "others"


@dataclass(frozen=True)
class MaskSource:
    """What the masks of a data set are and how they become classes."""

    format: MaskFormat = "index"
    """What a mask file holds."""
    ignored_colours: tuple[Colour, ...] = ()
    """color: RGB colours that are ignored."""
    ignores_other_colours: bool = False
    """color: whether every colour that is not in the palette is ignored instead of refused."""
    annotations: dict[str, str] = field(default_factory=dict)
    """coco: split → JSON file, relative to the data set's folder."""
    background: int = 0
    """coco, yolo: the label of pixels in no polygon, a class or ignore_index."""
    orientation: MaskOrientation = "auto"
    """What the masks of images turned by their EXIF data fit."""


def parse_mask_source(
    source: Path, values: dict[str, Any], names: tuple[str, ...], ignore_index: int, splits: tuple[str, ...]
) -> MaskSource:
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
    mask_format: MaskFormat = _choice(source, values, "mask_format", get_args(MaskFormat), "index")
    orientation: MaskOrientation = _choice(source, values, "mask_orientation", get_args(MaskOrientation), "auto")
    _refuse_foreign_keys(source, values, mask_format)
    match mask_format:
        case "index":
            return MaskSource(orientation=orientation)
        case "color":
            ignored = _ignored_colours(source, values)
            return MaskSource("color", ignored, values.get("ignore_colors") == _OTHERS, orientation=orientation)
        case "coco":
            annotations = _annotations(source, values, splits)
            background = _background(source, values, mask_format, names, ignore_index)
            return MaskSource("coco", annotations=annotations, background=background, orientation=orientation)
        case "yolo":
            background = _background(source, values, mask_format, names, ignore_index)
            return MaskSource("yolo", background=background, orientation=orientation)


def _choice(source: Path, values: dict[str, Any], key: str, choices: tuple[Any, ...], default: str) -> Any:
    value = values.get(key, default)
    if value not in choices:
        raise DataError(f"{source}: {key} must be one of {', '.join(choices)}; found {value!r}")
    return value


def _refuse_foreign_keys(source: Path, values: dict[str, Any], mask_format: MaskFormat) -> None:
    """A key that the format passes over would look obeyed."""
    meant_for = {
        "ignore_colors": ("color",),
        "annotations": ("coco",),
        "background": ("coco", "yolo"),
        "label_mapping": ("index", "coco", "yolo"),
    }
    for key, formats in meant_for.items():
        if values.get(key) is not None and mask_format not in formats:
            fix = "palette and ignore_colors say what colours mean" if mask_format == "color" else "set mask_format too"
            raise DataError(f"{source}: {key} belongs to mask_format {' or '.join(formats)}, not {mask_format}; {fix}")


def _ignored_colours(source: Path, values: dict[str, Any]) -> tuple[Colour, ...]:
    """Also checks that every colour of the palette means one class."""
    written = values.get("palette")
    if not isinstance(written, list):
        raise DataError(f"{source}: mask_format color needs palette, the RGB colour of every class; found none")
    value = values.get("ignore_colors", [])
    if value == _OTHERS:
        value = []
    if not isinstance(value, list):
        raise DataError(f"{source}: ignore_colors must list colours, or be {_OTHERS}; found {value!r}")
    ignored = colours(source, "ignore_colors", value)
    seen: set[Colour] = set()
    for colour in [*colours(source, "palette", written), *ignored]:
        if colour in seen:
            raise DataError(
                f"{source}: with mask_format color a colour has one meaning; found {list(colour)} twice in palette "
                "and ignore_colors"
            )
        seen.add(colour)
    return ignored


def _annotations(source: Path, values: dict[str, Any], splits: tuple[str, ...]) -> dict[str, str]:
    value = values.get("annotations")
    if not isinstance(value, dict) or not all(isinstance(file, str) and file for file in value.values()):
        example = ", ".join(f"{split}: annotations/{split}.json" for split in splits)
        found = "none" if value is None else repr(value)
        raise DataError(f"{source}: mask_format coco needs annotations, as {{{example}}}; found {found}")
    if set(value) != set(splits):
        found = ", ".join(map(str, value))
        raise DataError(f"{source}: annotations must name a file for each of {', '.join(splits)}; found {found}")
    return {str(split): str(file) for split, file in value.items()}


def _background(
    source: Path, values: dict[str, Any], mask_format: MaskFormat, names: tuple[str, ...], ignore_index: int
) -> int:
    name = optional_text(source, values, "background")
    if name == IGNORE_LABEL:
        return ignore_index
    if name in names:
        return names.index(name)
    found = "none" if name is None else repr(name)
    raise DataError(
        f"{source}: mask_format {mask_format} needs background, what pixels in no polygon are: one of names, or "
        f"{IGNORE_LABEL}; found {found} (add a class to names for them if there is none)"
    )
