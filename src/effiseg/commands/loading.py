"""Libraries that take seconds to load, with a word to who waits."""

from __future__ import annotations

from importlib import import_module

from effiseg.progress import waiting


def load_pytorch() -> None:
    """Import torch."""
    with waiting("loading PyTorch"):
        import_module("torch")


def load_training() -> None:
    """Import all that training needs."""
    load_pytorch()
    with waiting("loading Lightning"):
        import_module("effiseg.runs")
