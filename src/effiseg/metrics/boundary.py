"""Boundary IoU (Cheng, Girshick, Dollár, Berg & Kirillov 2021): how well the contours lie, whatever a region's size.

For each class, IoU is taken of the pixels that lie in the class and within d of its contour, in truth and in
prediction. d is 2 % of the image's diagonal, and the contour's band is what d erosions with a 3x3 square take away. A
pixel stays under them exactly where its whole (2d+1)x(2d+1) neighbourhood has its class; so one minimum and one
maximum over that square find the bands of all classes at once. As in the paper's code, the image's edge is a contour.

Ignored pixels count nowhere, and make no contour: in truth and in prediction, neighbourhoods are judged by their
labelled pixels alone. Otherwise every hole in the labels would be a contour that the network cannot know.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
_BAND_RATIO = 0.02
"""d over the image's diagonal."""
_NO_CLASS = 255


def boundary_counts(
    prediction: UInt8Array, target: UInt8Array, num_classes: int, ignore_index: int = 255, ratio: float = _BAND_RATIO
) -> npt.NDArray[np.int64]:
    """Pixels of each class within its contour's band.

    Args:
        prediction: (H, W) uint8 classes; a value from `num_classes` on is no class.
        target: (H, W) uint8, classes or `ignore_index`.
        num_classes: K, at most 255.
        ignore_index: label of pixels that count nowhere.
        ratio: d over the diagonal.

    Returns:
        (3, K) int64: pixels that lie in the band of both, of the truth, and of the prediction. Summed over images,
        boundary IoU is first / (second + third - first).
    """
    distance = max(1, round(ratio * math.hypot(*target.shape)))
    labelled = target != ignore_index
    truth = np.where(labelled & in_band(target, labelled, distance), target, _NO_CLASS)
    found = np.where(labelled & in_band(prediction, labelled, distance), prediction, _NO_CLASS)
    both = truth[truth == found]
    return np.stack([np.bincount(part.reshape(-1), minlength=256)[:num_classes] for part in (both, truth, found)])


def in_band(labels: UInt8Array, labelled: npt.NDArray[np.bool_], distance: int) -> npt.NDArray[np.bool_]:
    """Where another labelled class, or the image's edge, lies within `distance` (chessboard).

    Args:
        labels: (H, W) uint8.
        labelled: (H, W), what counts.
        distance: pixels, at least 1.

    Returns:
        (H, W); meaningless where not labelled.
    """
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    # OpenCV's default border is neutral: it is larger than all for the minimum, smaller for the maximum.
    least = cv2.erode(np.where(labelled, labels, 255).astype(np.uint8), square)
    most = cv2.dilate(np.where(labelled, labels, 0).astype(np.uint8), square)
    band = np.asarray(least != most)
    band[:distance] = band[-distance:] = True
    band[:, :distance] = band[:, -distance:] = True
    return band
