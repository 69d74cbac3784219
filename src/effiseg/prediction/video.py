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
from effiseg.errors import DataError, ResourceError, UsageError
from effiseg.files import atomic_path
from effiseg.visualization.label_colours import UInt8Array

# What FFmpeg says of damaged files it says on the terminal; here they are errors. It is read when a video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
DEFAULT_RATE = 25.0
"""Frames a second where the source does not say."""
_HIGHEST_RATE = 1000
_IRREGULAR = 0.25
"""Share of a frame's duration by which those of a constant rate differ at most."""
_COUNTED = (".mp4", ".m4v", ".mov")
"""Containers that list their frames; others say how long they last."""


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
        self.frames_read = 0
        """How many were read."""
        self._address = address
        self._first = self._last = 0.0
        self._regular = 0

    def read(self) -> UInt8Array | None:
        """The next frame, (H, W, 3) uint8 RGB; None at the end."""
        there, frame = self._capture.read()
        if not there:
            return None
        before, self._last = self._last, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._first = self._last if self.frames_read == 0 else self._first
        self._regular += abs((self._last - before) * self.rate - 1) < _IRREGULAR
        self.frames_read += 1
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    @property
    def seconds(self) -> float:
        """Time of what was read, by the source's own clock, from the beginning of the first frame to the last's end."""
        return self._last - self._first + 1 / self.rate

    def complaint(self) -> str:
        """What is missing of a file that has been read to its end, or nothing.

        A file that lists its frames must give them all. Of others the number is reckoned from the duration, which
        frames of different durations do not fit: they must also end too early, or be mostly of one duration.
        """
        missing = self.frames - self.frames_read
        if Path(self._address).suffix.lower() not in _COUNTED:
            ends_early = self.frames / self.rate - self.seconds > 1.5 / self.rate
            fits = ends_early or 2 * self._regular > self.frames_read
            missing = missing if fits and missing > max(1, self.frames // 50) else 0
        if missing <= 0:
            return ""
        return (
            f"{self._address}: a video should hold what it says; {self.frames_read} frames of {self.frames} could be "
            "read, it is cut off or damaged, and its outputs end there or lack some: copy or convert it again"
        )

    def close(self) -> None:
        """Give the source back."""
        self._capture.release()


class FrameWriter:
    """A VP9 file that takes frames of the size of its first one; sides are cut to even numbers.

    Args:
        path: an .mp4 file.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self.frames = 0
        """Frames written so far."""
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: UInt8Array) -> None:
        """Add a frame, (H, W, 3) uint8 RGB.

        Raises:
            UsageError: OpenCV cannot write such a file here.
        """
        if self._size is None:
            self._size = frame.shape[0], frame.shape[1]
        elif frame.shape[:2] != self._size:  # a stream may change it; OpenCV would drop the frame
            frame = np.asarray(cv2.resize(frame, self._size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        height, width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*"vp09")  # which browsers play, and whose encoder is free
            self._writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.rate, (width, height))
            if not self._writer.isOpened():
                raise UsageError(f"{self.path.parent}: OpenCV cannot write a VP9 video of {height}x{width} there")
        self._writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.release()

    def is_whole(self) -> bool:
        """Whether the closed file holds all frames; OpenCV says nothing of those that the disk did not take."""
        found = cv2.VideoCapture(str(self.path))
        try:
            last = self.frames - 1
            counted = found.isOpened() and found.get(cv2.CAP_PROP_FRAME_COUNT) == self.frames
            return counted and found.set(cv2.CAP_PROP_POS_FRAMES, last) and found.read()[0]
        finally:
            found.release()


@contextmanager
def whole_video(path: Path, rate: float, *, keep_when_stopped: bool) -> Iterator[FrameWriter]:
    """A writer whose file gets its name when it is whole, also where it was stopped if that is how it ends.

    Args:
        path: the .mp4 file.
        rate: frames a second.
        keep_when_stopped: Ctrl-C ends the video in good order, as for a source without an end; otherwise nothing is
            left of it.

    Raises:
        ResourceError: the system did not take all of it; nothing is left.
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
            if writer.frames and not writer.is_whole():
                raise ResourceError(
                    f"{path}: the system did not take the whole video, {writer.frames} frames; free space there, or "
                    "write to another folder"
                )
            os.replace(part, temporary)  # noqa: PTH105
        finally:
            part.unlink(missing_ok=True)
    if stopped is not None:
        raise stopped
