"""The kinds of DataError that a check of a data set tells apart when labels are read."""

from __future__ import annotations

from effiseg.errors import DataError


class MaskSizeError(DataError):
    """A mask is not as large as its image."""


class MaskColorError(DataError):
    """A mask holds colors where indices are wanted, or colors that mean nothing."""


class AnnotationError(DataError):
    """An annotation cannot be read or drawn."""
