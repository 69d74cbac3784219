"""The static folder that runs one or two models in the visitor's browser: page, runtime, checked files, a scene."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from effiseg.config.export import ExportConfig
from effiseg.config.web import SiteConfig
from effiseg.data.transforms import PADDING_COLOUR
from effiseg.engines.record import report_path
from effiseg.errors import UsageError
from effiseg.export.exporter import ExportReport, export_model, staged
from effiseg.files import write_bytes, write_json
from effiseg.inference.framing import known_size
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.scenes.street.scene import draw_scene
from effiseg.version import __version__
from effiseg.visualization.palettes import colour_blind_safe_palette
from effiseg.web.page import page_files, require_new

Message = Callable[[str], object]
_DESCRIPTION_FILE = "models.json"
_SCENE_FILE = "scene.png"
_SCENE_SIZE = (360, 640)  # no network's own, so that the page resizes it as it does any picture
_SCENE_SEED = 17


@dataclass(frozen=True)
class SiteReport:
    """The folder that was written."""

    folder: Path
    """The folder."""
    exports: list[ExportReport]
    """What the file of each model was checked by, in the order of the models."""
    bytes: int
    """Size of all files together."""


def write_site(
    models: Sequence[SegFormer], names: Sequence[str], config: SiteConfig, message: Message = lambda text: None
) -> SiteReport:
    """Write the folder: every model as a checked ONNX file that takes any size, beside the page.

    The folder gets its name when it is whole; what fails leaves nothing behind.

    Args:
        models: one or two, on the CPU.
        names: what the page calls them.
        config: the folder, the network's size, images for the check.
        message: told what is being done, a line each.

    Raises:
        UsageError: the folder exists, this installation has no built page, a package is missing, a model does not say
            its input size, or the classes of the models differ.
        ModelError: an exported network does not compute what its model does.
        DataError: the data set breaks a rule.
    """
    page = page_files()
    require_new(config.out)
    metadata = [model.metadata for model in models]
    classes = _classes(metadata, names)
    sizes = [known_size(name, config.image_size, own.image_size) for own, name in zip(metadata, names, strict=True)]
    exports, described = [], []
    with staged(config.out) as folder:
        folder.mkdir()
        for number, (model, name, size) in enumerate(zip(models, names, sizes, strict=True), 1):
            message(f"writing {name} as ONNX, and comparing the file with the model")
            file = folder / f"model-{number}.onnx"
            settings = ExportConfig(
                file, dynamic=True, data=config.data, data_root=config.data_root, split=config.split
            )
            report = export_model(model, settings, name)
            report_path(file).unlink()  # it names folders of this machine, and the page is for strangers
            exports.append(dataclasses.replace(report, file=config.out / file.name))
            described.append(_described(report, name, size))
        for place, source in page.items():
            (folder / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / place)
        write_bytes(folder / _SCENE_FILE, _drawn_scene())
        description = {
            "effiseg": __version__, "classes": classes, "models": described, "scene": _SCENE_FILE,
            "padding_color": list(PADDING_COLOUR),
        }  # fmt: skip
        write_json(folder / _DESCRIPTION_FILE, description)
        folder.rename(config.out)
    files = [path for path in config.out.rglob("*") if path.is_file()]
    return SiteReport(config.out, exports, sum(path.stat().st_size for path in files))


def _classes(metadata: Sequence[ModelMetadata], names: Sequence[str]) -> list[dict[str, Any]]:
    """Name and color of every class, of all models alike.

    Raises:
        UsageError: the classes of the models differ.
    """
    first = metadata[0]
    for other, name in zip(metadata[1:], names[1:], strict=True):
        if other.names != first.names:
            raise UsageError(
                f"models side by side must have equal classes in equal order; {names[0]} has "
                f"{_difference(first, other)}, {name} has {_difference(other, first)}"
            )
    palette = next((own.palette for own in metadata if own.palette), None) or colour_blind_safe_palette(
        first.num_classes
    )
    return [{"name": name, "color": list(color)} for name, color in zip(first.names, palette, strict=True)]


def _difference(own: ModelMetadata, other: ModelMetadata) -> str:
    """The first class that is not the other's, or the number of classes."""
    if own.num_classes != other.num_classes:
        return f"{own.num_classes} classes"
    index = next(i for i, (name, theirs) in enumerate(zip(own.names, other.names, strict=True)) if name != theirs)
    return f"{own.names[index]!r} as class {index}"


def _described(report: ExportReport, name: str, size: tuple[int, int]) -> dict[str, Any]:
    """A model as the page reads it (`Model` in web/src/description.ts)."""
    return {
        "name": name,
        "file": report.file.name,
        "bytes": report.bytes,
        "image_size": list(size),
        "resize": report.record.metadata.resize,
        "output_stride": report.record.output_stride,
        "least_side": report.record.least_side,
    }


def _drawn_scene() -> bytes:
    """A PNG of a drawn street scene."""
    image, _ = draw_scene(np.random.default_rng(_SCENE_SEED), *_SCENE_SIZE)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()
