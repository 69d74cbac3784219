"""Two small trained models of equal classes, the folder with them, and what runs the page: Node.js and Chromium."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.config.web import ServeConfig, SiteConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.inference.predictor import Predictor
from effiseg.losses import PixelOptions, cross_entropy_loss
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import Shape

WEB = Path(__file__).parents[2] / "web"
NAMES = ("baseline", "student")
_SHAPES = (
    Shape((16, 24, 32, 48), (1, 1, 1, 1), (1, 1, 1, 1), (4, 2, 1, 1), decoder_width=32),
    Shape((16, 16, 24, 32), (1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), stages=("conv",) * 4, decoder_width=24,
          output_stride=8),
)  # fmt: skip
_STEPS = 60


def require(path: Path | str | None, what: str) -> str:
    """The path of what a test needs; without it the test is skipped, and where nothing may be missing it fails."""
    if path is not None and Path(path).exists():
        return str(path)
    if os.environ.get("EFFISEG_REQUIRE_ORACLES"):
        pytest.fail(f"{what}, and EFFISEG_REQUIRE_ORACLES is set")
    pytest.skip(what)


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, with the packages of web/ installed."""
    require(WEB / "node_modules" / "esbuild", "the packages of web/ are not installed: make web")
    return require(shutil.which("node"), "Node.js is not installed")


@pytest.fixture(scope="session")
def chromium() -> str:
    return require(shutil.which("chromium"), "Chromium is not installed")


@pytest.fixture(scope="session")
def built_page() -> None:
    require(Path(__file__).parents[2] / "src/effiseg/web/page/index.html", "the page is not built: make web")


@pytest.fixture(scope="session")
def trained_pair(colour_data: Path, once: Callable[..., Path]) -> list[SegFormer]:
    """Two models that have learnt the colours, for inputs of 64x96."""
    folder = once("web-models", lambda folder: torch.save(_trained_pair(colour_data), folder / "pair.pt"))
    pair: list[SegFormer] = torch.load(folder / "pair.pt", weights_only=False)
    return pair


def _trained_pair(colour_data: Path) -> list[SegFormer]:
    spec = load_dataset_spec(colour_data)
    samples = list_samples(spec, "train")[:6]
    images = torch.stack([torch.from_numpy(sample.read_image()) for sample in samples]).permute(0, 3, 1, 2)
    labels = torch.stack([torch.from_numpy(sample.read_labels(spec)[0]) for sample in samples]).long()
    return [_trained(shape, spec.names, images, labels) for shape in _SHAPES]


def _trained(shape: Shape, names: Sequence[str], images: torch.Tensor, labels: torch.Tensor) -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer(shape, len(names))
    model.metadata = ModelMetadata(names=tuple(names), image_size=(64, 96))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(_STEPS):
        loss = cross_entropy_loss(model(model.metadata.normalize(images)), labels, pixels=PixelOptions(upsample=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
    return model.eval()


@pytest.fixture(scope="session")
def site(trained_pair: list[SegFormer], built_page: None, once: Callable[..., Path]) -> Path:
    """The folder that `effiseg export --format web` writes of both models."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from effiseg.web.site import write_site

    def make(folder: Path) -> None:
        write_site(trained_pair, NAMES, SiteConfig(models=list(NAMES), out=folder / "site"))

    return once("web-site", make) / "site"


@pytest.fixture(scope="session")
def running() -> Callable[..., AbstractContextManager[Running]]:
    """`with running(predictor, folder, timeout=1) as server`: a server of ours in a thread of this process."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    return _running


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def _running(predictor: Predictor, folder: Path, **limits: Any) -> Iterator[Running]:
    """Serve a folder and a model on a free port of loopback.

    Args:
        predictor: answers; anything that is called with an image.
        folder: the page's.
        limits: settings of `ServeConfig`.
    """
    from effiseg.serving.app import build_app
    from effiseg.serving.labeling import Labeler
    from effiseg.serving.server import listening, make_server

    config = ServeConfig(models=["model"], port=0, **limits)
    page = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    app = build_app(Labeler(predictor, "model", config.max_pixels), page, config, ["127.0.0.1"])
    with listening(config.host, config.port) as door:
        server = make_server(app, config)
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Running(door.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
