"""Two real gloo processes under DDP give the loss and the gradients of one process with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("two_process_worker.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict, dict]:
    folder = tmp_path_factory.mktemp("processes")
    workers = [
        subprocess.Popen([sys.executable, str(WORKER), str(rank), str(size), str(folder)])
        for rank, size in ((0, 2), (1, 2), (0, 1))
    ]
    try:
        assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    one, first, second = (torch.load(folder / f"{name}.pt") for name in ("0_of_1", "0_of_2", "1_of_2"))
    return one, first, second


NAMES = [
    "cross_entropy",
    "weighted_cross_entropy",
    "dice",
    "dice_all",
    "dice_image",
    "focal",
    "weighted_focal",
    "dice_focal",
    "tversky",
    "focal_tversky",
    "combo",
    "combo_jaccard",
    "ohem",
    "upsampled_cross_entropy",
    "upsampled_dice_focal",
    "nothing_labelled",
]


def test_every_case_is_checked(results: tuple[dict, dict, dict]) -> None:
    assert sorted(results[0]) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_equal_one(results: tuple[dict, dict, dict], name: str) -> None:
    one, first, second = (result[name] for result in results)
    for process in (first, second):
        torch.testing.assert_close(process["value"], one["value"], rtol=1e-13, atol=0)
        torch.testing.assert_close(process["weight"], one["weight"], rtol=1e-10, atol=1e-16)
        torch.testing.assert_close(process["bias"], one["bias"], rtol=1e-10, atol=1e-16)
    if name != "nothing_labelled":
        assert one["weight"].abs().max() > 0
        # The case can fail: local losses differ, and so does their mean.
        local_mean = (first["local"] + second["local"]) / 2
        assert not torch.isclose(local_mean, one["value"], rtol=1e-4)
