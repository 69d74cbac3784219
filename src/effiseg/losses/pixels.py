"""Sums of the losses over pixels, from logits at the labels' size or at a smaller one.

A network's logits are a quarter as large as its labels. Bringing them to the labels' size (bilinear,
align_corners=False) and taking a log-softmax, as one would write it, makes and keeps several tensors of K
float32 numbers a pixel. On the CPU the same sums are found band by band of rows, each band upsampled,
softmaxed, summed and dropped while it lies in the cache; only what the small logits' gradient needs remains.

The plain form is what happens at equal sizes, on other devices, and inside a graph of torch.compile; there it
is right, but on the CPU slower than the bands (inductor adds up the upsampling's gradient one number at a time),
so compile the network and leave the losses outside. Both give the same values and gradients but for rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from effiseg.losses.reduction import Labels, accurate, log_probabilities, true_log_probability

# Numbers of a band: 1 MB in float32, so that a few such tensors stay in the cache.
_BAND_NUMBERS = 1 << 18
# Columns that are interpolated together: a product with the whole matrix would multiply mostly zeros.
_TILE = 128


def focal_losses(true_log_p: Tensor, gamma: float) -> Tensor:
    """(1 − p)^γ · (−log p) from log p, element by element; with γ = 0 the cross-entropy."""
    if gamma == 0:
        return -true_log_p
    missed = -torch.expm1(true_log_p)  # 1 − p, without cancellation for p near 1
    if gamma < 1:
        # x^γ has no slope at 0, where log p is 0 too: keep 0 · ∞ out of the gradient.
        missed = missed.clamp_min(torch.finfo(missed.dtype).eps)
    return -(missed**gamma * true_log_p)


def sum_focal_losses(logits: Tensor, labels: Labels, pixel_weights: Tensor, gamma: float) -> Tensor:
    """Σ w · (1 − p_y)^γ · (−log p_y) over all pixels, a scalar; value and gradient from one softmax.

    Args:
        logits: (B, K, h, w) floating; brought to the labels' size; computed in float32 at least.
        labels: of (B, H, W) pixels.
        pixel_weights: (B, H, W) w, 0 where ignored.
        gamma: γ ≥ 0; 0 gives the cross-entropy.
    """
    logits = accurate(logits)
    if _goes_by_bands(logits, labels):
        total: Tensor = _SumFocalLosses.apply(logits, labels, pixel_weights, gamma)  # type: ignore[no-untyped-call]
        return total
    true_log_p = true_log_probability(log_probabilities(resized(logits, labels)), labels)
    return (pixel_weights * focal_losses(true_log_p, gamma)).sum()


class Scores(NamedTuple):
    """Sums over all classes that Dice and its relatives need, beside each pixel's true class."""

    true_log_p: Tensor
    """(B, H, W) log-probability of the true class; exactly 0, without gradient, where ignored."""
    predicted: Tensor
    """(B, K) Σ p over the labelled pixels of each image."""


def class_scores(logits: Tensor, labels: Labels) -> Scores:
    """Both sums from one softmax, which is computed again for the gradient rather than kept.

    Args:
        logits: (B, K, h, w) floating; brought to the labels' size; computed in float32 at least.
        labels: of (B, H, W) pixels.
    """
    logits = accurate(logits)
    if _goes_by_bands(logits, labels):
        return Scores(*_ClassScores.apply(logits, labels))  # type: ignore[no-untyped-call]
    log_p = log_probabilities(resized(logits, labels))
    predicted = (log_p.exp() * labels.valid.unsqueeze(1)).sum((2, 3))
    return Scores(true_log_probability(log_p, labels), predicted)


def resized(logits: Tensor, labels: Labels) -> Tensor:
    """Logits (B, K, h, w) at the size of labels (B, H, W), as they are if they have it."""
    size = labels.valid.shape[1:]
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _goes_by_bands(logits: Tensor, labels: Labels) -> bool:
    by_itself = logits.device.type == "cpu" and not torch.compiler.is_compiling()
    return by_itself and logits.shape[2:] != labels.valid.shape[1:]


class _Band(NamedTuple):
    """Neighbouring rows (or columns) of the labels and the ones of the logits they are interpolated from."""

    of_labels: slice
    of_logits: slice
    weights: Tensor
    """(labels' rows, logits' rows)."""


