"""The starter in the package can be made again: its first steps are repeated here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.config.model import Variant
from effiseg.config.parsing import make_settings
from effiseg.config.training import TrainConfig
from effiseg.environment import describe_environment
from effiseg.models.starters import starter_provenance
from effiseg.training.trainer import train


@pytest.mark.parametrize("size", ["n", "b0"])
def test_the_first_steps_are_those_written_down(script: Any, size: Variant) -> None:
    """Bit for bit where torch and processor are the stated ones and one thread adds; nearly elsewhere."""
    told = starter_provenance(size)
    config = make_settings(TrainConfig, ("provenance", {**told["settings"], "workers": 0}))
    torch.set_num_threads(1)
    found = script.first_losses(config, len(told["first_losses"]))
    here = describe_environment()
    if {"torch": here["packages"]["torch"], "cpu": here["cpu"]} == told["measured_on"]:
        assert found == told["first_losses"]
    assert found == pytest.approx(told["first_losses"], rel=0.02)


def test_a_starter_is_made_of_a_run(script: Any, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.yaml"
    drawn.write_text("drawn: {pictures: shapes, size: 32x64, val: 2}\n")
    small = {"data": str(drawn), "image_size": "32x64", "batch_size": 4, "images_per_epoch": 16, "epochs": 1}
    layers = [("recipe", {"recipe": "pretrain", **small}), ("own", {"out": str(tmp_path / "run"), "workers": 0})]
    config = make_settings(TrainConfig, *layers, ("init", {"init": "scratch", "device": "cpu", "validate_every": 0}))
    run = train(config)
    script.main([str(run.path), "--commit", "abc", "--out", str(tmp_path / "starters")])
    assert (tmp_path / "starters" / "b0.safetensors").is_file()
    told = script.read_json(tmp_path / "starters" / "b0.json")
    assert (told["commit"], told["pictures_seen"], told["variant"]) == ("abc", 16, "b0")
    assert len(told["first_losses"]) == 3
    assert told["command"].startswith("effiseg pretrain --out RUN --data ")
    with pytest.raises(SystemExit, match="not a finished run"):
        script.main([str(tmp_path), "--commit", "abc"])
