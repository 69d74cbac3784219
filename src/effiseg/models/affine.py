"""Affine maps over the channels, and what becomes of the layers before and after them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Affine(NamedTuple):
    """matrix · x + shift over the channels, (C, C) and (C,), float64."""

    matrix: Tensor
    shift: Tensor

    @classmethod
    def diagonal(cls, scale: Tensor, shift: Tensor | None = None) -> Affine:
        """scale·x + shift per channel, (C,) each; no shift is 0."""
        return cls(torch.diag(scale), torch.zeros_like(scale) if shift is None else shift)

    @classmethod
    def identity(cls, channels: int) -> Affine:
        """What changes nothing."""
        return cls.diagonal(torch.ones(channels, dtype=torch.float64))

    @classmethod
    def centering(cls, channels: int) -> Affine:
        """I − 11ᵀ/C: takes the mean over the channels away."""
        identity = torch.eye(channels, dtype=torch.float64)
        return cls(identity - 1 / channels, torch.zeros(channels, dtype=torch.float64))

    def after(self, first: Affine) -> Affine:
        """This map of what `first` gives."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    def read_by(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """W(Mx + s) + b as W'x + b'; of a convolution too, if its windows meet no padding.

        Args:
            weight: (out, C), or (out, C, k, k).
            bias: (out,).
        """
        taps = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
        return self.scaling(weight), bias + taps @ self.shift

    def scaling(self, weight: Tensor) -> Tensor:
        """WM, the map without its shift: what zero padding leaves as it is."""
        return torch.einsum("oi...,ij->oj...", weight, self.matrix)

    def applied_to(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """M(Wx + b) + s as W'x + b', of a linear layer or any convolution.

        Args:
            weight: (C, in) or (C, in, k, k).
            bias: (C,).
        """
        return torch.einsum("ij,j...->i...", self.matrix, weight), self.matrix @ bias + self.shift


def exact(values: Tensor) -> Tensor:
    """The values in float64 on the CPU, without gradient."""
    return values.detach().to("cpu", torch.float64)
