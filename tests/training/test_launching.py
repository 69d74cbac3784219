"""Two machines of one process each, played by two torchruns that talk over gloo on localhost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from effiseg.config.training import TrainConfig
from effiseg.errors import RunError, UsageError
from effiseg.run_folder import RunFolder
from effiseg.training.checkpointing import read_tensors
from effiseg.training.launching import Crew, find_crew
from effiseg.training.trainer import train

Config = Callable[..., TrainConfig]
LONGEST = 280.0
"""Seconds that are waited for what takes ten on an idle machine."""
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def launch(words: list[str], *options: str) -> subprocess.Popen[str]:
    """One torchrun, as the launcher of one machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "effiseg", *words]
    return subprocess.Popen(launcher, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def launch_node(port: int, words: list[str]) -> subprocess.Popen[str]:
    """The launcher of one of two machines, of one process each."""
    meeting = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test"]
    own = ["--nproc-per-node", "1", "--local-addr", "127.0.0.1", "--max-restarts", "2", "--monitor-interval", "0.2"]
    return launch(words, *meeting, *own)


def worker_of(node: subprocess.Popen[str]) -> int:
    """The process that a torchrun started."""
    return int(Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()[0])


def wait_for_step(run: RunFolder, step: int, nodes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        if run.last_checkpoint.is_file() and read_tensors(run.last_checkpoint)["state"]["step"] >= step:
            return
        for node in nodes:
            assert node.poll() is None, node.communicate()
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step}")


def outputs_of(nodes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    found = []
    try:
        for node in nodes:
            out, err = node.communicate(timeout=LONGEST)
            found.append((node.returncode, out, err))
    finally:
        for node in nodes:
            node.kill()
    return found


@pytest.mark.timeout(700)
@pytest.mark.heavy
def test_a_lost_process_is_started_again_and_the_run_equals_an_uncut_one(
    small_config: Config, colour_data: Path, small_options: tuple[str, ...], tmp_path: Path
) -> None:
    config = small_config("whole", epochs=6, checkpoint_minutes=0.0, validate_every=0)
    run = RunFolder(tmp_path / "cut")
    words = ["train", "--data", str(colour_data), "--out", str(run.path), "--image_size", "32x64", "--batch_size", "4"]
    words += ["--workers", "0", "--device", "cpu", "--epochs", "6", "--init", "scratch", "--checkpoint_minutes", "0"]
    words += ["--model.drop_path_rate", "0", "--model.classifier_dropout", "0", "--validate_every", "0"]
    port = free_port()
    nodes = [launch_node(port, words) for _ in range(2)]
    try:
        wait_for_step(run, 3, nodes)
        keeper = int((run.lock).read_text().split()[1])
        followers = [worker for node in nodes if (worker := worker_of(node)) != keeper]
        assert len(followers) == 1
        os.kill(followers[0], signal.SIGKILL)
        outputs = outputs_of(nodes)
    finally:
        for node in nodes:
            node.kill()
    assert [code for code, _, _ in outputs] == [0, 0], outputs
    errors = "".join(err for _, _, err in outputs)
    assert errors.count("cannot be reached any more") <= 1
    assert sum(out.count("model: ") for _, out, _ in outputs) == 1
    whole = train(replace(config, devices=2))
    ours, theirs = (read_tensors(each.last_checkpoint) for each in (run, whole))
    assert ours["state"]["step"] == theirs["state"]["step"] == 18
    assert all(torch.equal(tensor, theirs["task"][name]) for name, tensor in ours["task"].items())


def test_what_is_wrong_is_said_once(colour_data: Path, tmp_path: Path) -> None:
    words = ["train", "--data", str(colour_data), "--out", str(tmp_path / "run"), "--recipe", "kd", "--device", "cpu"]
    outputs = outputs_of([launch(words, "--standalone", "--nproc-per-node", "2")])
    assert all(code != 0 for code, _, _ in outputs)
    lines = [line for _, _, err in outputs for line in err.splitlines() if line.startswith("effiseg train:")]
    assert len(set(lines)) == len(lines), "only one process speaks"
    assert sum("give --teacher" in line for line in lines) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "started", "outcome"),
    [
        ({}, Crew("torchrun", 4, 0, 2), (2, 2)),
        ({"devices": 2, "num_nodes": 2}, Crew("SLURM", 4, 0, None), (2, 2)),
        ({"devices": 4}, Crew("SLURM", 4, 0, 2), (4, 1)),
        ({"devices": 2}, Crew("torchrun", 4, 0, 2), "ask for 2 processes; torchrun started 4"),
        (
            {},
            Crew("torchrun", 3, 0, 1),
            "batch_size 8 must be a multiple of accumulate × devices × num_nodes = 1 × 1 × 3",
        ),
    ],
)
def test_settings_follow_the_processes(given: dict[str, Any], started: Crew, outcome: tuple[int, int] | str) -> None:
    config = TrainConfig(batch_size=8, **given)
    if isinstance(outcome, tuple):
        fitted = started.settings(config, chosen=True)
        assert (fitted.devices, fitted.num_nodes) == outcome
        return
    with pytest.raises(UsageError, match=outcome):
        started.settings(config, chosen=True)


def test_a_run_that_goes_on_takes_the_processes_that_there_are() -> None:
    fitted = Crew("torchrun", 2, 0, 1).settings(TrainConfig(batch_size=8, devices=4), chosen=False)
    assert (fitted.devices, fitted.num_nodes) == (1, 2)


@pytest.mark.parametrize("steps", [(12, 12, 12), (12, 9, 12)])
def test_all_processes_go_on_from_one_step(steps: tuple[int, ...], tmp_path: Path) -> None:
    """Or none does, and the first says why: folders that are not shared, or show an old file."""
    store = dist.HashStore()

    def load(rank: int) -> BaseException | None:
        crew = Crew("torchrun", len(steps), rank, 1)
        vars(crew)["_store"] = store
        try:
            crew.require_same_step(steps[rank], tmp_path / "last.ckpt")
        except (RunError, SystemExit) as error:
            return error
        return None

    with ThreadPoolExecutor(len(steps)) as pool:
        first, *others = pool.map(load, range(len(steps)))
    if len(set(steps)) == 1:
        assert [first, *others] == [None, None, None]
        return
    assert isinstance(first, RunError)
    assert "found step 12 in process 0 and step 9 in process 1" in str(first)
    assert [(type(each), each.code) for each in others if isinstance(each, SystemExit)] == [
        (SystemExit, RunError.exit_code)
    ] * 2


def test_nodes_need_a_launcher(small_config: Config) -> None:
    with pytest.raises(UsageError, match="num_nodes 2: no launcher started this process"):
        train(small_config("run", num_nodes=2))


@pytest.mark.parametrize(
    ("variables", "crew"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "train"}, None),
        (
            {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2",
             "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "a[1-2]", "SLURM_JOB_ID": "77"},
            Crew("SLURM", 4, 3, 2),
        ),
        (
            {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0",
             "GROUP_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            Crew("torchrun", 2, 1, 1),
        ),
    ],
)  # fmt: skip
def test_launchers_are_found(variables: dict[str, str], crew: Crew | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that what is set is taken back
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_crew() == crew
