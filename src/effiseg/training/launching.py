"""Processes of a run that a launcher started on one machine or several: torchrun, SLURM, LSF, MPI.

Each of them runs the same command. The one of rank 0 checks the settings, keeps the run's folder and writes; what it
decides it tells the others through the store that torch's processes meet at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from effiseg.config.training import TrainConfig
from effiseg.errors import EffisegError, RunError, UsageError

_LONGEST_SETUP = timedelta(hours=12)
"""How long rank 0 may check and count a data set while the others wait; a launcher ends them when it dies."""
_LONGEST_ENDING = timedelta(hours=12)
_LOST = ("gloo", "nccl", "connection", "socket", "broken pipe", "timed out")
"""Words in what torch says when another process has gone."""


@dataclass(frozen=True)
class Crew:
    """The processes that a launcher started."""

    launcher: str
    """Its name."""
    processes: int
    """How many there are, on all machines."""
    rank: int
    """Number of this one; 0 leads."""
    per_machine: int | None
    """How many there are on each machine, where the launcher says so."""

    @property
    def leads(self) -> bool:
        """Whether this process keeps the run."""
        return self.rank == 0

    def settings(self, config: TrainConfig, *, chosen: bool) -> TrainConfig:
        """The settings with the processes that there are.

        Args:
            config: a run's settings.
            chosen: whether `devices` and `num_nodes` were given for these processes; those of a run that goes on were
                given for others, perhaps.

        Raises:
            UsageError: other processes were asked for, or the batch does not divide among them.
        """
        if config.processes == self.processes:
            return config
        if chosen and config.processes > 1:
            raise UsageError(
                f"--devices {config.devices} and --num_nodes {config.num_nodes} ask for {config.processes} processes; "
                f"{self.launcher} started {self.processes}: leave both out, or let it start as many"
            )
        per_machine = self.per_machine or self.processes
        return replace(config, devices=per_machine, num_nodes=self.processes // per_machine)

    @cached_property
    def _store(self) -> Any:
        """Where the processes meet; the same that their process group uses."""
        return dist.distributed_c10d.PrefixStore("effiseg", next(rendezvous("env://", self.rank, self.processes))[0])

    def tell(self, exit_code: int | None) -> None:
        """Let the others go on, or end with that exit code."""
        if self.processes > 1:
            self._store.set("setup", json.dumps(exit_code))

    def follow(self) -> None:
        """Wait until rank 0 lets this process go on; where that one failed, it ends without a word."""
        self._store.wait(["setup"], _LONGEST_SETUP)
        exit_code: int | None = json.loads(self._store.get("setup"))
        if exit_code is not None:
            raise SystemExit(exit_code)

    def require_same_step(self, step: int, checkpoint: Path) -> None:
        """Refuse to go on from different steps; every process must call it, and rank 0 speaks.

        Args:
            step: the one that this process goes on from.
            checkpoint: the file that it was read from.

        Raises:
            RunError: the processes read different checkpoints.
        """
        if self.processes == 1:
            return
        names = [f"step of {rank}" for rank in range(self.processes)]
        self._store.set(names[self.rank], str(step))
        self._store.wait(names, _LONGEST_SETUP)
        steps = [int(self._store.get(name)) for name in names]
        if len(set(steps)) == 1:
            return
        rank = next(rank for rank in range(self.processes) if steps[rank] != steps[0])
        error = RunError(
            f"{checkpoint}: all processes must go on from one step; found step {steps[0]} in process 0 and step "
            f"{steps[rank]} in process {rank}: the run's folder must lie on a file system that shows all machines the "
            "same files"
        )
        raise error if self.leads else SystemExit(error.exit_code)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What rank 0 does at the end; the others, which have nothing to do there, wait for it."""
        try:
            yield
        finally:
            if self.processes > 1:
                with suppress(RuntimeError):  # the others, or rank 0, have gone already
                    if self.leads:
                        self._store.set("ended", "1")
                    else:
                        self._store.wait(["ended"], _LONGEST_ENDING)


@contextmanager
def leading(crew: Crew | None) -> Iterator[Callable[[], None]]:
    """The work of the process that keeps a run; the others hear of it when it fails.

    Args:
        crew: the processes; None: there is this one alone.

    Yields:
        What lets the others go on.
    """
    try:
        yield lambda: None if crew is None else crew.tell(None)
    except BaseException as error:
        if crew is not None:
            with suppress(RuntimeError):
                crew.tell(error.exit_code if isinstance(error, EffisegError) else 1)
        raise


def find_crew() -> Crew | None:
    """The processes that this one belongs to; None where no launcher started it.

    Raises:
        UsageError: the launcher was asked for processes in a way that Lightning does not know.
    """
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning.fabric.plugins.environments.lsf import LSFEnvironment
    from lightning.fabric.plugins.environments.mpi import MPIEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    known: tuple[type[ClusterEnvironment], ...] = (
        TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment,
    )  # fmt: skip
    found = next((kind for kind in known if kind.detect()), None)
    if found is None:
        return None
    try:
        environment = found()
    except RuntimeError as error:  # variables that contradict each other
        raise UsageError(" ".join(str(error).split())) from None
    processes, rank = environment.world_size(), environment.global_rank()
    if processes == 1 and found is not TorchElasticEnvironment:
        return None
    os.environ.setdefault("MASTER_ADDR", str(environment.main_address))
    os.environ.setdefault("MASTER_PORT", str(environment.main_port))
    per_machine: int | None = None
    if found is TorchElasticEnvironment:
        per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    elif found is SLURMEnvironment:
        per_machine = processes // int(os.environ.get("SLURM_NNODES", 1))
    name = "torchrun" if found is TorchElasticEnvironment else found.__name__.removesuffix("Environment")
    return Crew(name, processes, rank, per_machine)


def is_lost_process(error: BaseException) -> bool:
    """Whether torch says that it cannot reach another process of the run."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in text for sign in _LOST)
    )
