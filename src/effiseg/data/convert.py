"""Any data set written as the plain one: images, label PNGs of class indices, and a YAML file."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.image_file import read_header
from effiseg.data.parallel import map_in_processes
from effiseg.data.regular_file import EmbeddedFile
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.data.unlabeled_samples import UNLABELED, list_unlabeled
from effiseg.errors import DataError, ResourceError
from effiseg.files import make_folder, partial_prefix, write_yaml, writing
from effiseg.progress import Progress

YAML_NAME = "data.yaml"


def convert_dataset(
    spec: DatasetSpec,
    out: str | os.PathLike[str],
    *,
    link: bool = False,
    progress: Progress | None = None,
    processes: int | None = None,
) -> dict[str, int]:
    """Write a data set as `images/SPLIT/ID.*`, `labels/SPLIT/ID.png` and `data.yaml`; unlabeled pictures in a folder of
    images that is called so.

    Images are the same files, labels 8-bit palette PNGs of class indices and ignore_index that fit the upright
    image. So it trains as the original does. The folder appears under its name when it is whole.

    Args:
        spec: the data set.
        out: the folder to write; absent or empty.
        link: make symbolic links to the images instead of copies.
        progress: called after every sample.
        processes: samples converted at a time; None: one a core.

    Returns:
        Split → number of samples.

    Raises:
        DataError: the folder holds something or cannot be written, or a sample cannot be read.
        ResourceError: a process that decodes was ended by the system.
    """
    target = Path(os.path.abspath(Path(out).expanduser()))  # noqa: PTH100 - no link is resolved
    _refuse_used(target)
    samples = [(split, sample) for split in spec.splits for sample in list_samples(spec, split)]
    unlabeled = list_unlabeled(spec, [])
    samples += [(UNLABELED, sample) for sample in unlabeled]
    with writing(target):
        make_folder(target.parent)
        unfinished = Path(tempfile.mkdtemp(prefix=partial_prefix(target), suffix=".partial", dir=target.parent))
        try:
            for split in spec.splits:
                for kind in ("images", "labels"):
                    (unfinished / kind / split).mkdir(parents=True)
            if unlabeled:
                (unfinished / "images" / UNLABELED).mkdir()
            if not all(sample.can_be_sent for _, sample in samples):
                processes = 1
            turned = list(map_in_processes(partial(_convert, spec, unfinished, link), samples, progress, processes))
            write_yaml(unfinished / YAML_NAME, _description(spec, any(turned), [UNLABELED] if unlabeled else []))
            umask = os.umask(0)
            os.umask(umask)
            unfinished.chmod(0o777 & ~umask)  # mkdtemp makes 0700
            if target.is_dir():
                target.rmdir()
            unfinished.replace(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)  # gone where it became the target
    return {split: sum(owner == split for owner, _ in samples) for split in spec.splits}


def _refuse_used(target: Path) -> None:
    if target.is_dir():
        inside = next(iter(sorted(target.iterdir())), None)
        if inside is not None:
            raise DataError(f"{target}: must be empty or new; found {inside.name}; choose another folder")
    elif target.exists() or target.is_symlink():
        raise DataError(f"{target}: must be a folder, empty or new; found a file; choose another name")


def _convert(spec: DatasetSpec, folder: Path, link: bool, item: tuple[str, Sample]) -> bool:
    """Write one sample; whether its EXIF data turns the image."""
    split, sample = item
    labels = sample.read_labels(spec).label if sample.is_labelled else None
    source = sample.parts[0] if sample.parts else None
    image = folder / "images" / split / f"{sample.id}{Path(source).suffix if source is not None else '.png'}"
    try:
        if source is None:
            Image.fromarray(sample.read_image()).save(image)
        elif isinstance(source, EmbeddedFile):
            image.write_bytes(source.read())
        elif link:
            image.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, image)
        if labels is not None:
            picture = Image.fromarray(labels, mode="P")
            picture.putpalette(_palette(spec))
            picture.save(folder / "labels" / split / f"{sample.id}.png")
    except OSError as error:
        raise ResourceError(f"{image}: cannot be written ({error.strerror or error}); nothing was kept") from None
    return labels is not None and source is not None and read_header(source).orientation != 1


def _palette(spec: DatasetSpec) -> list[int]:
    """The classes' colours, then black: what is ignored, and what does not occur."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: spec.num_classes] = spec.palette
    return colours.reshape(-1).tolist()


def _description(spec: DatasetSpec, has_turned_images: bool, others: list[str]) -> dict[str, Any]:
    """Of the plain layout, with the splits and other keys whose images lie in folders of their names."""
    values: dict[str, Any] = {split: f"images/{split}" for split in [*spec.splits, *others]}
    values |= {"masks_dir": "labels", "names": list(spec.names), "ignore_index": spec.ignore_index}
    if has_turned_images:
        values["mask_orientation"] = "upright"
    return values | {"palette": [list(colour) for colour in spec.palette]}
