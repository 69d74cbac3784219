"""Shards whose bytes are no longer those that were written."""

from __future__ import annotations

import hashlib

from effiseg.data.regular_file import open_regular
from effiseg.data.shards.index import load_index
from effiseg.data.shards.remote import local_copy, shown
from effiseg.errors import DataError


def damage_of(shard: str) -> str | None:
    """One line about a shard that differs from its index; None where it does not, or nothing is known of its bytes.

    Args:
        shard: path or address.
    """
    try:
        index = load_index(shard)
        if index.digest is None:
            return None
        with open_regular(local_copy(shard), "shard") as stream:
            digest = hashlib.blake2b(digest_size=32)
            while block := stream.read(2**22):
                digest.update(block)
    except (DataError, OSError) as error:
        return str(error)
    if digest.hexdigest() == index.digest:
        return None
    return (
        f"{shown(shard)}: must have the bytes that it was written with; found others: copy it again, or write it anew "
        "with `effiseg data shard`"
    )
