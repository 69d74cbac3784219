"""The streamed confusion matrix and the measures that follow from it."""

from effiseg.metrics.confusion_matrix import (
    ConfusionMatrix,
    class_iou,
    confusion_counts,
    mean_accuracy,
    mean_iou,
    mean_iou_of_present,
    pixel_accuracy,
)

__all__ = [
    "ConfusionMatrix",
    "class_iou",
    "confusion_counts",
    "mean_accuracy",
    "mean_iou",
    "mean_iou_of_present",
    "pixel_accuracy",
]
