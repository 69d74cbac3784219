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
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effiseg.allocator import keep_freed_memory
from effiseg.environment import describe_environment
from effiseg.files import write_json
from effiseg.models.mix_transformer import ENCODER_SIZES
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import DECODER_WIDTHS, SegFormer

CLASSES = 19
IGNORE = 255
DEFAULT_JSON = Path(__file__).parent / "results" / "model.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print one line per measurement, write the JSON file."""
    options = parse(arguments)
    allocator = keep_freed_memory() if options.allocator == "tuned" else "default"
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
    parser.add_argument("--variant", choices=list(ENCODER_SIZES), default="b0")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's choice")
    parser.add_argument("--warmup", type=int, default=3, help="untimed rounds before each measurement")
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds of each measurement")
    parser.add_argument("--allocator", choices=("tuned", "default"), default="tuned")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two rounds: only shows that it runs")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON)
    return parser.parse_args(arguments)


def same_models(variant: str, device: torch.device) -> tuple[SegFormer, Any]:
    """effiseg's model and transformers', with equal randomized weights and no source of randomness left."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    size = ENCODER_SIZES[variant]  # type: ignore[index]
    config = SegformerConfig(
        depths=list(size.depths),
        hidden_sizes=list(size.embed_dims),
        decoder_hidden_size=DECODER_WIDTHS[variant],  # type: ignore[index]
        id2label={index: f"LABEL_{index}" for index in range(CLASSES)},
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
    )
    theirs: Any = SegformerForSemanticSegmentation(config)
    randomize(theirs)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    return ours.to(device), theirs.to(device)


def randomize(model: nn.Module) -> None:
    """Parameters and statistics away from their start, at scales that keep the activations in range."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.normal_(parameter, std=0.2)
            elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                nn.init.uniform_(parameter, 0.5, 1.5)
            else:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


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
    for mine, other in zip(losses["effiseg"], losses["transformers"], strict=True):
        assert abs(mine - other) <= 1e-3 * other, f"losses differ: {mine} and {other}"
    first = abs(losses["effiseg"][0] / losses["transformers"][0] - 1)
    assert first <= (1e-5 if device.type == "cpu" else 1e-2), f"the first losses differ by {first}"
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


def alternate(
    functions: dict[str, Callable[[], Tensor]], counts: tuple[int, int], device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Call the functions in turn, in changing order.

    Returns:
        Milliseconds of the timed calls by name; the results of all calls, if scalar, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    scalars: dict[str, list[float]] = {name: [] for name in functions}
    warmup, repeats = counts
    for turn in range(warmup + repeats):
        names = list(functions) if turn % 2 else list(functions)[::-1]
        for name in names:
            synchronize(device)
            start = time.perf_counter()
            value = functions[name]()
            synchronize(device)
            elapsed = 1000 * (time.perf_counter() - start)
            if value.ndim == 0:
                scalars[name].append(value.item())
            if turn >= warmup:
                times[name].append(elapsed)
    return times, scalars


def summary(times: dict[str, list[float]], size: tuple[int, int], batch: int) -> dict[str, Any]:
    """Medians, their quotient, and every sample."""
    ours, theirs = median(times["effiseg"]), median(times["transformers"])
    return {
        "image_size": list(size),
        "batch": batch,
        "effiseg_ms": ours,
        "transformers_ms": theirs,
        "speedup": theirs / ours,
        "samples_ms": times,
    }


def device_of(model: nn.Module) -> torch.device:
    """Where the model lies."""
    return next(model.parameters()).device


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
