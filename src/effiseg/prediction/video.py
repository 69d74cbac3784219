"""Reading frames, and writing an overlay video at the source's frame rate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from effiseg.data.regular_file import refuse_irregular
from effiseg.errors import DataError, UsageError
from effiseg.files import atomic_path
from effiseg.visualization.label_colours import UInt8Array

DEFAULT_RATE = 25.0
"""Frames a second where the source does not say."""
_HIGHEST_RATE = 1000


class FrameReader:
    """The frames of a video file, webcam or stream.

    Args:
        address: path, URL, or the number of a webcam.

    Raises:
        DataError: it cannot be opened, or is a FIFO, socket or device.
    """

    def __init__(self, address: str) -> None:
        if not address.isdigit() and "://" not in address:
            refuse_irregular(address, "video")
        self._capture = cv2.VideoCapture(int(address)) if address.isdigit() else cv2.VideoCapture(address)
        if not self._capture.isOpened():
            self._capture.release()
            raise DataError(f"{address}: cannot be opened as a video (is it one, and can OpenCV decode it?)")
        rate, frames = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= _HIGHEST_RATE else DEFAULT_RATE
        """Frames a second."""
        self.frames = int(frames) if math.isfinite(frames) and frames > 0 else 0
        """How many frames the source says it has; 0 where it does not know."""

    def read(self) -> UInt8Array | None:
        """The next frame, (H, W, 3) uint8 RGB; None at the end."""
        there, frame = self._capture.read()
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8) if there else None

    def close(self) -> None:
        """Give the source back."""
        self._capture.release()


class FrameWriter:
    """An MPEG-4 file that takes frames of the size of its first one; sides are cut to even numbers.

    Args:
        path: an .mp4 file.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self.frames = 0
        """Frames written so far."""
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: UInt8Array) -> None:
        """Add a frame, (H, W, 3) uint8 RGB.

        Raises:
            UsageError: OpenCV cannot write such a file here.
        """
        height, width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.rate, (width, height))
            if not self._writer.isOpened():
                raise UsageError(f"{self.path.parent}: OpenCV cannot write an MPEG-4 video of {height}x{width} there")
        self._writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.release()


@contextmanager
def whole_video(path: Path, rate: float, *, keep_when_stopped: bool) -> Iterator[FrameWriter]:
    """A writer whose file gets its name when it is whole, also where it was stopped if that is how it ends.

    Args:
        path: the .mp4 file.
        rate: frames a second.
        keep_when_stopped: Ctrl-C ends the video in good order, as for a source without an end; otherwise nothing is
            left of it.
    """
    stopped: KeyboardInterrupt | None = None
    with atomic_path(path) as temporary:
        # The suffix tells OpenCV the format.
        part = temporary.with_name(f"{temporary.name}.mp4")
        writer = FrameWriter(part, rate)
        try:
            try:
                yield writer
            except KeyboardInterrupt as error:
                if not keep_when_stopped or not writer.frames:
                    raise
                stopped = error
            finally:
                writer.close()
            os.replace(part, temporary)  # noqa: PTH105
        finally:
            part.unlink(missing_ok=True)
    if stopped is not None:
        raise stopped
