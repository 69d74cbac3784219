"""One process of test_data_parallel.py: `python batch_norm_worker.py RANK FOLDER`.

Image 0 goes to rank 0, images 1..3 to rank 1.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from effiseg.training.sync_batch_norm import CrossProcessBatchNorm2d, synchronize_batch_norm


def layer_and_data() -> tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]:
    """An ordinary layer, the global batch (4, 3, 5, 6) and the coefficients of a loss that weighs every output."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean):
            tensor.normal_(generator=generator)
    images = 3 + 2 * torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64)
    return layer, images, torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64)


def train_twice(layer: nn.BatchNorm2d, images: torch.Tensor, coefficients: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs, gradients and statistics of two training passes; the loss is not linear in the outputs."""
    images = images.requires_grad_()
    layer(images.detach() * 2)
    output = layer(images)
    (output.square() * coefficients).sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    return {
        "output": output.detach(),
        "image_gradient": images.grad,
        "weight_gradient": layer.weight.grad,
        "bias_gradient": layer.bias.grad,
        **{name: buffer.clone() for name, buffer in layer.named_buffers()},
    }


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    layer, images, coefficients = layer_and_data()
    mine = slice(0, 1) if rank == 0 else slice(1, 4)
    synchronize_batch_norm(nn.Sequential(layer), "cpu")
    assert type(layer) is CrossProcessBatchNorm2d
    torch.save(train_twice(layer, images[mine], coefficients[mine]), folder / f"{rank}.pt")
    half = layer.float()(images[mine].float().contiguous(memory_format=torch.channels_last).bfloat16())
    assert half.dtype == torch.bfloat16
    assert half.is_contiguous(memory_format=torch.channels_last)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
