"""The composed head against the head as published, built from its own layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from effiseg.models.decode_head import DecodeHead

DIMS = (3, 4, 5, 6)
SIZES = ((9, 13), (5, 7), (3, 4), (2, 2))


def published(head: DecodeHead, feature_maps: list[Tensor]) -> Tensor:
    widened = []
    for stage, feature_map in zip(head.linear_c, feature_maps, strict=True):
        wide = stage(feature_map.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        widened.append(F.interpolate(wide, size=SIZES[0], mode="bilinear", align_corners=False))
    fused = F.relu(head.batch_norm(head.linear_fuse(torch.cat(widened[::-1], 1))))
    logits: Tensor = head.classifier(head.dropout(fused))
    return logits


def make(dropout: float = 0.0) -> tuple[DecodeHead, list[Tensor]]:
    torch.manual_seed(0)
    head = DecodeHead(DIMS, 8, 7, dropout).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    torch.nn.init.normal_(head.batch_norm.running_mean)
    torch.nn.init.uniform_(head.batch_norm.running_var, 0.5, 2.0)
    maps = [
        torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
        for channels, size in zip(DIMS, SIZES, strict=True)
    ]
    return head, maps


@pytest.mark.parametrize("mode", ["train", "eval", "frozen_batch_norm"])
def test_values_and_all_gradients_equal_the_published_head(mode: str) -> None:
    head, maps = make()
    head.train(mode != "eval")
    if mode == "frozen_batch_norm":
        head.batch_norm.eval()
    inputs = [*maps, *head.parameters()]
    ours, theirs = head(maps), published(head, maps)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    probe = torch.randn_like(ours)
    our_gradients = torch.autograd.grad((ours * probe).sum(), inputs)
    their_gradients = torch.autograd.grad((theirs * probe).sum(), inputs)
    largest = max(gradient.abs().max().item() for gradient in their_gradients)
    for ours_, theirs_ in zip(our_gradients, their_gradients, strict=True):
        # linear_c's biases have gradient 0 in training (BN removes a constant): compare with the largest too
        torch.testing.assert_close(ours_, theirs_, rtol=1e-10, atol=1e-12 * largest)


def test_batch_norm_keeps_the_same_running_statistics() -> None:
    head, maps = make()
    reference, _ = make()
    head(maps)
    published(reference, maps)
    torch.testing.assert_close(head.batch_norm.running_mean, reference.batch_norm.running_mean)
    torch.testing.assert_close(head.batch_norm.running_var, reference.batch_norm.running_var)
    assert head.batch_norm.num_batches_tracked.item() == 1


def test_maps_in_either_memory_format_give_the_same_and_stay_unchanged() -> None:
    head, maps = make()
    head.eval()
    before = [feature_map.detach().clone() for feature_map in maps]
    last = [feature_map.contiguous(memory_format=torch.channels_last) for feature_map in maps]
    torch.testing.assert_close(head(maps), head(last), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(old, new) for old, new in zip(before, maps, strict=True))


def test_dropout_takes_whole_channels_in_training_only() -> None:
    head, maps = make(dropout=0.5)
    torch.nn.init.eye_(head.classifier.weight.data.flatten(1))
    assert not torch.equal(head(maps), head(maps))
    head.eval()
    assert torch.equal(head(maps), head(maps))
    assert isinstance(head.dropout, torch.nn.Dropout2d)


def test_synchronized_batch_norm_replaces_it_without_another_name() -> None:
    head, maps = make()
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(head).eval()
    reference, _ = make()
    assert converted.state_dict().keys() == reference.state_dict().keys()
    assert torch.equal(converted(maps), reference.eval()(maps))


def test_the_product_is_not_rounded_by_autocast() -> None:
    torch.manual_seed(0)
    head = DecodeHead(DIMS, 8, 7, 0.0).eval()
    with torch.autocast("cpu", torch.bfloat16):
        matrices, bias = head._composed(True, "cpu")
    assert {tensor.dtype for tensor in (*matrices, bias)} == {torch.float32}
    expected, _ = head._composed(True, "cpu")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(matrices, expected, strict=True))
