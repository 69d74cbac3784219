"""When memory runs out: one line that says what fits, with everything trained so far kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from effiseg.config.training import TrainConfig
from effiseg.data.dataset import SegmentationDataset
from effiseg.errors import ResourceError
from effiseg.files import read_json, read_yaml, write_yaml
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper
from effiseg.training.checkpointing import load_checkpoint
from effiseg.training.fitting import mistake_in_process
from effiseg.training.memory_advice import is_shortage, shortage_error, smaller_passes
from effiseg.training.segmentation_task import SegmentationTask
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
CUDA = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 11.00 GiB"
CPU = (
    "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
    "to allocate 67108864 bytes. Error code 12 (Cannot allocate memory)"
)
KILLED = "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed."
BUS = (
    "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit."
)


@pytest.mark.parametrize(
    "text",
    [
        CUDA, CPU, KILLED, BUS, "MemoryError: ", "OSError: [Errno 12] Cannot allocate memory",
        "RuntimeError: could not create a primitive", "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "RuntimeError: DataLoader worker (pid(s) 12, 13) exited unexpectedly", "MemoryError: std::bad_alloc",
        "RuntimeError: unable to write to file </torch_12_345_6>: No space left on device (28)",
        "RuntimeError: unable to allocate shared memory(shm) for file </torch_1>: Resource temporarily unavailable",
    ],
)  # fmt: skip
def test_shortages_are_told_from_other_errors(text: str) -> None:
    assert is_shortage(text.rstrip())


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
        "OSError: [Errno 28] No space left on device: 'runs/a/checkpoints/last.ckpt'",
        "RuntimeError: could not create a primitive descriptor for a convolution",
        "OutOfResources: out of resource: shared memory, Required: 163840, Hardware limit: 101376",
        "RuntimeError: unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)",
    ],
)
def test_other_errors_are_no_shortages(text: str) -> None:
    assert not is_shortage(text)


def line(text: str, fitting: int | None = None, **settings: Any) -> str:
    message = str(shortage_error(text, TrainConfig(**settings), RunFolder("runs/a"), "in step 7", "GO ON", fitting))
    assert "\n" not in message
    assert "GO ON" in message or settings["batch_size"] == 1
    return message


def test_the_line_says_what_fits_and_how_to_keep_the_batch() -> None:
    assert line(CUDA, 4, batch_size=16) == (
        "runs/a: out of memory in step 7 with 16 images of 512x1024 a pass; 4 fit: set accumulate: 4 in "
        "runs/a/config.yaml, which keeps batch_size 16, and GO ON; or start anew with --batch_size 4, "
        "--precision bfloat16, a smaller --image_size, a smaller --model.variant"
    )
    guessed = line(CPU, batch_size=24, accumulate=2, devices=2, precision="bfloat16")
    assert "with 6 images of" in guessed
    assert "; half as many may fit: set accumulate: 4 in" in guessed  # 3 images in each of 2 processes, 4 times
    assert "--batch_size 12," in guessed
    assert "--precision" not in guessed
    one = line("MemoryError: ", batch_size=1)
    assert one.endswith(
        "with 1 image of 512x1024 a pass; start anew with --precision bfloat16 or a smaller --image_size "
        "or a smaller --model.variant"
    )


def test_passes_divide_the_batch() -> None:
    assert smaller_passes(TrainConfig(batch_size=16)) == [8, 4, 2, 1]
    assert smaller_passes(TrainConfig(batch_size=12, accumulate=2)) == [4, 3, 2, 1]
    assert smaller_passes(TrainConfig(batch_size=14, devices=2)) == [1]
    assert smaller_passes(TrainConfig(batch_size=4, devices=2, accumulate=2)) == []
    assert smaller_passes(TrainConfig(batch_size=12, unlabeled_ratio=0.5)) == [6, 4, 2]


def test_loaders_get_fewer_workers_not_a_smaller_batch() -> None:
    assert line(KILLED, workers=7) == (
        "runs/a: a loader worker was killed, most likely because memory ran out; "
        "take fewer --workers (now 7; 0 loads in the main process); GO ON"
    )
    assert "no room in shared memory (/dev/shm" in line(BUS)
    assert "a loader worker ran out of memory; take fewer --workers" in line(
        "MemoryError: Caught MemoryError in DataLoader worker process 0."
    )
    assert "a loader worker died (Segmentation fault)" in line(KILLED.replace("Killed", "Segmentation fault"))
    assert "batch_size" not in line(KILLED) + line(BUS)


def run_out(patch: pytest.MonkeyPatch, error: BaseException, *, most: int, calls: int) -> None:
    """From the call after `calls` on, losses of more than `most` images raise."""
    original, done = SegmentationTask.supervised_terms, 0

    def limited(task: SegmentationTask, logits: torch.Tensor, labels: torch.Tensor) -> Any:
        nonlocal done
        done += 1
        if done > calls and len(labels) > most:
            raise error
        return original(task, logits, labels)

    patch.setattr(SegmentationTask, "supervised_terms", limited)


@pytest.mark.parametrize(
    ("error", "most", "said"),
    [
        (torch.OutOfMemoryError(CUDA), 2, "; 2 fit: set accumulate: 2 in"),
        (RuntimeError(CPU), 1, "; 1 fit: set accumulate: 4 in"),
        (MemoryError(), 0, "; half as many may fit: set accumulate: 2 in"),
    ],
)
def test_training_that_runs_out_goes_on_with_what_fits(
    error: BaseException, most: int, said: str, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config("run")
    with monkeypatch.context() as patch:
        run_out(patch, error, most=most, calls=4)
        with pytest.raises(ResourceError) as caught:
            train(config)
    run, message = RunFolder(config.out), str(caught.value)
    assert message.startswith(f"{run.path}: out of memory in step 5 of 6 with 4 images of 32x64 a pass")
    assert said in message
    assert f"go on with `effiseg train --resume {run.path}`" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2
    assert load_checkpoint(run.last_checkpoint)[3].step == 3
    if most == 2:
        write_yaml(run.config, read_yaml(run.config) | {"accumulate": 2})
        with monkeypatch.context() as patch:
            run_out(patch, error, most=most, calls=0)
            assert read_json(resume(run.path).results)["steps"] == 6


def test_an_evaluation_that_runs_out_keeps_its_epoch(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError(CUDA)

    config = small_config("run")
    with monkeypatch.context() as patch:
        patch.setattr(run_keeper, "evaluate", fail)
        with pytest.raises(ResourceError, match="out of memory in the evaluation after step 3 with 4 images"):
            train(config)
    state = load_checkpoint(RunFolder(config.out).last_checkpoint)[3]
    assert (state.step, state.validation_pending) == (3, True)


@pytest.mark.parametrize(
    ("how", "said"),
    [("killed", "a loader worker was killed, most likely"), ("memory", "a loader worker ran out of memory")],
)
def test_a_loader_worker_that_dies_is_one_line(
    how: str, said: str, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SegmentationDataset.__getitem__

    def die(dataset: SegmentationDataset, key: tuple[int, int]) -> Any:
        if key[0] == 1 and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if key[0] == 1:
            raise MemoryError
        return original(dataset, key)

    monkeypatch.setattr(SegmentationDataset, "__getitem__", die)
    with pytest.raises(ResourceError, match=said) as caught:
        train(small_config("run", workers=1))
    assert "\n" not in str(caught.value)
    assert "--workers (now 1" in str(caught.value)


def test_an_error_in_a_spawned_process_is_known_by_its_last_line(small_config: Config) -> None:
    config = small_config("run", devices=2)
    text = f"\n\n-- Process 1 terminated with the following error:\nTraceback:\n  File x\n{CUDA}\n"
    error = mistake_in_process(ProcessRaisedException(text, 1, 4711), config, RunFolder(config.out))
    assert isinstance(error, ResourceError)
    assert "out of memory in one of 2 processes with 2 images of 32x64 a pass; half as many may fit" in str(error)


LIMITED = """
import resource, sys
from effiseg.cli import main
from effiseg.training import trainer
original = trainer.fit
def limited(*words):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 500 * 2**20, resource.RLIM_INFINITY))
    return original(*words)
trainer.fit = limited
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_a_process_with_too_little_memory(small_config: Config, colour_data: Any) -> None:
    """512 images of 64x128 need gigabytes where 500 MiB are left."""
    out = small_config("run").out
    words = ["--data", str(colour_data), "--out", out, "--device", "cpu", "--workers", "0", "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words, "--image_size", "64x128", "--batch_size", "512"],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"effiseg train: {out}: out of memory in step 1 of 1 with 512 images of 64x128 a pass; " in done.stderr
    assert "set accumulate: " in done.stderr
