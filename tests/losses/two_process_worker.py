"""One process of test_reduction.py: `python two_process_worker.py RANK SIZE FOLDER`.

Image 0 goes to rank 0, images 1..3 to rank 1: unequal numbers of images, of ignored pixels, and of classes.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from effiseg import losses

K = 4


def whole_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 6, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (4, 6, 5), generator=generator)
    target[0, :5] = 255  # five labelled pixels on rank 0
    target[0, 5, :2] = 3  # the only ones of class 3
    target[2] = 255
    return images, target, torch.tensor([1.0, 4.0, 0.5, 9.0], dtype=torch.float64)


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    images, target, weights = whole_batch()
    if size > 1:
        mine = slice(0, 1) if rank == 0 else slice(1, 4)
        images, target = images[mine], target[mine]
    cases = {
        "cross_entropy": (losses.cross_entropy_loss, (), {}),
        "weighted_cross_entropy": (losses.cross_entropy_loss, (weights,), {}),
        "dice": (losses.dice_loss, (), {}),
        "dice_all": (losses.dice_loss, (), {"averaging": losses.Averaging(classes="all")}),
        "dice_image": (losses.dice_loss, (), {"averaging": losses.Averaging("image")}),
        "focal": (losses.focal_loss, (), {}),
        "weighted_focal": (losses.focal_loss, (weights,), {"gamma": 1.0}),
        "dice_focal": (losses.dice_focal_loss, (weights,), {}),
        "tversky": (losses.tversky_loss, (), {"alpha": 0.3, "beta": 0.7}),
        "focal_tversky": (losses.focal_tversky_loss, (), {"alpha": 0.3, "beta": 0.7}),
        "combo": (losses.combo_loss, (weights,), {}),
        "combo_jaccard": (losses.combo_loss, (weights,), {"overlap_name": "jaccard"}),
        "ohem": (losses.ohem_loss, (weights,), {"threshold": 0.4}),
        "upsampled_cross_entropy": (losses.cross_entropy_loss, (weights,), {}),
        "upsampled_dice_focal": (losses.dice_focal_loss, (weights,), {}),
        "nothing_labelled": (losses.dice_focal_loss, (weights,), {}),
    }
    results = {}
    for name, (function, args, options) in cases.items():
        torch.manual_seed(1)
        layer = nn.Conv2d(3, K, 1).double()
        model = DistributedDataParallel(layer) if size > 1 else layer
        labels = torch.full_like(target, 255) if name == "nothing_labelled" else target
        upsample = name.startswith("upsampled")
        if upsample:
            labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
        value = function(model(images), labels, *args, **options, pixels=losses.PixelOptions(255, upsample, True))
        value.backward()
        with torch.no_grad():
            local = function(layer(images), labels, *args, **options, pixels=losses.PixelOptions(255, upsample))
        assert layer.weight.grad is not None
        assert layer.bias is not None
        results[name] = {
            "value": value.detach(),
            "local": local,
            "weight": layer.weight.grad,
            "bias": layer.bias.grad,
        }
    torch.save(results, folder / f"{rank}_of_{size}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
