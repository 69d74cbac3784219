"""Work and size against the measured table, and against torch's counter on transformers' model."""

from __future__ import annotations

import pytest
import torch

from effiseg.benchmark.complexity import complexity, count_macs
from effiseg.config.model import Variant
from effiseg.models.shape import SHAPES

SIZE = (512, 1024)


@pytest.mark.parametrize(
    ("variant", "stages", "attention", "head"),
    [
        ("b0", [0.970, 0.935, 1.418, 1.003], [2.147, 1.074, 0.671, 0.268], [0.520, 8.590, 0.159]),
        ("b2", [4.977, 6.728, 15.37, 5.62], [6.442, 4.295, 4.03, 0.81], [3.12, 77.31, 0.48]),
    ],
)
def test_measured_parts(variant: Variant, stages: list[float], attention: list[float], head: list[float]) -> None:
    macs = count_macs(variant, 19, SIZE)
    assert [part / 1e9 for part in macs.stages] == pytest.approx(stages, abs=6e-3)
    assert [part / 1e9 for part in macs.attention] == pytest.approx(attention, abs=6e-3)
    assert [part / 1e9 for part in (macs.linear_c, macs.fuse, macs.classifier)] == pytest.approx(head, abs=6e-3)


@pytest.mark.parametrize(
    ("variant", "params", "counted", "attention", "head"),
    [("b0", 3.719, 13.60, 4.16, 0.68), ("b2", 27.36, 113.6, 15.57, 3.6)],
)
def test_measured_totals(variant: Variant, params: float, counted: float, attention: float, head: float) -> None:
    row = complexity(variant, 19, SIZE)
    assert row.gmacs == pytest.approx(counted, rel=1e-3)
    assert row.gmacs_attention == pytest.approx(attention, rel=1e-3)
    stages = sum(count_macs(variant, 19, SIZE).stages) / 1e9
    assert row.gmacs_composed - stages == pytest.approx(head, abs=6e-3)
    # The table's parameters are those of 20 outputs, the paper's.
    assert complexity(variant, 20, SIZE).params / 1e6 == pytest.approx(params, abs=5e-3)


def test_norms_change_the_parameters_only() -> None:
    plain, scaled = complexity("b0", 19, SIZE), complexity("b0", 19, SIZE, "dyt", "dyl")
    assert scaled.gmacs == plain.gmacs
    # A DyT has one α more than a LayerNorm, a DyL one for each channel.
    dims, depths = SHAPES["b0"].embed_dims, SHAPES["b0"].depths
    reduced = (1, 1, 1, 0)
    alphas = sum(c * (d * (2 + r) + 1) for c, d, r in zip(dims, depths, reduced, strict=True))
    assert scaled.params - plain.params == 4 + alphas


@pytest.mark.parametrize(
    ("variant", "size"), [("b0", (64, 96)), ("b0", (227, 320)), ("b1", (33, 47)), ("b2", (64, 64))]
)
def test_torch_counts_the_same_on_transformers_model(variant: Variant, size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers' model is the oracle of the count")
    from torch.utils.flop_counter import FlopCounterMode

    shape = SHAPES[variant]
    config = transformers.SegformerConfig(
        hidden_sizes=list(shape.embed_dims), depths=list(shape.depths), num_labels=19,
        decoder_hidden_size=shape.decoder_width,
    )  # fmt: skip
    config._attn_implementation = "eager"  # two products that the counter sees
    with torch.device("meta"):
        model = transformers.SegformerForSemanticSegmentation(config).eval()
        image = torch.zeros(1, 3, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    macs = count_macs(variant, 19, size)
    assert counter.get_total_flops() == 2 * (macs.counted + macs.attention_total)
