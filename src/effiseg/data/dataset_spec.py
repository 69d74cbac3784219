"""A data set's description: its YAML file, read and checked.

The keys are those of Ultralytics' semantic task, so one file serves both programs; docs/datasets.md explains
every one of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from effiseg.data.classes import IGNORE_LABEL, Classes
from effiseg.data.drawn_data import drawn_samples
from effiseg.data.drawn_source import DrawnSource, parse_drawn_source
from effiseg.data.formats import FORMAT_KEYS, parse_masks
from effiseg.data.formats.base import MaskFormat
from effiseg.data.formats.index import IndexMasks
from effiseg.data.label_mapping import parse_label_mapping
from effiseg.data.recognition import recognize
from effiseg.data.roboflow_description import complete_roboflow
from effiseg.data.sample import Sample
from effiseg.data.yaml_values import Colour, colours, is_integer, optional_text
from effiseg.errors import DataError, UsageError
from effiseg.files import read_text, read_yaml
from effiseg.scenes.pictures import NO_CLASS
from effiseg.scenes.synthetic import MANIFEST

SPLITS = ("train", "val", "test")
DRAWN_SCENES = "drawn street scenes"
"""The name of what `effiseg data synthesize` wrote, by whatever preset or file it is read."""
_MAXIMUM_CLASSES = 255  # labels travel as uint8, and one value must stay free for "ignored"
_OWN_KEYS = (
    "path",
    *SPLITS,
    "unlabeled",
    "images_dir",
    "masks_dir",
    "names",
    "ignore_index",
    "image_suffix",
    "mask_suffix",
    "palette",
    "drawn",
    *FORMAT_KEYS,
)
# Ultralytics keys without a meaning here: nc is checked against names, the others are passed over. `download`
# may hold a script; it is never run.
_ANNOTATION_SUFFIXES = (".xml", ".json", ".csv", ".txt")
_DRAWN_KEYS = {"drawn", "names", "palette", "label_mapping", "ignore_index"}
_TOLERATED_KEYS = ("nc", "download", "channels")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Classes):
    """The content of a data set's YAML file."""

    name: str
    """Stem of the YAML file, or the preset's name."""
    root: Path
    """Folder all entries are relative to: the YAML's `path`, or --data_root."""
    splits: dict[str, tuple[str, ...]]
    """train, val, test → folders, globs, .txt lists and shards as written; only the splits that the file names."""
    masks_dir: tuple[str, ...] = ("labels",)
    """Path parts that replace `images_dir` of an image to give its mask: the first that exists. "*" stands for
    the part that is replaced. Empty: masks lie beside their images."""
    images_dir: tuple[str, ...] = ("images",)
    """The path parts that `masks_dir` replaces, as "images" or "images/10k"; the first that an image's path has."""
    image_suffix: str | None = None
    """End of image names that is not part of the sample's id; None: the file extension."""
    mask_suffix: str | None = None
    """Suffix after the sample's id in mask names; None: .png, .bmp, .tif or .tiff."""
    masks: MaskFormat = field(default_factory=IndexMasks)
    """The masks and how they become classes."""
    listings: Mapping[str, Callable[[], Sequence[Sample]]] | None = None
    """Split → what lists its samples, where they are no files; it can be pickled if they can. None: files."""
    unlabeled: tuple[str, ...] = ()
    """Folders, globs, .txt lists and shards of pictures without masks, as written."""
    drawn: DrawnSource | None = None
    """Source of samples that are drawn while they are read; `listings` lists them."""

    @property
    def labels_key(self) -> dict[str, Any]:
        """Plain values that decide what labels a mask file becomes: what is kept of masks is kept under them."""
        mapping = None if self.label_mapping is None else sorted(self.label_mapping.items())
        return {
            "mask_format": self.masks.name,
            "orientation": self.masks.orientation,
            "ignore_index": self.ignore_index,
            "label_mapping": mapping,
            **self.masks.content_key(self),
        }


def preset_names() -> list[str]:
    """Names of the data sets whose YAML file ships with the package, sorted."""
    folder = resources.files("effiseg.data") / "presets"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_dataset_spec(data: str | Path, data_root: str | Path | None = None) -> DatasetSpec:
    """Read a data set's description.

    Args:
        data: a YAML file, or the name of a preset, which needs `data_root`.
        data_root: folder of the data set; replaces the YAML's `path`.

    Raises:
        DataError: a key breaks a rule, or the data set's folder does not exist; one line naming the file.
        UsageError: the file does not exist or is not YAML.
    """
    source, is_preset = _find_source(data)
    values = read_yaml(source)
    if is_preset and data_root is None and "drawn" not in values:
        raise DataError(f"data set {data}: a preset does not know where your copy lies; add --data_root FOLDER")
    _refuse_repeated_keys(source)
    values = complete_roboflow(source, values, (*SPLITS, "unlabeled"))
    _check_keys(source, values)
    if "drawn" in values:
        if data_root is not None:
            raise DataError(f"data set {data}: is drawn and has no folder; leave --data_root {data_root} out")
        return _drawn_spec(source, values)
    names = _names(source, values)
    ignore_index = _ignore_index(source, values, len(names))
    splits = _splits(source, values)
    root = _root(source, values, data_root)
    masks = parse_masks(source, values, names, ignore_index, tuple(splits))
    beside = masks.lies_beside and values.get("masks_dir") is None
    return DatasetSpec(
        name=DRAWN_SCENES if (root / MANIFEST).is_file() else source.stem,
        source=Path(data) if is_preset else source,
        root=root,
        splits=splits,
        masks_dir=() if beside else _folders(source, values, "masks_dir", masks.folders[1]),
        names=names,
        ignore_index=ignore_index,
        label_mapping=parse_label_mapping(source, values, len(names), ignore_index),
        image_suffix=optional_text(source, values, "image_suffix"),
        mask_suffix=optional_text(source, values, "mask_suffix"),
        palette=_palette(source, values, len(names)),
        palette_is_written=values.get("palette") is not None,
        images_dir=_folders(source, values, "images_dir", masks.folders[0]),
        masks=masks,
        unlabeled=_entries(source, "unlabeled", values["unlabeled"]) if values.get("unlabeled") is not None else (),
    )


