"""effiseg's SegFormer beside transformers' in one process, with the same weights: forward and training step.

    python benchmarks/model.py                     # writes benchmarks/results/model.json
    python benchmarks/model.py --allocator default --json out.json
    python benchmarks/model.py --quick --json out.json   # tiny sizes: only shows that it runs

Both models take turns on the same input, after a warm-up, so that whatever else the machine does hits both.
Before anything is timed their logits, and in every timed training step their losses, are asserted equal.
The training step runs without dropout and stochastic depth: their random numbers would set the losses apart.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import (
    CLASSES,
    IGNORE,
    TRANSFORMERS_VARIANTS,
    alternate,
    assert_equal_losses,
    device_of,
    same_models,
    summary,
    use_allocator,
)
from torch import Tensor, nn

from effiseg.environment import describe_environment
from effiseg.files import write_json
from effiseg.models.segformer import SegFormer

DEFAULT_JSON = Path(__file__).parent / "results" / "model.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print one line per measurement, write the JSON file."""
    options = parse(arguments)
    allocator = use_allocator(options.allocator)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.manual_seed(0)
    ours, theirs = same_models(options.variant, device)
    forward_size, step_size, step_batch = ((64, 96), (64, 64), 2) if options.quick else ((512, 1024), (256, 512), 4)
    counts = (1, 2) if options.quick else (options.warmup, options.repeats)
    result = {
        "benchmark": "model",
        "command": shlex.join(["python", "benchmarks/model.py", *(arguments or sys.argv[1:])]),
        "quick": options.quick,
        "variant": options.variant,
        "device": str(device),
        "allocator": allocator,
        "allocator_note": "tuned: glibc keeps freed memory (effiseg.allocator), for both models alike",
        "transformers": metadata.version("transformers"),
        "transformers_attention": theirs.config._attn_implementation,
        "environment": describe_environment(),
        "forward": measure_forward(ours, theirs, forward_size, counts),
        "training_step": measure_training_step(ours, theirs, step_size, step_batch, counts),
    }
    write_json(options.json, result)
    for name in ("forward", "training_step"):
        part: Any = result[name]
        print(
            f"{name} {part['image_size'][0]}x{part['image_size'][1]} batch {part['batch']}: "
            f"effiseg {part['effiseg_ms']:.1f} ms, transformers {part['transformers_ms']:.1f} ms, "
            f"{part['speedup']:.2f}x"
        )
    print(f"written to {options.json}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", choices=TRANSFORMERS_VARIANTS, default="b0")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's choice")
    parser.add_argument("--warmup", type=int, default=3, help="untimed rounds before each measurement")
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds of each measurement")
    parser.add_argument("--allocator", choices=("tuned", "default"), default="tuned")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two rounds: only shows that it runs")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    return parser.parse_args(arguments)


def measure_forward(ours: SegFormer, theirs: Any, size: tuple[int, int], counts: tuple[int, int]) -> dict[str, Any]:
    """One image in evaluation mode."""
    images = torch.randn(1, 3, *size, device=device_of(ours))
    ours.eval()
    theirs.eval()
    with torch.inference_mode():
        found, expected = ours(images), theirs(images).logits
        error = ((found - expected).abs().max() / (expected.max() - expected.min())).item()
        # On a GPU convolutions may run in TF32, which is as wrong in both.
        assert error <= (1e-5 if images.device.type == "cpu" else 1e-2), f"logits differ by {error} of their range"
        times = alternate(
            {"effiseg": lambda: ours(images), "transformers": lambda: theirs(images).logits},
            counts,
            images.device,
        )[0]
    return summary(times, size, 1) | {"relative_error_of_logits": error}


def measure_training_step(
    ours: SegFormer, theirs: Any, size: tuple[int, int], batch: int, counts: tuple[int, int]
) -> dict[str, Any]:
    """Forward, cross-entropy at full size, backward and AdamW."""
    device = device_of(ours)
    images = torch.randn(batch, 3, *size, device=device)
    target = torch.randint(0, CLASSES, (batch, *size), device=device)
    target[:, : size[0] // 8] = IGNORE
    ours.train()
    theirs.train()
    times, losses = alternate(
        {
            "effiseg": training_step(ours, lambda: ours(images), target),
            "transformers": training_step(theirs, lambda: theirs(images).logits, target),
        },
        counts,
        device,
    )
    assert_equal_losses(losses["effiseg"], losses["transformers"], device)
    return summary(times, size, batch) | {"losses": losses}


def training_step(model: nn.Module, logits_of: Callable[[], Tensor], target: Tensor) -> Callable[[], Tensor]:
    """A closure that takes one step and returns its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-5)

    def step() -> Tensor:
        optimizer.zero_grad()
        logits = F.interpolate(logits_of(), size=target.shape[-2:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, target, ignore_index=IGNORE)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    main()
