"""Parts of work done by actors of a Ray cluster, through Ray Data: an actor makes its worker, with the model, once.

Ray Data starts the actors, hands them parts as they have time, starts lost ones again and gives them the part that was
lost. What it moves is small: a part says where its pictures lie, and a result what became of them.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from effiseg.config.cluster import ClusterConfig
from effiseg.environment import available_cores
from effiseg.errors import EffisegError, UsageError

Part = TypeVar("Part")
Result = TypeVar("Result")

STORE_BYTES = 2**30
"""Memory of the object store of a cluster that is started here; parts and results need little of it."""
_MOST_BLOCKS = 10_000


class _Actor(Generic[Part, Result]):
    """A worker as Ray Data calls it; the mistakes of users come back as results."""

    def __init__(self, make: Callable[[int], Callable[[Part], Result]], threads: int) -> None:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(0)
        self.work = make(threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"result": [pickle.dumps(self._answer(pickle.loads(part))) for part in batch["part"]]}

    def _answer(self, part: Part) -> Result | EffisegError:
        try:
            return self.work(part)
        except EffisegError as error:
            return error


def map_on_ray(
    make: Callable[[int], Callable[[Part], Result]], parts: Sequence[Part], config: ClusterConfig, *, gpu: bool = False
) -> Iterator[Result]:
    """The results of parts, in the order in which they are done.

    Args:
        make: makes a worker with so many threads, in an actor; it can be pickled.
        parts: can be pickled; small. A part may be worked on again when an actor is lost.
        config: where, and by how many.
        gpu: whether an actor needs a GPU of its own.

    Raises:
        UsageError: Ray is missing, or no cluster can be reached.
        EffisegError: the first that a worker raised.
    """
    if not parts:
        return
    with connected(config) as ray:
        data = ray.data
        threads = config.ray_threads
        room = max(1, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)) // (1 if gpu else threads))
        actors = min(config.ray_actors or room, len(parts))
        if actors > room:
            raise UsageError(
                f"--ray_actors {actors}: the cluster has room for {room} of {threads} cores; ask for no more"
            )
        rows = [{"part": pickle.dumps(part)} for part in parts]
        blocks = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        results = blocks.map_batches(
            _Actor,
            batch_size=1,
            fn_constructor_args=(make, threads),
            compute=data.ActorPoolStrategy(size=actors),
            num_cpus=threads,
            num_gpus=1 if gpu else None,
        )
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, EffisegError):
                raise result
            yield result


@contextmanager
def connected(config: ClusterConfig) -> Iterator[Any]:
    """The package ray, connected to the cluster; one that was started here ends with it.

    Raises:
        UsageError: Ray is missing, or no cluster can be reached.
    """
    if find_spec("ray") is None:
        raise UsageError("--on ray needs the package ray: pip install 'effiseg[scale]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else actors wait for whatever else runs on this machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what later versions do, of which Ray would warn
    import ray
    import ray.data

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    here = config.ray_address is None
    joined = ray.is_initialized()
    if not joined:
        try:
            if here:
                cores = available_cores()
                options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE_BYTES}
                ray.init(address="local", **options)  # without the word it joins one that runs here already
            else:
                ray.init(address=config.ray_address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"--ray_address {config.ray_address}: no cluster can be reached ({reason})") from None
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        if here and not joined:
            ray.shutdown()
