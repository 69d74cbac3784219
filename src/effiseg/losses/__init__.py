"""Supervised losses, one a file: pure functions over logits and targets."""

from effiseg.losses.combo import combo_loss
from effiseg.losses.cross_entropy import cross_entropy_loss
from effiseg.losses.dice import dice_loss
from effiseg.losses.dice_focal import dice_focal_loss
from effiseg.losses.focal import focal_loss
from effiseg.losses.ohem import ohem_loss
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.losses.tversky import focal_tversky_loss, tversky_loss

__all__ = [
    "Averaging",
    "PixelOptions",
    "combo_loss",
    "cross_entropy_loss",
    "dice_focal_loss",
    "dice_loss",
    "focal_loss",
    "focal_tversky_loss",
    "ohem_loss",
    "tversky_loss",
]
