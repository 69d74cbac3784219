"""Signals: noted while patient, an `Interrupted` otherwise, and never a lost evaluation."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from effiseg.config.training import TrainConfig
from effiseg.errors import Interrupted
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper, run_setup, trainer
from effiseg.training.checkpointing import TrainingState, load_checkpoint
from effiseg.training.interruption import SignalWatch
from effiseg.training.run_keeper import RunKeeper
from effiseg.training.step_timing import TIME_COLUMNS
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def exit_code_of(child: Callable[[], None]) -> int:
    """How a forked process that runs `child` ends; 0 if it comes back."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@BOTH
def test_an_impatient_watch_turns_a_signal_into_interrupted(number: int, code: int) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="go on with this") as caught, SignalWatch("go on with this"):
        send(number)
    assert caught.value.exit_code == code
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_interrupt_that_no_signal_caused_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), SignalWatch():
        raise KeyboardInterrupt


@BOTH
def test_a_patient_watch_notes_the_first_signal(number: int, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    del code
    with SignalWatch() as watch:
        watch.patient = True
        assert watch.received is None
        send(number)
        assert watch.received == number
        send(signal.SIGTERM)
        assert watch.received == number
    assert capfd.readouterr().err.count("stopping after this step") == 1


@BOTH
def test_a_second_sigint_ends_the_process_at_once(number: int, code: int) -> None:
    del code

    def child() -> None:
        with SignalWatch() as watch:
            watch.patient = True
            send(number)
            send(signal.SIGINT)
            os._exit(7)

    assert exit_code_of(child) == 130


def test_a_second_sigint_in_a_notebook_leaves_the_kernel_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", "In [1]: ", raising=False)
    with SignalWatch("go on") as watch:
        watch.patient = True
        send(signal.SIGINT)
        with pytest.raises(Interrupted, match="go on"):
            send(signal.SIGINT)
    assert watch.received == signal.SIGINT


def test_a_spawned_process_notes_every_signal_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with SignalWatch(spawned=True) as watch:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert watch.received == signal.SIGINT
    assert capfd.readouterr().err == ""


def test_a_forked_worker_ignores_sigint_and_dies_of_sigterm() -> None:
    with SignalWatch():

        def worker() -> None:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            os._exit(7)

        assert exit_code_of(worker) == 143


def test_the_watch_takes_signals_back_from_a_library() -> None:
    with SignalWatch() as watch:
        watch.patient = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        watch.listen()
        send(signal.SIGTERM)
        assert watch.received == signal.SIGTERM


def state_of(run: RunFolder) -> TrainingState:
    return load_checkpoint(run.last_checkpoint)[3]


def without_times(state: TrainingState) -> dict[str, Any]:
    values = asdict(state) | {"train_seconds": 0}
    for row in values["history"]:
        row |= dict.fromkeys(TIME_COLUMNS, 0)
    return values


def interrupt_in(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, number: int = signal.SIGTERM
) -> None:
    """Let this process receive a signal at the beginning of the call-th call of `owner.name`."""
    original, calls = getattr(owner, name), 0

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            send(number)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.fixture(scope="module")
def whole(config_for: Config, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(config_for(tmp_path_factory.mktemp("whole") / "run", ema_decay=0.5))


@pytest.mark.parametrize(("evaluation", "step"), [(1, 3), (2, 6)])
def test_a_cut_evaluation_is_made_up_for(
    evaluation: int, step: int, whole: RunFolder, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in(patch, run_keeper, "evaluate", evaluation)
        with pytest.raises(Interrupted, match=f"stopped at step {step} of 6; go on with") as caught:
            train(small_config("cut", ema_decay=0.5))
    assert caught.value.exit_code == 143
    run = RunFolder(small_config("cut").out)
    assert state_of(run).validation_pending
    assert not run.results.exists()
    with monkeypatch.context() as patch:  # and cut again
        interrupt_in(patch, run_keeper, "evaluate", 1)
        with pytest.raises(Interrupted, match=f"stopped at step {step} of 6"):
            resume(run.path)
    assert (state_of(run).step, state_of(run).validation_pending) == (step, True)
    resume(run.path)
    assert without_times(state_of(run)) == without_times(state_of(whole))
    assert state_of(run).history[-1]["val_miou"] is not None
    assert (run.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("hook", ["__init__", "on_fit_start", "on_train_start"])
@BOTH
def test_a_signal_while_training_is_set_up_stops_before_a_step(
    number: int, code: int, hook: str, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_in(monkeypatch, RunKeeper, hook, 1, number)
    with pytest.raises(Interrupted, match="--resume") as caught:
        train(small_config("run"))
    assert caught.value.exit_code == code
    run = RunFolder(small_config("run").out)
    assert run.is_run
    assert not run.last_checkpoint.exists()
    assert not run.results.exists()


def test_a_signal_before_the_run_folder_is_made_leaves_none(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_in(monkeypatch, run_setup, "class_statistics", 1)
    with pytest.raises(Interrupted, match="nothing was written"):
        train(small_config("run"))
    assert not RunFolder(small_config("run").out).path.exists()


@pytest.mark.heavy
def test_a_signal_in_the_last_step_or_afterwards_leaves_a_run_to_finish(
    whole: RunFolder, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in(patch, RunKeeper, "epoch_row", 2)
        with pytest.raises(Interrupted, match="step 6 of 6"):
            train(small_config("cut", ema_decay=0.5))
    run = RunFolder(small_config("cut").out)
    with monkeypatch.context() as patch:
        interrupt_in(patch, trainer, "save_pretrained", 1, signal.SIGINT)
        with pytest.raises(Interrupted, match="stopped by SIGINT; go on with"):
            resume(run.path)
    assert not run.results.exists()
    resume(run.path)
    assert without_times(state_of(run)) == without_times(state_of(whole))
    assert run.results.is_file()
