"""Supervised losses, one a file: pure functions over logits and targets, and modules that hold options."""

from effiseg.losses.combo import ComboLoss, combo_loss
from effiseg.losses.cross_entropy import CrossEntropyLoss, cross_entropy_loss
from effiseg.losses.dice import DiceLoss, dice_loss
from effiseg.losses.dice_focal import DiceFocalLoss, dice_focal_loss
from effiseg.losses.focal import FocalLoss, focal_loss
from effiseg.losses.tversky import FocalTverskyLoss, TverskyLoss, focal_tversky_loss, tversky_loss

__all__ = [
    "ComboLoss",
    "CrossEntropyLoss",
    "DiceFocalLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "TverskyLoss",
    "combo_loss",
    "cross_entropy_loss",
    "dice_focal_loss",
    "dice_loss",
    "focal_loss",
    "focal_tversky_loss",
    "tversky_loss",
]
