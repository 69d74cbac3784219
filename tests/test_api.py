"""The functions of `import effiseg`: their documented examples, settings, and what notebooks need."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import effiseg
from effiseg import runs
from effiseg.api.speech import in_python
from effiseg.config.training import OptimizerConfig, TrainConfig
from effiseg.nested import flatten, nest

SMALL: dict[str, Any] = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "device": "cpu", "epochs": 1}
MODULES = ("effiseg.api.datasets", "effiseg.api.models", "effiseg.api.training")
DOCUMENTED = (*MODULES, "effiseg.data.python_data", "effiseg.runs")


@pytest.fixture(scope="module")
def workplace(colour_data: Path, teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the examples have it: colours/data.yaml and a finished run."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(colour_data.parent, folder / "colours")
    shutil.copytree(teacher_run, folder / "runs" / "students" / "baseline")
    return folder


@pytest.fixture(autouse=True)
def _in_the_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("effiseg.report.figures.style.FORMATS", ("svg",))
    torch.set_num_threads(1)


class Finder(doctest.DocTestFinder):
    """Also finds functions that a decorator of another module has wrapped."""

    def _from_module(self, module: Any, object: Any) -> bool:
        return bool(super()._from_module(module, inspect.unwrap(object) if callable(object) else object))  # type: ignore[misc]


def examples() -> Iterator[doctest.DocTest]:
    finder = Finder(exclude_empty=True)
    for name in DOCUMENTED:
        for test in finder.find(importlib.import_module(name), globs={"effiseg": effiseg}):
            if test.examples:
                yield test


SLOW = ("ablate", "export_model", "inspect_norms", "pretrain", "run_benchmark")


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            example,
            id=example.name.removeprefix("effiseg."),
            marks=[pytest.mark.heavy] if example.name.endswith(SLOW) else [],
        )
        for example in examples()
    ],
)
def test_the_documented_example_runs(example: doctest.DocTest) -> None:
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_evaluating_and_exporting_load_nothing_of_training() -> None:
    code = f"import sys, {', '.join(MODULES)}; print(sorted({{'lightning', 'torch', 'cv2'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_function_has_an_example() -> None:
    documented = {example.name.split(".")[-1] for example in examples()}
    functions = {name for name in effiseg.__all__ if getattr(getattr(effiseg, name), "__module__", "") in MODULES}
    assert (functions - {"push"}) | {"Run", "PythonData"} <= documented  # a push needs the Hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that `effiseg.train` and `effiseg.ablate` arrive at, without training."""
    seen: list[Any] = []
    monkeypatch.setattr(runs, "start_run", lambda config, **objects: seen.append((config, objects)))
    monkeypatch.setattr(runs, "compare", lambda config, shared, **others: seen.append((config, shared)))
    return seen


