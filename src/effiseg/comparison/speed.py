"""The FPS of the comparison's table: every architecture in its deploy form, in turns."""

from __future__ import annotations

import statistics

import torch

from effiseg.benchmark.contender import Contender
from effiseg.benchmark.latency import Schedule, measure
from effiseg.models.pretrained import from_pretrained
from effiseg.results import AblationResult
from effiseg.run_folder import is_exported


def add_latency(result: AblationResult, folders: dict[str, str], size: tuple[int, int], device: str) -> None:
    """Fill in latency_ms, its spread, and fps: fused, eager PyTorch, float32, logits out, batch 1.

    Each distinct architecture is timed once; rows that share one share its figure. A teacher that is an exported file
    is another engine's and not timed.

    Args:
        result: its rows are changed.
        folders: row name → model folder.
        size: (height, width) of the input.
        device: cpu or cuda.
    """
    kinds: dict[str, str] = {}
    contenders: dict[str, Contender] = {}
    threads = torch.get_num_threads()
    for row in result.rows:
        if is_exported(folders[row.name]):
            continue
        model = from_pretrained(folders[row.name])
        kind = f"{model.variant} {model.patch_norm} {model.block_norm}"
        kinds[row.name] = kind
        if kind not in contenders:
            source = folders[row.name]
            contenders[kind] = Contender(model=kind, source=source, image_size=size, threads=threads, device=device)
    measured = dict(zip(contenders, measure(list(contenders.values()), Schedule()), strict=True))
    for row in result.rows:
        if row.name not in kinds:
            continue
        timed = measured[kinds[row.name]]
        row.latency_ms, row.fps = timed.latency_ms, timed.fps
        quarters = statistics.quantiles(timed.samples_ms, n=4) if len(timed.samples_ms) > 1 else [0.0, 0.0, 0.0]
        row.latency_spread_ms = quarters[2] - quarters[0]
