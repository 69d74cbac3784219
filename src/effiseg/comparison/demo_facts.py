"""What is true of the demo's models whatever their scores are: nothing of it waits for a longer training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from effiseg.benchmark.run import run_benchmark
from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.export import ExportConfig
from effiseg.data.check import check_dataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.samples import list_samples
from effiseg.engines import FORMATS
from effiseg.engines.agreement import compare
from effiseg.engines.engine import FileEngine, FileFormat
from effiseg.errors import EffisegError
from effiseg.export.exporter import export_model
from effiseg.inference.network import load_network, trained_network
from effiseg.models.fuse import fuse
from effiseg.models.fused_blocks import Squashing, Standardization
from effiseg.models.normalization import DynamicNorm, LayerNorm
from effiseg.models.pretrained import from_pretrained
from effiseg.run_folder import RunFolder


def facts(spec: DatasetSpec, norm_free: RunFolder, size: tuple[int, int], folder: Path) -> Iterator[str]:
    """One line each: data, fused network, norms, files of engines, time beside transformers.

    Args:
        spec: the demo's data set.
        norm_free: a finished run of a row without LayerNorms.
        size: (height, width) of the network's input.
        folder: where exported files go.
    """
    works: list[Callable[[], str]] = [
        lambda: _data(spec),
        lambda: _fused(norm_free, spec, size),
        lambda: _norms(norm_free),
        *(lambda chosen=chosen: _file(chosen, norm_free, size, folder) for chosen in FORMATS),
        lambda: _time(norm_free, size),
    ]
    for work in works:
        try:
            yield work()
        except EffisegError as error:
            yield str(error)


def _data(spec: DatasetSpec) -> str:
    report = check_dataset(spec)
    pairs = sum(report.images.values())
    return f"data check: {pairs} pairs of {spec.name} read, {len(report.faults)} faults"


def _fused(run: RunFolder, spec: DatasetSpec, size: tuple[int, int]) -> str:
    sample = list_samples(spec, "val")[0]
    image = torch.from_numpy(sample.read_image()).permute(2, 0, 1)[None, :, : size[0], : size[1]]
    answers: list[Tensor] = [
        network.predict(image).cpu()
        for network in (load_network(run.model, device="cpu"), trained_network(from_pretrained(run.model)))
    ]
    found = compare(answers[0].numpy(), answers[1].numpy(), (image.shape[2], image.shape[3]))
    return (
        f"fused equals trained: logits differ by at most {found.error:.1e} of their range, "
        f"{100 * found.labels:.3f} % of the labels are the same"
    )


def _norms(run: RunFolder) -> str:
    model = from_pretrained(run.model)
    norms = sum(isinstance(module, LayerNorm | DynamicNorm) for module in model.encoder.modules())
    left = list(fuse(model).modules())
    standardized = sum(isinstance(module, Standardization) for module in left)
    squashed = sum(isinstance(module, Squashing) for module in left)
    return (
        f"norms that fold away: {run.path.name} trains {norms} norms in its encoder; as deployed {standardized} of "
        f"them standardize and {squashed} are a bare tanh, the rest is folded into its neighbours"
    )


def _file(chosen: FileFormat, run: RunFolder, size: tuple[int, int], folder: Path) -> str:
    if absent := chosen.absent_packages():
        return f"{chosen.format}: not tried, {', '.join(absent)} is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"model{chosen.suffix}"
    config = ExportConfig(out=path, image_size=size)
    check = export_model(from_pretrained(run.model), config, str(run.path)).verification.sizes[0]
    runs = f" in {chosen.name}" if isinstance(chosen, FileEngine) else ""
    return f"{chosen.format}: {path}{runs} agrees with the model on {100 * check.label_agreement:.3f} % of the labels"


def _time(run: RunFolder, size: tuple[int, int]) -> str:
    if find_spec("transformers") is None:
        return "time against transformers: not measured, transformers is not installed"
    config = BenchmarkConfig(models=[str(run.path)], image_size=size, against="transformers", rounds=3)
    ours = run_benchmark(config, "effiseg demo").rows[0]
    return (
        f"time at {size[0]}x{size[1]}: {ours.latency_ms:.1f} ms an image, {ours.speedup:.2f} times as fast as "
        "transformers' network of the same shape with LayerNorms"
    )
