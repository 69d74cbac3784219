"""Names of files as they are shown, and the ids that follow: what outputs are called."""

from __future__ import annotations

import hashlib

from effiseg.errors import DataError, is_shown

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""The ends of names of images."""
_LONGEST = 250
"""Bytes of an id, which suffixes are added to; file systems take 255."""
_HIDDEN = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN")
"""Folders that systems make beside a user's own files."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over below a folder that was named."""
    return name.startswith(".") or name in _HIDDEN


def clean_id(name: str) -> str:
    """An id from a file's name without its suffix; one part of a path and never more.

    What is no text (bytes that are no UTF-8, control characters, separators) is written as %XX, so that every file
    of results can hold it; a name of dots alone, which is a folder above, too. What is too long is cut and ends in a
    digest. A name of ordinary characters stays as it is.

    Raises:
        DataError: the name is empty.
    """
    if not name:
        raise DataError("a sample id holds at least one character; found a file with no name before its suffix")
    written = name if name.strip(".") else name.replace(".", "%2E")
    cleaned = "".join(sign if _is_text(sign) else _percent(sign) for sign in written)
    data = cleaned.encode()
    if len(data) <= _LONGEST:
        return cleaned
    digest = hashlib.blake2b(data, digest_size=6).hexdigest()
    return f"{data[: _LONGEST - len(digest) - 1].decode(errors='ignore')}~{digest}"


def _is_text(sign: str) -> bool:
    return sign not in "/\\" and is_shown(sign)


def _percent(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode(errors="surrogateescape"))
