"""The starting weights in the package: where they come from, what they hold, and how a size gets them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from effiseg.config.model import Variant
from effiseg.errors import ModelError
from effiseg.models import starters
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import Shape
from effiseg.models.starters import (
    largest_with_starter,
    read_starter,
    starter_folder,
    starter_provenance,
    starter_source,
    write_starter,
)
from effiseg.models.weight_files import weights_digest

OWN: tuple[Variant, ...] = ("n", "b0")
"""Sizes with a file of their own."""


@pytest.mark.parametrize("size", OWN)
def test_a_file_is_small_and_has_no_classifier(size: Variant) -> None:
    assert (starter_folder() / f"{size}.safetensors").stat().st_size < 8_000_000
    found = read_starter(size)
    expected = SegFormer(size, 3).state_dict()
    missing = {name for name in set(expected) - set(found.weights) if not name.endswith(".num_batches_tracked")}
    assert missing == {"decode_head.classifier.weight", "decode_head.classifier.bias"}
    assert all(found.weights[name].shape == expected[name].shape for name in found.weights)
    assert all(tensor.dtype == torch.float32 for tensor in found.weights.values())
    assert (found.names, found.num_classes) == (None, None)


@pytest.mark.parametrize("size", OWN)
def test_its_provenance_says_where_it_comes_from(size: Variant) -> None:
    told = starter_provenance(size)
    assert told["digest"] == read_starter(size).digest
    assert told["licence"] == "Apache-2.0"
    assert told["pictures_seen"] >= 30_000
    assert {"command", "commit", "seed", "torch", "cpu", "statement", "first_losses"} <= set(told)
    assert "no photograph" in told["statement"]


def test_counts_of_batch_norms_stay_out(tmp_path: Path) -> None:
    shape = Shape((16, 24, 32, 48), (1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), stages=("conv",) * 4)
    model = SegFormer(shape, 3)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(100_000)  # more than float16 holds
    save_pretrained(model, tmp_path / "model")
    names = load_file(write_starter(tmp_path / "model", tmp_path, {}))
    assert not any(name.endswith("num_batches_tracked") for name in names)
    assert "encoder.stages.0.blocks.0.dwconv_norm.running_var" in names


def test_b1_is_widened_from_b0_and_no_larger_one_is() -> None:
    found = read_starter("b1")
    expected = SegFormer("b1", 3).state_dict()
    assert all(found.weights[name].shape == expected[name].shape for name in found.weights)
    assert starter_source("b1") in ("b0", "b1")
    assert largest_with_starter() == "b1"
    with pytest.raises(ModelError, match=r"for n, b0, b1; found model\.variant b2"):
        read_starter("b2")


def test_a_starter_keeps_the_network_but_its_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 4)
    save_pretrained(model, tmp_path / "model")
    write_starter(tmp_path / "model", tmp_path / "starters", {"licence": "none"})
    monkeypatch.setattr(starters, "starter_folder", lambda: tmp_path / "starters")
    found = read_starter("b0").weights
    assert len(weights_digest(found)) == 32
    for name, tensor in model.state_dict().items():
        if name in found:
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-6)


def test_other_norms_make_no_starter(tmp_path: Path) -> None:
    save_pretrained(SegFormer("b0", 4, "dyt", "dyl"), tmp_path / "model")
    with pytest.raises(ModelError, match="LayerNorms"):
        write_starter(tmp_path / "model", tmp_path, {})
