"""Samples in shards, as a data set's description names them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.file_sample import FileSample
from effiseg.data.formats.base import MaskFormat
from effiseg.data.shards.listing import Maker, MemberNames, ShardSamples, list_shards, names_shards, shards_of
from effiseg.data.shards.member import ShardMember
from effiseg.errors import DataError


def labelled_shards(spec: DatasetSpec, split: str) -> ShardSamples:
    """The samples of a split whose entries are shards.

    Raises:
        DataError: other entries stand beside them, masks lie in one file for all, or as `list_shards`.
    """
    refuse_masks_that_do_not_fit(spec)
    names = MemberNames(spec.masks.extensions, spec.image_suffix, spec.mask_suffix)
    return split_of_shards(spec, split, spec.splits[split], partial(_with_mask, spec.masks), names)


def refuse_masks_that_do_not_fit(spec: DatasetSpec) -> None:
    """Refuse masks that are no files of their own.

    Raises:
        DataError: they are not.
    """
    if not spec.masks.fits_shards:
        raise DataError(
            f"{spec.source}: in shards each image has a mask of its own, which says all; masks of {spec.masks.name} "
            "are not so: make label PNGs of them with `effiseg data convert` before `effiseg data shard`"
        )


def split_of_shards(
    spec: DatasetSpec, split: str, entries: Sequence[str], make: Maker, names: MemberNames
) -> ShardSamples:
    """The samples in the shards that entries name.

    Args:
        spec: the data set.
        split: what names them, for errors.
        entries: all of them shards.
        make: see `list_shards`.
        names: see `list_shards`.

    Raises:
        DataError: other entries stand beside them, or as `list_shards`.
    """
    if others := [entry for entry in entries if not names_shards(entry)]:
        raise DataError(f"{spec.source}: {split} must be shards or files; found both, as {others[0]}: leave one out")
    found = [address for entry in entries for address in shards_of(spec.root, entry, spec.source)]
    return list_shards(list(dict.fromkeys(found)), make, names, f"{spec.source}: {split}")


def _with_mask(masks: MaskFormat, name: str, image: ShardMember, mask: ShardMember) -> FileSample:
    return FileSample(name, image, mask, masks)
