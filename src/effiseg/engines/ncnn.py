"""NCNN: a .param file with the graph and a .bin file with the weights, for phones and boards; run on the CPU."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from effiseg.config.engine import Output, Precision
from effiseg.engines.engine import Answer, FileEngine, LoadedModel, Pixels
from effiseg.engines.record import PREFIX, ExportRecord
from effiseg.environment import require_package
from effiseg.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from effiseg.models.segformer import SegFormer

_RUNNING = "running an NCNN file"
_INPUT, _OUTPUT = "in0", "out0"
"""What pnnx calls them."""
_MARK = f"# {PREFIX}."
"""How a line of the record begins; NCNN reads as many lines as the file says there are layers, and no more."""
_PARAM_BYTES = 16_000_000


class _Ncnn(FileEngine):
    """It takes one image at a time, float32 RGB from 0 to 255, channels first; `LoadedModel` makes it of bytes."""

    name = "ncnn"
    title = "NCNN"
    format = "ncnn"
    suffix = ".param"
    contents = ".param and .bin, logits of one size"
    packages = ("ncnn", "pnnx")
    outputs = ("logits",)
    takes_any_size = False
    missing: ClassVar[Mapping[Precision, str]] = {
        "float16": "NCNN computes in float32 on this kind of processor",
        "bfloat16": "NCNN computes in float32 on this kind of processor",
        "int8": "NCNN's own tools quantize its files",
    }
    pointwise = "conv"

    def deploy_form(self, model: SegFormer, output: Output) -> nn.Module:
        """See `FileFormat.deploy_form`; here it takes (B, 3, H, W) float32 from 0 to 255."""
        from torch import nn

        from effiseg.models.fuse import fuse

        metadata = model.metadata
        scale = nn.Conv2d(3, 3, 1, groups=3)
        for channel, (mean, deviation) in enumerate(zip(metadata.mean, metadata.std, strict=True)):
            scale.weight.data[channel] = 1 / (255 * deviation)
            assert scale.bias is not None
            scale.bias.data[channel] = -mean / deviation
        return nn.Sequential(scale, fuse(model, output=output, pointwise=self.pointwise).cpu().float())

    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """See `FileFormat.write`; the record stands behind the layers."""
        import torch

        assert record.input_size is not None
        _convert(network, torch.zeros(1, 3, *record.input_size), path, "export to NCNN")
        with path.open("a", encoding="utf-8") as stream:
            for name, text in record.to_properties().items():
                stream.write(f"{_MARK}{name}={text}\n")

    def parts(self, path: Path) -> list[Path]:
        """The .param and the .bin."""
        return [path, path.with_suffix(".bin")]

    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """See `FileEngine.load`."""
        record = ExportRecord.from_properties(_properties(path), path)
        if precision not in (None, record.precision):
            raise UsageError(f"{path}: NCNN computes what the file is, {record.precision}; asked for was {precision}")
        if record.input_size is None:
            raise ModelError(f"{path}: a file of NCNN has one size; its record says none: export it again")
        if not path.with_suffix(".bin").is_file():
            raise ModelError(f"{path}: a file of NCNN needs {path.with_suffix('.bin').name} beside it; found none")
        run_one = self.run_plain(path, threads, record.precision)

        def run(images: Pixels) -> Answer:
            planes = images.transpose(0, 3, 1, 2).astype(np.float32)
            return np.concatenate([run_one(plane[None]) for plane in planes])

        blank = run(np.zeros((1, *record.input_size, 3), np.uint8))
        taken = (record.batch_size, *record.input_size, 3)
        record.require_fit(path, taken, (None, *blank.shape[1:]), blank.dtype.name)
        return LoadedModel(path, record, record.precision, self.name, run)

    def write_plain(self, network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
        """See `FileEngine.write_plain`: as pnnx converts it."""
        _convert(network, images, path, purpose)

    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """See `FileEngine.run_plain`; batches are run image by image."""
        ncnn = require_package("ncnn", "ncnn", _RUNNING)
        network = ncnn.Net()
        network.opt.num_threads = threads
        for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(network.opt, option, False)
        if network.load_param(str(path)) or network.load_model(str(path.with_suffix(".bin"))):
            raise ModelError(f"{path}: NCNN cannot read it; is the .bin beside it?")

        def run(array: Answer) -> Answer:
            found = []
            for image in array:
                extractor = network.create_extractor()
                pixels = np.ascontiguousarray(image)  # a Mat reads it where it lies, and does not keep it
                extractor.input(_INPUT, ncnn.Mat(pixels))
                failed, answer = extractor.extract(_OUTPUT)
                if failed:
                    raise ModelError(f"{path}: NCNN cannot run it; export it again")
                found.append(np.array(answer))
            return np.stack(found)

        return run

    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """There are none: NCNN's package is built without clocks."""
        raise UsageError("NCNN's package keeps no times of its layers; profile the file in another engine")


def _convert(network: nn.Module, images: Tensor, path: Path, purpose: str) -> None:
    """The .param and .bin of a network, by pnnx, a program of its own, which says on stdout what it does."""
    import torch

    from effiseg.engines.capture import quiet

    pnnx = require_package("pnnx", "ncnn", purpose)
    sizes = ",".join(map(str, images.shape))
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "network.pt"
        with quiet(), torch.no_grad():
            torch.jit.trace(network.eval(), images).save(str(traced))  # type: ignore[no-untyped-call]
        done = subprocess.run(
            [pnnx.EXEC_PATH, str(traced), f"inputshape=[{sizes}]f32", "fp16=0"],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        graph, weights = (Path(folder) / f"network.ncnn.{suffix}" for suffix in ("param", "bin"))
        if done.returncode or not graph.is_file() or not weights.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ModelError(f"{path}: pnnx cannot convert it ({said[-1] if said else done.returncode})")
        shutil.copyfile(graph, path)
        shutil.copyfile(weights, path.with_suffix(".bin"))


def _properties(path: Path) -> dict[str, str]:
    """The record's lines in a .param file."""
    try:
        with path.open("rb") as stream:
            lines = stream.read(_PARAM_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    pairs = (line.removeprefix(_MARK).partition("=") for line in lines if line.startswith(_MARK))
    return {name: text for name, _, text in pairs}


NCNN = _Ncnn()
