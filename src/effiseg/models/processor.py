"""The file of transformers' image processor: how images come to a network, read and written as transformers means it.

transformers keeps it beside the model's config, and its pipelines obey it alone. Every model folder written here has
one that says what the config's own section says; of a folder that says both, the processor's file wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from effiseg.config.data import PillowFilter
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json
from effiseg.models.folder import NESTED_PROCESSOR_FILE, PREPROCESSOR_FILE
from effiseg.models.metadata import IMAGENET_MEAN, IMAGENET_STD, ModelMetadata

_FILTERS: tuple[PillowFilter, ...] = get_args(PillowFilter)
_BILINEAR = _FILTERS.index("bilinear")
_TYPE = re.compile(r"Segformer(ImageProcessor|FeatureExtractor)(Fast|Pil)?")
_CLASS_DEFAULTS: dict[str, Any] = {
    "do_resize": True,
    "size": {"height": 512, "width": 512},
    "resample": _BILINEAR,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "do_reduce_labels": False,
}
"""Settings that SegformerImageProcessor takes where its file is silent. Cropping and padding it passes over."""
_SIZES_OF_EVERY_IMAGE = ({"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"max_height", "max_width"})
"""Keys of sizes that follow each image's own proportions."""


@dataclass(frozen=True)
class _Stated:
    """The meaning of a processor's file, in our terms."""

    normalization: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean and standard deviation on the scale 0..1."""
    image_size: tuple[int, int] | None
    """(height, width) that every image is brought to; None: there is none."""
    resize: PillowFilter
    """The filter."""
    reduce_labels: bool
    """Whether mask values 1..K are the classes, and 0 is ignored."""


def processor_config(metadata: ModelMetadata) -> dict[str, Any]:
    """The content of the processor's file for a model.

    keep_ratio has no counterpart: transformers will bring images to the size itself.
    """
    size = metadata.image_size
    resample = metadata.resize if metadata.resize in _FILTERS else "bilinear"
    return {
        "image_processor_type": "SegformerImageProcessor",
        **_CLASS_DEFAULTS,
        "do_resize": size is not None,
        **({} if size is None else {"size": {"height": size[0], "width": size[1]}}),
        "resample": _FILTERS.index(resample),
        "image_mean": list(metadata.mean),
        "image_std": list(metadata.std),
        "do_reduce_labels": metadata.label_mapping == _reduced_mapping(metadata),
    }


def with_processor(metadata: ModelMetadata, folder: Path, *, own: bool) -> ModelMetadata:
    """A model's metadata, corrected by what the processor's file in its folder states.

    Args:
        metadata: of its config.
        folder: the model folder.
        own: whether the config said so in our section; else what the file is silent about is transformers' default.

    Raises:
        ModelError: the file cannot be read, or states what cannot be done here.
    """
    file, plain = _read_file(folder)
    if plain is None:
        return metadata
    written = processor_config(metadata)
    given = (written if own else _CLASS_DEFAULTS) | plain
    if "size" in plain and "do_resize" not in plain:
        given["do_resize"] = True
    if "do_reduce_labels" not in plain and "reduce_labels" in plain:  # its name until 2023
        given["do_reduce_labels"] = plain["reduce_labels"]
    found, kept = _stated(given, file), _stated(written, file)
    if not _same_numbers(found.normalization, kept.normalization):
        mean, std = found.normalization
        metadata = replace(metadata, mean=mean, std=std)  # type: ignore[arg-type]
    if (found.image_size, found.resize) != (kept.image_size, kept.resize):
        sized = found.image_size is not None
        metadata = replace(metadata, image_size=found.image_size, resize=found.resize if sized else metadata.resize)
    if found.reduce_labels != kept.reduce_labels:
        metadata = replace(metadata, label_mapping=_reduced_mapping(metadata) if found.reduce_labels else None)
    return metadata


def _read_file(folder: Path) -> tuple[Path, dict[str, Any] | None]:
    """The file that transformers takes, and its content; None where there is none."""
    nested, plain = folder / NESTED_PROCESSOR_FILE, folder / PREPROCESSOR_FILE
    try:
        if nested.is_file():
            content = read_json(nested)
            if isinstance(content, dict) and "image_processor" in content:
                return nested, _mapping(content["image_processor"], nested)
        return plain, _mapping(read_json(plain), plain) if plain.is_file() else None
    except UsageError as error:
        raise ModelError(str(error)) from None


def _mapping(content: object, file: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ModelError(f"{file}: an image processor's settings are an object; found {type(content).__name__}")
    return content


def _stated(plain: Mapping[str, Any], file: Path) -> _Stated:
    """What transformers does by these settings, all of which are there.

    Raises:
        ModelError: another kind of processor, a value of another form, or one that cannot be done here.
    """
    kind = plain.get("image_processor_type", plain.get("feature_extractor_type"))
    if kind is not None and not (isinstance(kind, str) and _TYPE.fullmatch(kind)):
        raise ModelError(
            f"{file}: the processor of a SegFormer is SegformerImageProcessor; found {kind!r}: save the folder with "
            "that one"
        )
    resample = plain["resample"]
    resizes = _switch(plain, "do_resize", file)
    if resizes and (isinstance(resample, bool) or not isinstance(resample, int) or not 0 <= resample < len(_FILTERS)):
        raise ModelError(f"{file}: resample must be one of Pillow's filters, 0 to 5; found {resample!r}")
    return _Stated(
        _normalization(plain, file),
        _size(plain["size"], file) if resizes else None,
        _FILTERS[resample] if resizes else "bilinear",
        _switch(plain, "do_reduce_labels", file),
    )


def _switch(plain: Mapping[str, Any], key: str, file: Path) -> bool:
    value = plain[key]
    if not isinstance(value, bool | None):
        raise ModelError(f"{file}: {key} must be true or false; found {value!r}")
    return bool(value)


def _normalization(plain: Mapping[str, Any], file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) on the scale 0..1 of (x · factor - mean) / std, which is what transformers computes from bytes x."""
    factor = 1.0
    if _switch(plain, "do_rescale", file):
        factor = _numbers(plain, "rescale_factor", file, count=1)[0]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if _switch(plain, "do_normalize", file):
        mean, std = (_numbers(plain, key, file, count=3) for key in ("image_mean", "image_std"))
    if factor <= 0 or min(std) <= 0:
        raise ModelError(
            f"{file}: rescale_factor and image_std must be greater than 0; found {factor:g} and {list(std)}"
        )
    if math.isclose(255 * factor, 1, rel_tol=1e-6):
        return mean, std
    return tuple(value / (255 * factor) for value in mean), tuple(value / (255 * factor) for value in std)


