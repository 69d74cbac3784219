"""Runs that minimize a loss of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from effiseg.config.loss import LossConfig
from effiseg.config.training import TrainConfig
from effiseg.errors import Interrupted, UsageError
from effiseg.losses import cross_entropy_loss, focal_loss
from effiseg.models.pretrained import from_pretrained
from effiseg.training import run_keeper
from effiseg.training.checkpointing import read_tensors
from effiseg.training.run_checks import check_can_be_sent
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
CUSTOM = LossConfig(name="custom")


class WeighedLoss(nn.Module):
    """Cross-entropy times a number that is trained with the network."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = nn.functional.cross_entropy(logits, target, ignore_index=255)
        return loss * self.scale


def test_our_own_loss_given_as_a_function_trains_the_same_weights(small_config: Config) -> None:
    named = train(small_config("named", epochs=1))
    given = train(small_config("given", epochs=1, loss=CUSTOM), loss=cross_entropy_loss)
    expected, found = (from_pretrained(str(run.model)).state_dict() for run in (named, given))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert "name: custom" in given.config.read_text()


@pytest.mark.heavy
def test_a_loss_with_parameters_trains_them_and_goes_on(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(small_config("whole", loss=CUSTOM), loss=WeighedLoss())
    original = run_keeper.RunKeeper.finish_epoch

    def cut(keeper: Any, *arguments: Any) -> None:
        original(keeper, *arguments)
        keeper.watch.received = 15

    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "finish_epoch", cut)
        with pytest.raises(Interrupted):
            train(small_config("cut", loss=CUSTOM), loss=WeighedLoss())
    for given in (None, nn.CrossEntropyLoss()):
        with pytest.raises(UsageError) as caught:
            resume(small_config("cut").out, loss=given)
        assert "\n" not in str(caught.value)
    assert "effiseg.resume" in refusal(partial(resume, small_config("cut").out))
    resumed = resume(small_config("cut").out, loss=WeighedLoss())
    expected, found = (read_tensors(run.last_checkpoint)["task"] for run in (whole, resumed))
    assert found["custom_loss.scale"] != 2
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        call()
    return str(caught.value)


def test_what_does_not_fit_is_refused_before_anything_is_written(small_config: Config, tmp_path: Path) -> None:
    assert "effiseg.train" in refusal(lambda: train(small_config("run", loss=CUSTOM)))
    assert "cross_entropy" in refusal(lambda: train(small_config("run"), loss=focal_loss))
    assert "255" in refusal(lambda: train(small_config("run", loss=CUSTOM), loss=nn.CrossEntropyLoss()))
    several = small_config("run", loss=CUSTOM, devices=2)
    assert "processes" in refusal(lambda: train(several, loss=lambda logits, target: logits.mean()))
    assert not (tmp_path / "run").exists()


def test_several_processes_need_a_script(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", "In [1]", raising=False)
    assert "notebook" in refusal(lambda: train(small_config("run", devices=2)))


def test_what_can_be_sent() -> None:
    check_can_be_sent("loss", WeighedLoss(), "processes", "devices=1")
    with pytest.raises(UsageError, match="devices=1"):
        check_can_be_sent("loss", lambda: None, "processes", "devices=1")
