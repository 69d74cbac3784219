"""Samples that are drawn while they are read: no files, and another picture at every place of every epoch."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from effiseg.data.drawn_source import DrawnSource
from effiseg.data.sample import PairSample, Sample
from effiseg.data.transforms import UInt8Array

_POOL_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _DrawnSample(PairSample):
    """A place of a drawn split; its paths only name it."""

    source: DrawnSource
    """Its source."""
    split: str
    """train, val or test."""
    place: int
    """Place in the split."""
    seed: int = 0
    """Seed of the run that trains on it."""
    epoch: int = 0
    """Epoch, from 0."""

    def of_epoch(self, seed: int, epoch: int) -> _DrawnSample:
        """The sample at this place of a run's epoch."""
        return replace(self, seed=seed, epoch=epoch)

    @property
    def number(self) -> int:
        """The picture's number in its split, over all epochs."""
        different = self.source.different(self.split)
        return self.epoch * different + self.place % different

    def fetch(self) -> tuple[UInt8Array, UInt8Array]:
        """Image (H, W, 3) uint8 RGB and label (H, W) uint8, index into `source.names` or 255."""
        if self.source.reuse == 1 or self.split != "train":
            return self.source.draw(self.seed, self.split, self.number)
        return _pool.take(self.source, self.seed, self.split, self.number)


class _Pool:
    """The pictures drawn last by this process, for places that show them again; it changes no sample."""

    def __init__(self) -> None:
        self.pairs: OrderedDict[object, tuple[UInt8Array, UInt8Array]] = OrderedDict()
        self.bytes = 0

    def take(self, source: DrawnSource, seed: int, split: str, number: int) -> tuple[UInt8Array, UInt8Array]:
        key = (source, seed, split, number)
        pair = self.pairs.get(key)
        if pair is None:
            pair = source.draw(seed, split, number)
            for array in pair:
                array.flags.writeable = False
            self.pairs[key] = pair
            self.bytes += sum(array.nbytes for array in pair)
            while self.bytes > _POOL_BYTES:
                self.bytes -= sum(array.nbytes for array in self.pairs.popitem(last=False)[1])
        return pair


_pool = _Pool()


def drawn_samples(source: DrawnSource, split: str) -> list[Sample]:
    """The places of a split, named by their numbers."""
    names = [f"{split}{place:07d}" for place in range(dict(source.counts)[split])]
    return [
        _DrawnSample(name, Path(f"drawn/{name}"), Path(f"drawn/{name} label"), source, split, place)
        for place, name in enumerate(names)
    ]
