"""`effiseg predict` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.commands.predict import run
from effiseg.data.reading import read_raw_mask
from effiseg.errors import EffisegError, UsageError
from effiseg.inference.predictor import Predictor
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.prediction import predict as module
from effiseg.prediction.pipeline import run_pipeline

PALETTE = ((10, 20, 30), (200, 100, 0), (0, 90, 0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = SegFormer("b0", 3)
    with torch.no_grad():
        network.decode_head.classifier.weight *= 40
    network.metadata = ModelMetadata(
        names=("sky", "road", "tree"), palette=PALETTE, image_size=(32, 64), label_mapping={7: 0, 11: 1, 23: 2, 0: 255}
    )
    folder = tmp_path_factory.mktemp("model") / "b0"
    save_pretrained(network, folder)
    return folder


def picture(seed: int, height: int = 40, width: int = 60) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "bilder ü"
    for index, name in enumerate(("a/1.png", "b/1.png", "b/2.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(index, 40 + 3 * index, 60).save(folder / name)
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (60, 40))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MPEG-4")
    for index in range(7):
        writer.write(np.asarray(picture(index)))
    writer.release()
    return path


def predict(*words: object) -> int:
    return run([str(word) for word in (*words, "--device", "cpu")])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder(model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert predict(model, images, "--out", out) == 0
    names = ("a/1", "b/1", "b/2")
    kinds = (("color", "png"), ("labels", "png"), ("overlay", "jpg"))
    assert files(out) == [f"{kind}/{name}.{end}" for kind, end in kinds for name in names] + ["prediction.json"]
    predictor = Predictor(model, device="cpu", batch_size=1)
    for name in names:
        expected = predictor(images / f"{name}.png")
        ids = cv2.imread(str(out / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert ids is not None
        assert ids.shape == expected.labels.shape  # grey: every program reads the ids
        assert (ids != expected.labels).mean() < 2e-3  # a batch rounds otherwise
        assert np.array_equal(read_raw_mask(out / "color" / f"{name}.png"), ids)
        with Image.open(out / "color" / f"{name}.png") as colours:
            assert np.array_equal(np.asarray(colours.convert("RGB")), np.array(PALETTE, np.uint8)[ids])
        with Image.open(out / "overlay" / f"{name}.jpg") as overlay:
            shown = np.asarray(overlay).astype(int)
            assert np.abs(shown[: len(expected.labels)] - expected.overlay()).mean() < 12
            assert len(shown) > len(expected.labels)  # the legend
    record = json.loads((out / "prediction.json").read_text())
    assert record["classes"]["1"] == {"name": "road", "color": [200, 100, 0]}
    assert "3 images" in capsys.readouterr().out


def test_raw_ids_and_probabilities(model: Path, images: Path, tmp_path: Path) -> None:
    predict(model, images / "a", "--out", tmp_path / "ids", "--save", "labels,probabilities", "--label_ids")
    predict(model, images / "a", "--out", tmp_path / "classes", "--save", "labels")
    ids, classes = (read_raw_mask(tmp_path / name / "labels" / "1.png") for name in ("ids", "classes"))
    assert np.array_equal(ids, np.array([7, 11, 23])[classes])
    assert files(tmp_path / "ids") == ["labels/1.png", "prediction.json", "probabilities/1.npz"]
    stored = np.load(tmp_path / "ids" / "probabilities" / "1.npz")
    # 40x60 within 32x64 is 32x48.
    assert stored["probabilities"].shape == (3, 8, 12)
    assert stored["probabilities"].dtype == np.float16
    assert stored["size"].tolist() == [40, 60]
    assert stored["extent"].tolist() == [8, 12]
    assert set(json.loads((tmp_path / "ids" / "prediction.json").read_text())["classes"]) == {"7", "11", "23"}


def test_slide_and_flip(model: Path, images: Path, tmp_path: Path) -> None:
    options = {"mode": "slide", "window": (32, 32), "stride": 16, "flip": True}
    words = ("--mode", "slide", "--window", "32x32", "--stride", "16", "--flip", "--save", "labels")
    assert predict(model, images, "--out", tmp_path / "out", *words) == 0
    expected = Predictor(model, device="cpu", **options)(images / "b" / "2.png")  # type: ignore[arg-type]
    assert np.array_equal(read_raw_mask(tmp_path / "out" / "labels" / "b" / "2.png"), expected.labels)


def test_unreadable_files_are_named_and_the_rest_is_done(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "b" / "bad.png").write_bytes(b"no image")
    (images / "c.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    assert predict(model, images, "--out", out, "--save", "labels") == 1
    assert files(out) == ["labels/a/1.png", "labels/b/1.png", "labels/b/2.png", "prediction.json"]
    printed = capsys.readouterr()
    assert "3 images" in printed.out
    assert "2 files could not be read" in printed.err
    assert "bad.png" in printed.err
    assert "c.mp4" in printed.err
    assert len(json.loads((out / "prediction.json").read_text())["unreadable"]) == 2


def test_pages_and_hidden_folders_that_are_passed_over_are_said_once(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Image.new("RGB", (40, 30), (200, 9, 9))
    for name in ("x", "y"):
        page.save(images / "b" / f"{name}.tif", save_all=True, append_images=[page])
    (images / ".old").mkdir()
    assert predict(model, images / "b", images / ".old" / "..", "--out", tmp_path / "out", "--save", "labels") == 0
    printed = capsys.readouterr().err
    assert printed.count("2 have several, of which the first is used: x.tif, y.tif") == 1
    assert printed.count("passed over 1 hidden files or folders") == 1


def test_a_folder_that_holds_something(model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, images, "--out", out, "--save", "labels")
    with pytest.raises(UsageError, match=r"--out .*must be new or empty"):
        predict(model, images, "--out", out, "--save", "labels")
    kept = out / "labels" / "a" / "1.png"
    kept.write_bytes(b"kept")
    (out / "labels" / "b" / "1.png").unlink()
    assert predict(model, images, "--out", out, "--save", "labels", "--existing", "skip") == 0
    assert kept.read_bytes() == b"kept"
    assert (out / "labels" / "b" / "1.png").is_file()
    with pytest.raises(UsageError, match=r"other settings \(flip\)"):
        predict(model, images, "--out", out, "--save", "labels", "--flip", "--existing", "skip")
    assert predict(model, images, "--out", out, "--save", "labels", "--existing", "overwrite") == 0
    assert kept.read_bytes() != b"kept"


def test_a_video(model: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(model, video, "--out", out) == 0
    assert files(out) == ["overlay/drive.mp4", "prediction.json"]
    capture = cv2.VideoCapture(str(out / "overlay" / "drive.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    assert len(frames) == 7
    assert all(len(frame) > 40 and frame.shape[1] == 60 for frame in frames)  # the legend is below
    first = cv2.VideoCapture(str(video)).read()[1]
    expected = Predictor(model, device="cpu")(np.ascontiguousarray(first[..., ::-1])).overlay()[..., ::-1]
    assert np.abs(frames[0][:40].astype(int) - expected).mean() < 15


def test_a_video_that_is_cut_off_is_named_each_time(
    model: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mkv"
    writer = cv2.VideoWriter(str(cut), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (60, 40))
    for index in range(30):
        writer.write(np.asarray(picture(index)))
    writer.release()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for words in ((), ("--existing", "skip")):
        assert predict(model, cut, video, "--out", tmp_path / "out", *words) == 1
        assert "frames of 30 could be read" in capsys.readouterr().err
        assert list(json.loads((tmp_path / "out" / "prediction.json").read_text())["unreadable"]) == [str(cut)]
    assert files(tmp_path / "out") == ["overlay/cut.mp4", "overlay/drive.mp4", "prediction.json"]


def test_outputs_that_would_have_one_name_are_refused_before_anything_is_written(
    model: Path, video: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "a.png", "a.jpg.png"):
        picture(1).save(folder / name)
    with pytest.raises(EffisegError, match=r"outputs of sources must have different names; .*a\.jpg"):
        predict(model, folder, "--out", tmp_path / "out")
    (folder / "a.jpg.png").unlink()
    (folder / "drive").mkdir()
    picture(2).save(folder / "drive" / "000000.jpg")
    video.rename(folder / "drive.mp4")
    with pytest.raises(EffisegError, match=r"drive.* would be the same"):
        predict(model, folder, "--out", tmp_path / "out", "--save", "labels")
    assert not (tmp_path / "out").exists()
    assert predict(model, folder, "--out", tmp_path / "out", "--save", "overlay") == 0
    names = ["a.jpg.jpg", "a.png.jpg", "drive.mp4", "drive/000000.jpg"]
    assert files(tmp_path / "out") == [*(f"overlay/{name}" for name in names), "prediction.json"]


def test_outputs_inside_a_source_are_passed_over(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model, images, "--out", images / "first") == 0
    capsys.readouterr()
    assert predict(model, images, "--out", images / "second") == 0
    assert files(images / "second") == [name.replace("first/", "") for name in files(images / "first")]
    assert f"passed over 9 outputs of earlier predictions, as {images / 'first'}" in capsys.readouterr().err


def test_every_frame_of_a_video(model: Path, video: Path, tmp_path: Path) -> None:
    assert predict(model, video, "--out", tmp_path / "out", "--save", "labels") == 0
    expected = [f"labels/drive/{index:06d}.png" for index in range(7)]
    assert files(tmp_path / "out") == [*expected, "prediction.json"]


def test_ctrl_c_leaves_whole_files(
    model: Path, images: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment, calls = Predictor.segment, []

    def stopped(self: Predictor, prepared: object) -> object:
        calls.append(prepared)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return segment(self, prepared)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "segment", stopped)
    for source, kept in ((images, 2), (video, 0)):
        calls.clear()
        out = tmp_path / f"out{kept}"
        with pytest.raises(KeyboardInterrupt):
            predict(model, source, "--out", out, "--batch_size", 1, "--save", "overlay")
        written = [path for path in out.rglob("*") if path.is_file() and path.name != "prediction.json"]
        assert len(written) <= kept
        assert not [path for path in written if path.name.startswith(".")]
        assert all(cv2.imread(str(path)) is not None for path in written)


def test_a_stopped_stream_ends_its_video_in_good_order(
    model: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_after_the_last(*arguments: object, **options: object) -> None:
        run_pipeline(*arguments, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_pipeline", stop_after_the_last)
    with pytest.raises(KeyboardInterrupt):
        predict(model, video.as_uri(), "--out", tmp_path / "out")
    (written,) = (tmp_path / "out" / "overlay").iterdir()
    assert written.suffix == ".mp4"
    assert cv2.VideoCapture(str(written)).get(cv2.CAP_PROP_FRAME_COUNT) == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL", "--out", "OUT"], "SOURCE"),
        (["MODEL", "IMAGES", "--out", "OUT", "--save", "labels,colour"], "Got value: colour"),
        (["MODEL", "IMAGES", "--out", "OUT", "--window", "64x64"], "belongs to --mode slide"),
        (["MODEL", "IMAGES", "--out", "OUT", "--mode", "slide", "--window", "33x64"], "multiples of 4"),
        (["MODEL", "nowhere", "--out", "OUT"], "nowhere: no such file"),
        (["nowhere", "IMAGES", "--out", "OUT"], "nowhere: no such folder"),
        (["MODEL", "IMAGES", "--out", "OUT", "--mod", "slide"], "did you mean '--mode'"),
    ],
)
def test_mistakes(model: Path, images: Path, tmp_path: Path, words: list[str], message: str) -> None:
    places = {"MODEL": str(model), "IMAGES": str(images), "OUT": str(tmp_path / "out")}
    with pytest.raises(EffisegError) as caught:
        run([places.get(word, word) for word in words])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
