"""torch itself: networks in memory, operator by operator or compiled; it has no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from effiseg.config.engine import EngineName, Output

if TYPE_CHECKING:
    from torch import Tensor, nn

    from effiseg.models.fuse import FusedSegFormer, InputForm
    from effiseg.models.segformer import SegFormer


@dataclass(frozen=True)
class TorchEngine:
    """torch on any device."""

    name: EngineName
    """The word of `--engine`."""
    compiled: bool
    """By torch.compile."""

    def deploy_form(self, model: SegFormer, device: str, *, input: InputForm, output: Output) -> FusedSegFormer:
        """The fused network, as the device runs it fastest; see `effiseg.models.fuse.fuse`."""
        from effiseg.models.fuse import fuse, torch_form

        return fuse(model, input=input, output=output, pointwise=torch_form(device, compiled=self.compiled))

    def ready(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """The network as it is called."""
        import torch

        return torch.compile(network) if self.compiled else network

    def profile(self, run: Callable[[], object], device: str, passes: int) -> Counter[str]:
        """Kind of operator → milliseconds of one pass; on a GPU of its kernels.

        Args:
            run: one pass.
            device: cpu or cuda.
            passes: passes that are measured.
        """
        import torch
        from torch.profiler import ProfilerActivity, profile

        cuda = device == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=activities) as profiler:
            for _ in range(passes):
                run()
            if cuda:
                torch.cuda.synchronize()
        times: Counter[str] = Counter()
        for event in profiler.key_averages():
            # A kernel's time also stands at the operator that launched it: on a GPU kernels alone are counted.
            if cuda and event.device_type.name != "CUDA":
                continue
            micros: Any = event.self_device_time_total if cuda else event.self_cpu_time_total
            times[event.key] += micros / 1000 / passes
        return times


TORCH = TorchEngine("torch", compiled=False)
TORCH_COMPILE = TorchEngine("torch_compile", compiled=True)