def _numbers(plain: Mapping[str, Any], key: str, file: Path, *, count: int) -> tuple[float, ...]:
    value = plain[key]
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 1e30 for number in values
    ):
        raise ModelError(f"{file}: {key} must be {'a number' if count == 1 else '3 numbers'}; found {value!r}")
    return tuple(float(number) for number in values)


def _size(value: object, file: Path) -> tuple[int, int] | None:
    """(height, width) of the settings' size; None where it is another for every image."""
    if isinstance(value, dict) and set(value) in _SIZES_OF_EVERY_IMAGE:
        return None
    pair: list[Any] = [value, value]
    if isinstance(value, dict) and set(value) == {"height", "width"}:
        pair = [value["height"], value["width"]]
    elif isinstance(value, list) and len(value) == 2:
        pair = value
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair):
        raise ModelError(
            f"{file}: size must be a number, height and width, or shortest_edge, in whole pixels; found {value!r}"
        )
    return pair[0], pair[1]


def _reduced_mapping(metadata: ModelMetadata) -> dict[int, int]:
    """Mask values 0, 1, … as `do_reduce_labels` reads them: 0 is ignored, and so is 255."""
    values = range(1, min(metadata.num_classes, 254) + 1)
    return {0: metadata.ignore_index} | {value: value - 1 for value in values}


def _same_numbers(one: tuple[tuple[float, ...], ...], other: tuple[tuple[float, ...], ...]) -> bool:
    pairs = zip([*one[0], *one[1]], [*other[0], *other[1]], strict=True)
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in pairs)