def spec_of_listings(
    source: Path, listings: Mapping[str, Callable[[], Sequence[Sample]]], values: dict[str, Any]
) -> DatasetSpec:
    """The description of data whose samples are no files.

    Args:
        source: what to call it in errors.
        listings: split → what lists its samples.
        values: names, palette and ignore_index, as in a YAML file.

    Raises:
        DataError: one of the values breaks a rule.
    """
    names = _names(source, values)
    return DatasetSpec(
        name=str(source).rpartition(".")[2],
        source=source,
        root=Path(),
        splits={split: (split,) for split in listings},
        names=names,
        ignore_index=_ignore_index(source, values, len(names)),
        label_mapping=None,
        palette=_palette(source, values, len(names)),
        palette_is_written=values.get("palette") is not None,
        listings=listings,
    )


def _drawn_spec(source: Path, values: dict[str, Any]) -> DatasetSpec:
    """The description of a data set that is drawn while it is read."""
    if foreign := sorted(set(map(str, values)) - _DRAWN_KEYS):
        raise DataError(f"{source}: what is drawn has no files; found {foreign[0]} beside drawn: leave one out")
    drawn = parse_drawn_source(source, values["drawn"])
    values = {"names": list(drawn.names), **values}
    names = _names(source, values)
    ignore_index = _ignore_index(source, values, len(names))
    mapping = parse_label_mapping(source, values, len(names), ignore_index)
    if mapping is None and len(names) != len(drawn.names):
        raise DataError(
            f"{source}: names must be those of the {len(drawn.names)} classes that are drawn, or label_mapping must "
            f"lead from their indices to names; found {len(names)} names and no label_mapping"
        )
    if mapping is None:
        mapping = {index: index for index in range(len(names))}
    return DatasetSpec(
        name=source.stem,
        source=source,
        root=Path(),
        splits={split: (split,) for split, _ in drawn.counts},
        names=names,
        ignore_index=ignore_index,
        label_mapping={**mapping, NO_CLASS: ignore_index},
        palette=_palette(source, values, len(names)),
        palette_is_written=values.get("palette") is not None,
        listings=_drawn_listings(drawn),
        drawn=drawn,
    )


def _drawn_listings(drawn: DrawnSource) -> dict[str, Callable[[], Sequence[Sample]]]:
    return {split: partial(drawn_samples, drawn, split) for split, _ in drawn.counts}


def with_images_per_epoch(spec: DatasetSpec, images: int | None) -> DatasetSpec:
    """The data set with another number of training pictures an epoch, where it is drawn.

    Args:
        spec: the data set.
        images: pictures; None: as many as the data set says.

    Raises:
        UsageError: its pictures are not drawn.
    """
    if images is None:
        return spec
    if spec.drawn is None:
        raise UsageError(
            f"images_per_epoch is for data that is drawn; {spec.source} has as many as there are: leave it out"
        )
    drawn = spec.drawn.of_epoch_size(images)
    return replace(spec, drawn=drawn, listings=_drawn_listings(drawn))


def read_description(spec: DatasetSpec) -> dict[str, Any]:
    """The content of the YAML file that a description was read from."""
    return read_yaml(_find_source(spec.source)[0])


