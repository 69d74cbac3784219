"""When memory runs out: which batch size fits, and how to go on."""

from __future__ import annotations

import gc
import re
from contextlib import nullcontext

import torch

from effiseg.config.training import TrainConfig, unlabeled_count
from effiseg.data.loader_faults import is_loaders, loader_advice
from effiseg.data.unlabeled import UnlabeledImages
from effiseg.errors import ResourceError
from effiseg.run_folder import RunFolder
from effiseg.training.segmentation_task import SegmentationTask

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_NO_MEMORY = re.compile(
    r"out of memory|(can't|Cannot) allocate memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED|\bMemoryError\b|bad_alloc"
    r"|could not create a primitive$"  # what oneDNN says of it on the CPU
)


def is_shortage(text: str) -> bool:
    """Whether an error's "type: message" says that memory ran out, here or in a loader worker."""
    return is_loaders(text) or _NO_MEMORY.search(text) is not None


def shortage_error(
    text: str, config: TrainConfig, run: RunFolder, doing: str, go_on: str, fitting: int | None = None
) -> ResourceError:
    """The error for it: one line with the batch size that fits and how to go on.

    Args:
        text: "type: message" of an error for which `is_shortage` holds.
        config: the run's settings.
        run: the run; its checkpoints stay as they are.
        doing: what was done when memory ran out.
        go_on: how to resume.
        fitting: images a pass that were seen to fit; None if that is not known.
    """
    if is_loaders(text) or "in DataLoader worker process" in text:
        return ResourceError(f"{run.path}: {loader_advice(text, config.workers)}; {go_on}")
    images, smaller = config.batch_size_per_pass, smaller_passes(config)
    need_less = [
        *(["--precision bfloat16"] if config.precision == "float32" else []),
        "a smaller --image_size",
        "a smaller --model.variant",
    ]
    found = f"{run.path}: out of memory {doing} with {images} image{'s'[: images > 1]} of {config.image_size} a pass"
    if not smaller:
        return ResourceError(f"{found}; start anew with {' or '.join(need_less)}")
    fits = f"{fitting} fit" if fitting else "half as many may fit"
    fitting = fitting or max(size for size in smaller if size <= max(1, images // 2))
    accumulate = config.batch_size // (config.processes * fitting)
    return ResourceError(
        f"{found}; {fits}: set accumulate: {accumulate} in {run.config}, which keeps batch_size {config.batch_size}, "
        f"and {go_on}; or start anew with --batch_size {fitting * config.accumulate * config.processes}, "
        f"{', '.join(need_less)}",
        found=f"{found}; {fits}",
        accumulate=accumulate,
    )


def smaller_passes(config: TrainConfig) -> list[int]:
    """Images a pass, fewer than now, of which whole passes make up the same batch; largest first."""
    per_process = config.batch_size // config.processes
    return [
        size
        for size in range(config.batch_size_per_pass - 1, 0, -1)
        if per_process % size == 0 and unlabeled_count(config.unlabeled_ratio, size) is not None
    ]


def largest_fitting(
    task: SegmentationTask, config: TrainConfig, device: torch.device, *, unlabeled: bool = False
) -> int | None:
    """The largest of `smaller_passes` that this machine can train with, found by trying, or None.

    The task is only good for its memory afterwards. Runs that compile are tried without, which needs no less.

    Args:
        task: the run's.
        config: its settings.
        device: where it trains.
        unlabeled: whether unlabeled pictures join every pass.
    """
    task.to(device)
    ratio = config.unlabeled_ratio if unlabeled else 0
    return next((images for images in smaller_passes(config) if _fits(task, config, device, images, ratio)), None)


def _fits(task: SegmentationTask, config: TrainConfig, device: torch.device, images: int, ratio: float) -> bool:
    """Whether two passes and the optimizer's two averages find room: the second forward has gradients beside it."""
    mixed = config.precision != "float32"
    precision = torch.autocast(device.type, AUTOCAST[config.precision]) if mixed else nullcontext()
    averages: list[torch.Tensor] = []
    try:
        averages += [torch.zeros_like(w) for w in task.parameters() if w.requires_grad for _ in range(2)]
        batch = torch.zeros(images, 3, *config.input_size, dtype=torch.uint8, device=device)
        extra = batch.new_zeros(round(ratio * images), *batch.shape[1:])
        unlabeled = UnlabeledImages(extra, extra) if len(extra) else None
        with torch.compiler.set_stance("force_eager" if config.compile else "default"):
            for _ in range(2):
                with precision:
                    loss = task.loss_terms(batch, batch[:, 0], unlabeled)["loss"]
                loss.backward()  # type: ignore[no-untyped-call]
        return True
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(describe(error)):
            raise
        return False
    finally:
        averages.clear()
        task.zero_grad(set_to_none=True)
        free_memory()


def free_memory() -> None:
    """Release of memory that errors and graphs still held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def describe(error: BaseException) -> str:
    """Type and message of an error, as `is_shortage` wants them."""
    return f"{type(error).__name__}: {error}".rstrip()