def test_settings_are_those_of_the_command_line(asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("epochs: 7\nbatch_size: 16\noptimizer: {power: 0.9}\n")
    dotted = {"optimizer.warmup_ratio": 0.1, "loss.smooth": 0.5}
    effiseg.train(
        data=Path("my.yaml"), out=tmp_path / "run", recipe="dice_focal", config=tmp_path / "own.yaml",
        image_size=(64, 96), batch_size=2, optimizer={"lr": 1e-3}, model={"variant": "b1"}, early_stop_epochs=5,
        precision="bfloat16", ema_decay=None, **dotted,
    )  # fmt: skip
    config: TrainConfig = asked[0][0]
    assert (config.data, config.out, config.recipe) == ("my.yaml", str(tmp_path / "run"), "dice_focal")
    assert (config.epochs, config.batch_size, config.image_size, config.precision) == (7, 2, "64x96", "bfloat16")
    assert (config.loss.name, config.loss.smooth, config.model.variant) == ("dice_focal", 0.5, "b1")
    assert config.early_stop_epochs == 5
    assert config.optimizer == OptimizerConfig(lr=1e-3, warmup_ratio=0.1, power=0.9)
    assert asked[0][1] == {"data": None, "loss": None}


def test_a_loss_by_name_by_settings_or_as_an_object(asked: list[Any]) -> None:
    own = torch.nn.CrossEntropyLoss(ignore_index=255)
    for loss in ("dice", {"name": "dice", "smooth": 2.0}, own):
        effiseg.train(data="my.yaml", out="run", loss=loss)
    assert [config.loss.name for config, _ in asked] == ["dice", "dice", "custom"]
    assert asked[1][0].loss.smooth == 2
    assert asked[2][1] == {"data": None, "loss": own}


def test_what_is_given_to_a_comparison_holds_for_every_row(asked: list[Any]) -> None:
    effiseg.ablate(data="my.yaml", out="rows", recipes=["baseline"], seeds=(0, 1), optimizer={"lr": 1e-3}, epochs=3)
    config, shared = asked[0]
    assert (config.recipes, config.seeds, config.epochs) == (["baseline"], [0, 1], 3)
    assert flatten(shared).items() >= {"optimizer.lr": 1e-3, "epochs": 3}.items()


def test_nested_settings_are_the_inverse_of_flat_ones() -> None:
    nested = {"epochs": 3, "optimizer": {"lr": 1e-3, "betas": [0.9, 0.99]}}
    assert nest(flatten(nested)) == nested
    assert nest({"optimizer.lr": 1e-3, "optimizer": {"betas": (0.9, 0.99)}, "epochs": 3}) == nested
    assert nest({"out": Path("a") / "b", "optimizer": OptimizerConfig(lr=2.0)})["optimizer"]["lr"] == 2
    assert nest({"out": Path("a") / "b"}) == {"out": str(Path("a") / "b")}


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: effiseg.train(data="colours/data.yaml", out="new", epoch=3), "did you mean 'epochs'"),
        (lambda: effiseg.train(data="colours/data.yaml", out="new", optimizer={"lrr": 1}), "'optimizer.lr'"),
        (lambda: effiseg.train(data="colours/data.yaml", out="new", epochs="ten"), "epochs"),
        (lambda: effiseg.train(data="colours/data.yaml", out="new", recipe="tahn"), "did you mean 'tanh'"),
        (lambda: effiseg.train(data="colours/data.yaml", out="new", loss=3), "found 3"),
        (lambda: effiseg.train(data="colours/data.yaml", out="new", image_size=(512, 512, 3)), "HEIGHTxWIDTH"),
        (lambda: effiseg.train(out="new"), "data"),
        (lambda: effiseg.train(data="colours/data.yaml", out="runs/students/baseline"), "exists already"),
        (lambda: effiseg.ablate(data="colours/data.yaml", out="new", recipe="kd"), "recipes"),
        (lambda: effiseg.evaluate("runs/students/baseline", "colours/data.yaml", "tset"), "tset"),
        (lambda: effiseg.evaluate("runs/absent", "colours/data.yaml"), "no such folder"),
        (lambda: effiseg.export_model("runs/students/baseline", "model.mlmodel"), ".onnx"),
        (lambda: effiseg.resume("colours"), "not a run folder"),
        (lambda: effiseg.Run("colours"), "not a run folder"),
        (lambda: effiseg.Comparison("colours"), "not a comparison"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_write_nothing(call: Callable[[], Any], found: str) -> None:
    with pytest.raises(effiseg.EffisegError) as caught:
        call()
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("new").exists()


def test_a_run_stands_where_a_path_may_stand(workplace: Path) -> None:
    run = effiseg.Run("runs/students/baseline")
    given = effiseg.evaluate(run, "colours/data.yaml", workers=0, device="cpu")
    network = effiseg.evaluate(run.model(), "colours/data.yaml", workers=0, device="cpu")
    assert given.confusion == network.confusion
    assert run.evaluation is not None
    assert given.confusion == run.evaluation.confusion
    assert given.miou == run.miou
    assert f"{run.miou:.2f} %" in repr(run)
    assert [row["epoch"] for row in run.metrics] == list(range(1, 13))


def test_a_run_without_results(tmp_path: Path) -> None:
    shutil.copytree("runs/students/baseline", tmp_path / "cut")
    (tmp_path / "cut" / "results.json").unlink()
    run = effiseg.Run(tmp_path / "cut")
    assert not run.finished
    assert "unfinished" in repr(run)
    with pytest.raises(effiseg.RunError, match="not finished"):
        print(run.miou)
    finished = run.resume()
    assert finished.miou == effiseg.Run("runs/students/baseline").miou


def test_a_thread_can_train(tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done: list[effiseg.Run] = []
    threading.excepthook, before = lambda failure: done.clear(), threading.excepthook
    thread = threading.Thread(
        target=lambda: done.append(effiseg.train(data="colours/data.yaml", out=tmp_path / "run", **SMALL))
    )
    thread.start()
    thread.join()
    threading.excepthook = before
    assert done[0].finished
    assert done[0].report is not None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.heavy
def test_a_loss_of_ones_own_from_start_to_resume(tmp_path: Path) -> None:
    loss = torch.nn.CrossEntropyLoss(ignore_index=255)
    run = effiseg.train(data="colours/data.yaml", out=tmp_path / "run", loss=loss, **SMALL)
    assert run.config.loss.name == "custom"
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(effiseg.UsageError, match=r"effiseg\.resume"):
        run.resume()
    assert effiseg.resume(run, loss=loss).finished


def test_a_run_is_used_by_its_methods(workplace: Path) -> None:
    run = effiseg.Run("runs/students/baseline")
    found = run.evaluate("colours/data.yaml", "test", workers=0, device="cpu")
    assert found.class_iou == effiseg.evaluate(run, "colours/data.yaml", "test", workers=0, device="cpu").class_iou
    for number in ("", "-2"):
        report = run.predict("colours/images/val", device="cpu", save=["labels"])
        assert report.folder == Path(f"runs/predict{number}")
        assert len(list((report.folder / "labels").glob("*.png"))) == report.images == 3
    with pytest.raises(effiseg.UsageError, match=r"^Run\.evaluate: unknown key 'proto"):
        run.evaluate("colours/data.yaml", protokol="full")  # type: ignore[call-arg]


def test_notebooks_show_small_tables(workplace: Path) -> None:
    run = effiseg.Run("runs/students/baseline")
    assert run.evaluation is not None
    for shown in (run, run.evaluation):
        html = shown._repr_html_()
        assert html.count("<tr>") == 1 + 3 + 1
        assert len(html) < 2000
        assert len(repr(shown)) < 300


def test_errors_of_functions_speak_of_arguments() -> None:
    with pytest.raises(effiseg.UsageError, match=r"^data is missing: give a data set's YAML file, or .* data_root$"):
        effiseg.train()
    assert in_python("`effiseg train --resume runs/b0` or --out") == "`effiseg.resume('runs/b0')` or out"
    assert in_python("`effiseg export RUN --out x`: --half-precision") == "`effiseg export RUN --out x`: half-precision"


def test_data_and_out_may_stand_without_their_names(workplace: Path) -> None:
    run = effiseg.train("colours/data.yaml", "runs/positional", **SMALL)
    assert run.path == Path("runs/positional")
