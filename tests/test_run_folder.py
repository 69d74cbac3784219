"""What a MODEL argument means, and what a folder says of the work in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from effiseg.errors import ModelError, UsageError
from effiseg.run_folder import RunFolder, is_new, output_folder, resolve_model


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_layout() -> None:
    run = RunFolder("out")
    assert not run.is_run
    touch(run.config)
    assert run.is_run
    names = [
        run.config,
        run.environment,
        run.metrics,
        run.last_checkpoint,
        run.best_checkpoint,
        run.model,
        run.results,
    ]
    assert [str(path.relative_to("out")) for path in names] == [
        "config.yaml", "environment.json", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt",
        "model", "results.json",
    ]  # fmt: skip
    assert RunFolder(Path("out")) == run


def test_a_run_means_its_model() -> None:
    run = RunFolder("out")
    touch(run.config)
    touch(run.model / "config.json")
    assert resolve_model("out") == "out/model"
    assert resolve_model(Path("out/model")) == "out/model"


def test_a_model_folder_copied_from_a_run_is_enough() -> None:
    touch(Path("copied/model/config.json"))
    assert resolve_model("copied") == "copied/model"


def test_a_run_without_model_says_how_to_finish_it() -> None:
    touch(RunFolder("out").config)
    with pytest.raises(ModelError, match=r"no model yet.*--resume out"):
        resolve_model("out")


@pytest.mark.parametrize("hub_id", ["nvidia/mit-b0", "nvidia/segformer-b0-finetuned-cityscapes-1024-1024", "a/b"])
def test_a_hub_id_passes(hub_id: str) -> None:
    assert resolve_model(hub_id) == hub_id


def test_a_local_folder_comes_before_a_hub_id() -> None:
    touch(Path("nvidia/mit-b0/config.json"))
    assert resolve_model("nvidia/mit-b0") == "nvidia/mit-b0"


@pytest.mark.parametrize("path", ["nowhere", "./nowhere", "/no/where", "a/b/c", "../a", "~/nowhere-x", "a/", "runs/b0"])
def test_a_wrong_path_is_no_hub_id(path: str) -> None:
    Path("runs").mkdir()
    with pytest.raises(ModelError, match="no such folder; MODEL must be") as caught:
        resolve_model(path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_other_folders_and_files_are_refused() -> None:
    Path("empty").mkdir()
    with pytest.raises(ModelError, match="empty: holds neither"):
        resolve_model("empty")
    with pytest.raises(ModelError, match=r"last\.ckpt: is a file"):
        resolve_model(touch(Path("last.ckpt")))


@pytest.mark.parametrize(
    ("beside", "file", "said"),
    [
        ("my run/config.yaml", "my run/checkpoints/best.ckpt", "a checkpoint of a run; give the run: 'my run'"),
        ("m/config.json", "m/model.safetensors", "a file of a model folder; give the folder: m"),
        ("x.xml", "x.bin", "OpenVINO's weights; give the file beside it: x.xml"),
        ("other", "my weights.pth", "`effiseg convert 'my weights.pth' --out DIR`"),
        ("other", "net.PT", "a file of weights; make a model folder of it, and give that: `effiseg convert net.PT"),
        ("other", "checkpoints/last.ckpt", "`effiseg convert checkpoints/last.ckpt --out DIR`"),
    ],
)
def test_a_file_of_weights_is_answered_with_what_to_give(beside: str, file: str, said: str) -> None:
    touch(Path(beside))
    with pytest.raises(ModelError) as caught:
        resolve_model(touch(Path(file)))
    assert str(caught.value).startswith(f"{file}: is a")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_killed_process_left_before_its_first_file_is_nothing() -> None:
    assert is_new(Path("run"))
    touch(Path("run/.lock"))
    touch(Path("run/.config.yaml.x1.partial"))
    assert is_new(Path("run"))
    touch(Path("run/config.yaml"))
    assert not is_new(Path("run"))
    assert not is_new(touch(Path("file")))


def test_metrics_are_numbers_or_nothing() -> None:
    run = RunFolder("run")
    assert run.read_metrics() == []
    touch(run.metrics).write_text("epoch,loss,val_miou\n1,0.5,\n2,0.25,40\n")
    assert run.read_metrics() == [
        {"epoch": 1.0, "loss": 0.5, "val_miou": None},
        {"epoch": 2.0, "loss": 0.25, "val_miou": 40.0},
    ]
    run.metrics.write_text("epoch,loss\n1,much\n")
    with pytest.raises(UsageError, match=r"^run/metrics\.csv: every cell must be a number or empty"):
        run.read_metrics()


def test_folders_without_a_name_get_numbers_of_their_own() -> None:
    with output_folder("given", "train") as folder:
        assert folder == Path("given")
        assert not folder.exists()
    for name in ("train", "train-2", "train-3"):
        with output_folder(None, "train") as folder:
            assert folder == Path("runs", name)
            (folder / "config.yaml").touch()
    with output_folder("", "train") as folder:  # nothing comes to lie in it, as after a mistake
        assert folder == Path("runs", "train-4")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["train", "train-2", "train-3"]


def test_processes_never_share_a_numbered_folder() -> None:
    def take(_: int) -> str:
        with output_folder(None, "train") as folder:
            (folder / "mine").touch(exist_ok=False)
            return folder.name

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(take, range(24)))) == 24
