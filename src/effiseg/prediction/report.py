"""Report of a prediction: what became of its sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class PredictionReport:
    """Outcome of the sources."""

    images: int = 0
    """Images and frames that were labelled."""
    skipped: int = 0
    """Images whose outputs were there already."""
    seconds: float = 0.0
    """From the first to the last of them."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File → why it was passed over, or is not whole."""
    areas: dict[str, dict[str, float]] = field(default_factory=dict)
    """Image → class → share of its pixels, 0..1, of the first images."""
    folder: Path = Path()
    """Where the outputs lie."""
