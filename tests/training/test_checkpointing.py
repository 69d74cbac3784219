"""Checkpoints come back as they were written, are replaced whole or not at all, and never execute anything."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.errors import ResourceError, RunError
from effiseg.training import checkpointing
from effiseg.training.checkpointing import (
    TrainingState,
    load_checkpoint,
    read_tensors,
    restore,
    save_checkpoint,
    write_tensors,
)

STATE = TrainingState(
    step=7,
    epoch_sums={"loss": 1.0 / 3},
    history=[{"epoch": 1, "loss": 0.1 + 0.2, "val_miou": None}],
    best_miou=12.5,
    best_epoch=1,
    validation_pending=True,
    train_seconds=3.25,
    samples="abc",
)


class Malicious:
    """Unpickled with trust, it would make the folder `target`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(3, 4), "n": torch.tensor(5), "half": torch.randn(2).bfloat16()}
    optimizer = {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    save_checkpoint(tmp_path / "last.ckpt", weights, optimizer, {"scale": 1024.0}, STATE)
    back, back_optimizer, scaler, state = load_checkpoint(tmp_path / "last.ckpt")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in weights.items())
    assert back_optimizer == optimizer
    assert scaler == {"scale": 1024.0}
    assert state == STATE


@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_malicious_pickle_is_refused_and_not_executed(writer: Any, tmp_path: Path) -> None:
    target, path = tmp_path / "executed", tmp_path / "last.ckpt"
    writer({"format": 1, "task": Malicious(target)}, path)
    with pytest.raises(RunError) as caught:
        read_tensors(path)
    assert not target.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    pickle.loads(pickle.dumps(Malicious(target)))  # the attack works where it is let in
    assert target.exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "folder", "list"])
def test_a_damaged_file_is_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"a": torch.ones(1000)}, {}, {}, STATE)
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "text":
            path.write_text("not a checkpoint\n")
        case "folder":
            path.mkdir()
        case "list":
            torch.save([1, 2], path)
    with pytest.raises(RunError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        {"format": 2},
        {"format": 1, "task": {}},
        {"format": 1, "task": {}, "optimizer": {}, "scaler": {}, "state": {"steps": 1}},
        {"format": 1, "task": {}, "optimizer": {}, "scaler": {}, "state": None},
    ],
)
def test_a_foreign_checkpoint_is_one_line(content: dict[str, Any], tmp_path: Path) -> None:
    write_tensors(tmp_path / "last.ckpt", content)
    with pytest.raises(RunError, match=r"last\.ckpt"):
        load_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1), ("step", 10**30), ("step", 1.5), ("epoch_sums", {"loss": float("inf")}), ("best_miou", 101.0),
        ("best_epoch", 0), ("train_seconds", -1.0), ("train_seconds", float("nan")), ("history", [{"epoch": "x"}]),
    ],
)  # fmt: skip
def test_a_state_that_no_run_comes_to_is_one_line(name: str, value: Any, tmp_path: Path) -> None:
    state = {**asdict(STATE), name: value}
    write_tensors(tmp_path / "c", {"format": 1, "task": {}, "optimizer": {}, "scaler": {}, "state": state})
    with pytest.raises(RunError, match=rf"/c: {name}") as caught:
        load_checkpoint(tmp_path / "c")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "value"), [("task", None), ("task", {"a": 5}), ("optimizer", []), ("scaler", 7), ("scaler", None)]
)
def test_a_part_of_another_kind_is_one_line(part: str, value: Any, tmp_path: Path) -> None:
    content = {"format": 1, "task": {}, "optimizer": {}, "scaler": {}, "state": asdict(STATE)}
    write_tensors(tmp_path / "c", {**content, part: value})
    with pytest.raises(RunError, match=rf"/c: {part} must"):
        load_checkpoint(tmp_path / "c")


def test_a_score_that_is_no_number_is_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", {}, {}, {}, replace(STATE, best_miou=float("nan")))
    assert load_checkpoint(tmp_path / "c")[3].best_miou is None


def test_an_optimizer_goes_on_only_from_its_own_state(tmp_path: Path) -> None:
    parameters = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    sum(parameter.square().sum() for parameter in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()
    state = optimizer.state_dict()
    restore(torch.optim.AdamW(parameters, lr=0.2), state, scaler_is_not_asked, {}, tmp_path)
    first, group = state["state"][0], state["param_groups"][0]
    odd: list[dict[str, Any]] = [
        {},
        {"state": 5, "param_groups": [group]},
        {**state, "param_groups": []},
        {**state, "param_groups": [{}]},
        {**state, "param_groups": [{**group, "lr": "much"}]},
        {**state, "param_groups": [{**group, "betas": (0.9,)}]},
        {**state, "param_groups": [{**group, "eps": float("nan")}]},
        {**state, "param_groups": [{**group, "params": [0]}]},
        {**state, "state": {0: {**first, "exp_avg": torch.ones(7)}}},
        {**state, "state": {0: {**first, "exp_avg": "text"}}},
        {**state, "state": {9: first}},
    ]
    for other in odd:
        with pytest.raises(RunError, match="the optimizer's state is not of this run") as caught:
            restore(torch.optim.AdamW(parameters, lr=0.2), other, scaler_is_not_asked, {}, tmp_path)
        assert "\n" not in str(caught.value)


def scaler_is_not_asked(state: dict[str, Any]) -> None:
    raise AssertionError(state)


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    write_tensors(path, {"a": torch.ones(2)})

    def full_disk(content: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(checkpointing.torch, "save", full_disk)
    with pytest.raises(ResourceError, match=r"last\.ckpt: cannot be written \(no space left\)"):
        write_tensors(path, {"a": torch.zeros(2)})
    assert torch.equal(read_tensors(path)["a"], torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    write_tensors(path, {"a": torch.ones(2)})
    child = os.fork()
    if child == 0:  # dies in the middle of the file, without any clean-up
        monkeypatch.setattr(checkpointing.torch, "save", lambda _, target: (target.write_bytes(b"half"), os._exit(9)))
        try:
            write_tensors(path, {"a": torch.zeros(2)})
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert torch.equal(read_tensors(path)["a"], torch.ones(2))
    write_tensors(path, {"a": torch.zeros(2)})
    assert torch.equal(read_tensors(path)["a"], torch.zeros(2))