def _bands(source: int, target: int, step: int, dtype: torch.dtype) -> list[_Band]:
    """Interpolation of `source` numbers to `target` ones, in bands of `step`."""
    # The images of the unit vectors are the columns of the interpolation.
    identity = torch.eye(source, dtype=dtype).unsqueeze(0)
    weights = F.interpolate(identity, target, mode="linear", align_corners=False)[0].T.contiguous()
    used = weights.ne(0).to(torch.uint8)
    first, last = used.argmax(1).tolist(), (source - used.flip(1).argmax(1)).tolist()
    bands = []
    for start in range(0, target, step):
        of_labels = slice(start, min(start + step, target))
        of_logits = slice(min(first[of_labels]), max(last[of_labels]))
        bands.append(_Band(of_labels, of_logits, weights[of_labels, of_logits].contiguous()))
    return bands


class _Upsampling:
    """Bilinear interpolation of one image at a time, as products with small matrices, and its adjoint.

    Numbers lie as (rows, K, columns): a band of rows is then one matrix product, and a softmax over its middle
    dimension runs along contiguous columns.
    """

    def __init__(self, logits: Tensor, labels: Labels) -> None:
        _, self.classes, self.height, self.width = logits.shape
        _, rows, self.columns = labels.valid.shape
        self.step = max(1, _BAND_NUMBERS // (self.classes * self.columns))
        self.rows = _bands(self.height, rows, self.step, logits.dtype)
        self.tiles = _bands(self.width, self.columns, _TILE, logits.dtype)

    def widened(self, logits: Tensor) -> Tensor:
        """(K, h, w) to (h, K·W)."""
        narrow = logits.permute(1, 0, 2).reshape(-1, self.width)
        wide = narrow.new_empty(len(narrow), self.columns)
        for tile in self.tiles:
            wide[:, tile.of_labels] = torch.mm(narrow[:, tile.of_logits], tile.weights.T)
        return wide.view(self.height, -1)

    def narrowed(self, gradient: Tensor) -> Tensor:
        """The gradient (h, K·W) of `widened`'s result to that of its argument, (K, h, w)."""
        wide = gradient.view(-1, self.columns)
        narrow = wide.new_zeros(len(wide), self.width)
        for tile in self.tiles:
            narrow[:, tile.of_logits].addmm_(wide[:, tile.of_labels], tile.weights)
        return narrow.view(self.height, self.classes, self.width).permute(1, 0, 2)

    def heightened(self, wide: Tensor, band: _Band) -> Tensor:
        """A band (rows, K, W) of what `widened` returned."""
        return torch.mm(band.weights, wide[band.of_logits]).view(-1, self.classes, self.columns)

    @staticmethod
    def lower(gradient: Tensor, band: _Band, into: Tensor) -> None:
        """Add the gradient (rows, K, W) of a band to that of `widened`'s result, (h, K·W)."""
        into[band.of_logits].addmm_(band.weights.T, gradient.flatten(1))


def _true_log_p(band_logits: Tensor, p: Tensor, index: Tensor) -> Tensor:
    """(rows, 1, W) log-probability of the true classes (rows, 1, W), from logits and softmax (rows, K, W)."""
    true_p = p.gather(1, index)
    if true_p.min().item() < torch.finfo(p.dtype).tiny:
        # The exponential has lost digits, or all of them; the logarithm must be taken before it.
        return torch.log_softmax(band_logits, 1).gather(1, index)
    return true_p.log_()


class _SumFocalLosses(torch.autograd.Function):
    """`sum_focal_losses` by bands. The gradient is known but for its factor, so it is found in the same pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Labels, pixel_weights: Tensor, gamma: float) -> Tensor:
        totals = []
        found = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        with torch.autocast("cpu", enabled=False):
            upsampling = _Upsampling(logits, labels)
            index, weights = labels.class_index.unsqueeze(2), pixel_weights.unsqueeze(2)
            for number, image in enumerate(logits):
                wide = upsampling.widened(image)
                wide_gradient = torch.zeros_like(wide)
                for band, of_index, weight in zip(
                    upsampling.rows,
                    torch.split(index[number], upsampling.step),
                    torch.split(weights[number], upsampling.step),
                    strict=True,
                ):
                    band_logits = upsampling.heightened(wide, band)
                    p = torch.softmax(band_logits, 1)
                    true_log_p = _true_log_p(band_logits, p, of_index)
                    losses, slope = _focal_slope(true_log_p, gamma)
                    totals.append((losses * weight).sum())
                    if found is not None:
                        # d log p_y / d z_k = [k = y] − p_k, here with the other sign
                        slope = weight if slope is None else slope * weight
                        gradient = p.mul_(slope).scatter_add_(1, of_index, slope.neg())
                        upsampling.lower(gradient, band, wide_gradient)
                if found is not None:
                    found[number] = upsampling.narrowed(wide_gradient)
        if found is not None:
            ctx.save_for_backward(found)
        return torch.stack(totals).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (total_gradient,) = gradients
        (gradient,) = ctx.saved_tensors
        return gradient * total_gradient, None, None, None


def _focal_slope(true_log_p: Tensor, gamma: float) -> tuple[Tensor, Tensor | None]:
    """`focal_losses` and their derivative by −log p, None for 1."""
    if gamma == 0:
        return focal_losses(true_log_p, gamma), None
    with torch.enable_grad():
        losses = focal_losses(true_log_p.requires_grad_(), gamma)
        (slope,) = torch.autograd.grad(losses.sum(), true_log_p)
    return losses.detach(), slope.neg_()


class _ClassScores(torch.autograd.Function):
    """`class_scores` by bands. What gradient the sums have is not known before they are, so it takes two passes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        true_log_p = logits.new_empty(labels.valid.shape)
        predicted = logits.new_zeros(logits.shape[:2])
        with torch.autocast("cpu", enabled=False):
            upsampling = _Upsampling(logits, labels)
            index, valid = labels.class_index.unsqueeze(2), labels.valid.unsqueeze(3).to(logits.dtype)
            for number, image in enumerate(logits):
                wide = upsampling.widened(image)
                for band, of_index, of_valid, result in zip(
                    upsampling.rows,
                    torch.split(index[number], upsampling.step),
                    torch.split(valid[number], upsampling.step),
                    torch.split(true_log_p[number], upsampling.step),
                    strict=True,
                ):
                    band_logits = upsampling.heightened(wide, band)
                    p = torch.softmax(band_logits, 1)
                    result.copy_(_true_log_p(band_logits, p, of_index).squeeze(1))
                    predicted[number] += torch.bmm(p, of_valid).sum((0, 2))
            true_log_p.masked_fill_(~labels.valid, 0)
        ctx.save_for_backward(logits, *labels)
        return true_log_p, predicted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        true_gradient, predicted_gradient = gradients
        logits, *saved = ctx.saved_tensors
        labels = Labels(*saved)
        found = torch.empty_like(logits)
        with torch.autocast("cpu", enabled=False):
            upsampling = _Upsampling(logits, labels)
            index, valid = labels.class_index.unsqueeze(2), labels.valid.unsqueeze(2).to(logits.dtype)
            slopes = true_gradient.masked_fill(~labels.valid, 0).unsqueeze(2)
            for number, image in enumerate(logits):
                wide = upsampling.widened(image)
                wide_gradient = torch.zeros_like(wide)
                of_classes = predicted_gradient[number].unsqueeze(0)  # (1, K)
                for band, of_index, of_valid, slope in zip(
                    upsampling.rows,
                    torch.split(index[number], upsampling.step),
                    torch.split(valid[number], upsampling.step),
                    torch.split(slopes[number], upsampling.step),
                    strict=True,
                ):
                    p = torch.softmax(upsampling.heightened(wide, band), 1)
                    # Σ_j q_j dp_j / dz_k + s d log p_y / dz_k = p_k (q_k − Σ_j q_j p_j − s) + s [k = y]
                    centre = torch.matmul(of_classes, p).add_(slope)
                    p.mul_(of_valid)
                    gradient = torch.sub(of_classes.unsqueeze(2), centre).mul_(p).scatter_add_(1, of_index, slope)
                    upsampling.lower(gradient, band, wide_gradient)
                found[number] = upsampling.narrowed(wide_gradient)
        return found, None