def _find_source(data: str | Path) -> tuple[Path, bool]:
    """The YAML file that `data` means, and whether it is a preset's."""
    presets = preset_names()
    if str(data) in presets:
        return Path(str(resources.files("effiseg.data") / "presets" / f"{data}.yaml")), True
    path = Path(data).expanduser()
    if path.is_file():
        if path.suffix.lower() in _ANNOTATION_SUFFIXES and (hint := recognize(path.parent)) is not None:
            raise DataError(f"data set {data}: must be a YAML file; {hint}")
        return path, False
    known = f"presets: {', '.join(presets)}"
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in (".yaml", ".yml"))
        hint = f"did you mean {path / inside[0]}?" if inside else recognize(path) or "write one (see docs/datasets.md)"
        raise DataError(f"data set {data}: must be a YAML file or a preset, found a folder; {hint} ({known})")
    close = difflib.get_close_matches(str(data), presets, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise DataError(f"data set {data}: no such YAML file, and no preset of that name ({known}){hint}")


def _refuse_repeated_keys(source: Path) -> None:
    """YAML parsers keep the last of two equal keys in silence; in label_mapping that would move a class."""
    nodes = [yaml.compose(read_text(source), Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            twice = _repeated(str(key.value) for key, _ in node.value)
            if twice:
                line = node.start_mark.line + 1
                raise DataError(f"{source}: a key may occur once; found {', '.join(twice)} again (line {line} on)")
            nodes += [value for _, value in node.value]


def _check_keys(source: Path, values: dict[str, Any]) -> None:
    for key in values:
        if key in _OWN_KEYS or key in _TOLERATED_KEYS:
            continue
        close = difflib.get_close_matches(str(key), _OWN_KEYS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(_OWN_KEYS)}"
        raise DataError(f"{source}: unknown key {key!r}; {hint}")


def _root(source: Path, values: dict[str, Any], data_root: str | Path | None) -> Path:
    if data_root is not None:
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise DataError(f"--data_root {data_root}: no such folder")
        return root
    written = optional_text(source, values, "path") or "."
    root = source.parent / Path(written).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{source}: path {written!r} is no folder (looked for {root}); correct it, it is relative to the "
            "YAML file, or give --data_root"
        )
    return root


def _splits(source: Path, values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    splits: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        value = values.get(split)
        if value is None:
            continue
        splits[split] = _entries(source, split, value)
    if not splits:
        if values.get("unlabeled") is not None:
            return splits
        raise DataError(f"{source}: at least one of train, val and test must name images; found none")
    return splits


def _entries(source: Path, key: str, value: object) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not entries or not all(isinstance(e, str) and e for e in entries):
        raise DataError(
            f"{source}: {key} must be a folder, a glob, a .txt list, shards (.tar) or a list of these; found {value!r}"
        )
    return tuple(entries)


def _names(source: Path, values: dict[str, Any]) -> tuple[str, ...]:
    value = values.get("names")
    if not isinstance(value, (list, dict)) or not value:
        found = "nothing" if value is None else repr(value)
        raise DataError(f"{source}: names must list the classes, as [road, …] or {{0: road, …}}; found {found}")
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise DataError(
                f"{source}: the indices of names must be 0 to {len(value) - 1} without gaps; "
                f"found {', '.join(str(key) for key in value)}"
            )
        value = [value[index] for index in range(len(value))]
    if len(value) == 1:
        raise DataError(
            f"{source}: names must list 2 classes or more, among which pixels can be told apart; found only "
            f"{value[0]!r}: list what is not {value[0]} too"
        )
    if len(value) > _MAXIMUM_CLASSES:
        raise DataError(f"{source}: names may list at most {_MAXIMUM_CLASSES} classes; found {len(value)}")
    for name in value:
        if isinstance(name, bool) or not isinstance(name, (str, int, float)) or not str(name).strip():
            raise DataError(f"{source}: every name must be text; found {name!r} (put quotes around yes, no, on, off)")
    names = tuple(str(name) for name in value)
    twice = _repeated(names)
    if twice:
        raise DataError(f"{source}: names must differ; found {', '.join(twice)} more than once")
    if values.get("nc", len(names)) != len(names):
        raise DataError(f"{source}: nc must be the number of names, {len(names)}; found {values['nc']!r}")
    return names


def _ignore_index(source: Path, values: dict[str, Any], num_classes: int) -> int:
    value = values.get("ignore_index", 255)
    if not is_integer(value) or not num_classes <= value <= 255:
        raise DataError(
            f"{source}: ignore_index must be an integer from {num_classes} (the number of classes) to 255; "
            f"found {value!r} (to ignore another raw value, list it in label_mapping as {IGNORE_LABEL})"
        )
    return int(value)


def _palette(source: Path, values: dict[str, Any], num_classes: int) -> tuple[Colour, ...]:
    value = values.get("palette")
    if value is None:
        return tuple(_generated_colour(index + 1) for index in range(num_classes))
    if not isinstance(value, list) or len(value) != num_classes:
        found = f"{len(value)} entries" if isinstance(value, list) else repr(value)
        raise DataError(f"{source}: palette must list one colour for each of the {num_classes} classes; found {found}")
    return colours(source, "palette", value)


def _generated_colour(index: int) -> Colour:
    """A colour from the bits of `index`, spread over the channels' high bits: 1..255 differ, none black."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]


def _folders(source: Path, values: dict[str, Any], key: str, default: str) -> tuple[str, ...]:
    value = values.get(key, default)
    folders = [value] if isinstance(value, str) else value
    if not isinstance(folders, list) or not folders or not all(isinstance(f, str) and f.strip("/") for f in folders):
        raise DataError(f"{source}: {key} must be text, a folder's name or a list of them; found {value!r}")
    return tuple(folder.strip("/") for folder in folders)


def _repeated(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({value for value in values if value in seen or seen.add(value)})  # type: ignore[func-returns-value]
