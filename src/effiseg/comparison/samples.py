"""Images with what every row made of them, saved small, so that a report can be drawn without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

from PIL import Image

from effiseg.config.comparison import AblationConfig
from effiseg.config.data import Resize
from effiseg.config.parsing import read_settings
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.data.transforms import UInt8Array
from effiseg.environment import resolve_device
from effiseg.errors import EffisegError
from effiseg.evaluation.evaluator import compare
from effiseg.files import atomic_path, read_json
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.report.samples import FOLDER, INDEX, SampleIndex, SavedSample, read_samples
from effiseg.results import AblationResult, EvaluationResult
from effiseg.run_folder import RunFolder
from effiseg.visualization.label_colours import colour_table
from effiseg.visualization.sheet import PICTURE_WIDTH, reduced

ImageIou = Mapping[str, float | None]
_DIFFER, _RANDOM, _WORST = 4, 4, 2


def save_samples(
    models: Mapping[str, str | Path],
    image_iou: Mapping[str, ImageIou],
    spec: DatasetSpec,
    split: str,
    out: Path,
    *,
    image_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    device: str = "cpu",
) -> SampleIndex:
    """Predict a few samples with every row's model and save them under `out`/samples.

    Earlier ones are kept where the same rows have the same IoU on the same images, else replaced. The layout is
    that of `report/samples.py`; the index is written last.

    Args:
        models: row → model folder, in the order of the rows.
        image_iou: row → sample id → mean IoU, percent.
        spec: the data set.
        split: its split that was evaluated.
        out: folder of the comparison or run.
        image_size: the networks' input; default: each model's own.
        resize: keep_ratio or fixed; default: each model's own.
        device: where to compute.

    Raises:
        DataError, ModelError, OSError: what could not be read, predicted or written.
    """
    folder = out / FOLDER
    chosen = choose_samples(image_iou)
    with suppress(EffisegError):
        earlier = read_samples(out)
        if earlier is not None and [replace(saved, predictions={}) for saved in earlier.samples] == chosen:
            return earlier
    (folder / INDEX).unlink(missing_ok=True)
    by_id = {sample.id: sample for sample in list_samples(spec, split)}
    samples = [by_id[saved.id] for saved in chosen]
    for saved, sample in zip(chosen, samples, strict=True):
        _save(Image.fromarray(reduced(sample.read_image(), PICTURE_WIDTH)), folder / saved.folder / "image.jpg")
    for number, (row, source) in enumerate(models.items()):
        framed = FramedNetwork(load_network(source, device=device), Framing(image_size, resize, batch_size=1))
        for saved, found in zip(chosen, compare(framed, samples, spec), strict=True):
            saved.predictions[row] = f"{number}.png"
            _save(_indexed(found.prediction.cpu().numpy(), spec), folder / saved.folder / f"{number}.png")
            if number == 0:
                _save(_indexed(found.target.cpu().numpy(), spec), folder / saved.folder / "truth.png")
    note = (
        f"{split} split; predictions of each row's first seed, at most {PICTURE_WIDTH} pixels wide; "
        "IoU is the mean over seeds."
    )
    palette = [list(colour) for colour in spec.palette]
    index = SampleIndex(list(spec.names), palette, list(models), chosen, note, folder)
    index.write()
    return index


def save_samples_of_rows(
    result: AblationResult, folders: Mapping[str, str], config: AblationConfig, spec: DatasetSpec
) -> SampleIndex:
    """Save samples of a comparison.

    Args:
        result: the finished comparison.
        folders: row → model folder of its first seed.
        config: the comparison's settings.
        spec: the data set.

    Raises:
        DataError, ModelError, OSError: as `save_samples`.
    """
    return save_samples(
        {row.name: folders[row.name] for row in result.rows},
        {row.name: row.image_iou for row in result.rows},
        spec,
        config.split,
        Path(config.out),
        image_size=config.input_size,
        resize=config.resize,
        device=resolve_device(config.device),
    )


def save_run_samples(run: RunFolder, spec: DatasetSpec | None = None) -> SampleIndex | None:
    """Save samples of a finished run's val split into its folder; None where it has no val split.

    Args:
        run: the finished run.
        spec: its data set; None reads the one that its settings name.

    Raises:
        DataError, ModelError, OSError: as `save_samples`.
    """
    value = read_json(run.results)["val"]
    if value is None:
        return None
    config = read_settings(TrainConfig, run.config)
    result = EvaluationResult.from_dict(value, run.results)
    return save_samples(
        {Path(config.recipe).stem: run.model},
        {Path(config.recipe).stem: result.image_iou},
        spec or load_dataset_spec(config.data, config.data_root),
        "val",
        run.path,
        device=resolve_device(config.device),
    )


def choose_samples(image_iou: Mapping[str, ImageIou], seed: int = 0) -> list[SavedSample]:
    """Where the rows differ most (largest minus smallest IoU), some at random, and the worst of every row.

    Args:
        image_iou: row → sample id → mean IoU, percent; the rows hold the same samples.
        seed: of the random ones.
    """
    ids = sorted(next(iter(image_iou.values()), {}))
    known = {name: [iou[name] for iou in image_iou.values()] for name in ids}
    scores = {name: [v for v in values if v is not None] for name, values in known.items() if None not in values}
    chosen: dict[str, SavedSample] = {}

    def choose(name: str) -> SavedSample:
        iou = {row: values.get(name) for row, values in image_iou.items()}
        return chosen.setdefault(name, SavedSample(name, f"{len(chosen):03d}", [], iou=iou))

    if len(image_iou) > 1:
        for name in sorted(scores, key=lambda name: min(scores[name]) - max(scores[name]))[:_DIFFER]:
            choose(name).reasons.append("differ")
    for name in sorted(Random(seed).sample(ids, min(_RANDOM, len(ids)))):
        choose(name).reasons.append("random")
    for row, iou in image_iou.items():
        worst: Callable[[str], float] = lambda name, iou=iou: iou[name] or 0.0  # type: ignore[misc]  # noqa: E731
        for name in sorted(scores, key=worst)[:_WORST]:
            sample = choose(name)
            sample.worst_of.append(row)
            if "worst" not in sample.reasons:
                sample.reasons.append("worst")
    return list(chosen.values())


def _indexed(labels: UInt8Array, spec: DatasetSpec) -> Image.Image:
    """A label map that any viewer shows in the data set's colours; its bytes are the classes."""
    image = Image.fromarray(reduced(labels, PICTURE_WIDTH))
    image.putpalette(colour_table(spec.palette).tobytes())
    return image


def _save(image: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == ".jpg":
            image.save(temporary, "JPEG", quality=88)
        else:
            image.save(temporary, "PNG", optimize=True)
