"""Which operators take the time of a pass, as each engine tells it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from effiseg.benchmark.contender import Contender
from effiseg.benchmark.forward import Forward, input_array, openvino_hint

_MOST = 10
_PASSES = 3


def top_operators(contender: Contender, forward: Forward) -> list[dict[str, Any]]:
    """The kinds of operators that take most time, longest first.

    Args:
        contender: what `forward` was loaded from.
        forward: its network; engines that open files open theirs once more, with their clocks on.

    Returns:
        For each kind: type (the engine's name of it), ms (of one pass) and share (of all operators, 0..1).
    """
    match contender.runtime:
        case "openvino":
            times = _openvino(contender, forward)
        case "onnxruntime":
            times = _onnxruntime(contender, forward)
        case _:
            times = _torch(contender, forward)
    total = sum(times.values())
    return [
        {"type": kind, "ms": milliseconds, "share": milliseconds / total}
        for kind, milliseconds in times.most_common(_MOST)
    ]


def _torch(contender: Contender, forward: Forward) -> Counter[str]:
    from torch.profiler import ProfilerActivity, profile

    cuda = contender.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        for _ in range(_PASSES):
            forward.run()
        if cuda:
            torch.cuda.synchronize()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        # A kernel's time also stands at the operator that launched it: on a GPU kernels alone are counted.
        if cuda and event.device_type.name != "CUDA":
            continue
        micros = event.self_device_time_total if cuda else event.self_cpu_time_total
        times[event.key] += micros / 1000 / _PASSES
    return times


def _openvino(contender: Contender, forward: Forward) -> Counter[str]:
    from effiseg.inference.openvino_runtime import compile_network, openvino_core

    network = openvino_core("a profile").read_model(forward.file)
    request = compile_network(network, contender.threads, openvino_hint(contender), profile=True).create_infer_request()
    times: Counter[str] = Counter()
    for number in range(1 + _PASSES):
        request.infer([input_array(contender)])
        if number > 0:  # the first pass also allocates
            for entry in request.get_profiling_info():
                times[entry.node_type] += entry.real_time.total_seconds() * 1000 / _PASSES
    return times


def _onnxruntime(contender: Contender, forward: Forward) -> Counter[str]:
    from effiseg.inference.onnx_runtime import open_session

    assert forward.file is not None
    with tempfile.TemporaryDirectory(prefix="effiseg-profile-") as folder:
        session = open_session(forward.file, contender.threads, profile=Path(folder) / "profile")
        name = session.get_inputs()[0].name
        for _ in range(_PASSES):
            session.run(None, {name: input_array(contender)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"]] += event["dur"] / 1000 / _PASSES
    return times
