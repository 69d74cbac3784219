"""Videos that are whole, cut off and damaged, and overlay videos that the system does not take."""

from __future__ import annotations

import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from effiseg.errors import DataError, ResourceError
from effiseg.prediction.video import FrameReader, whole_video

RATE = 12.5


def write(path: Path, frames: int, code: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), RATE, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {code}")
    generator = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(cv2.resize(generator.integers(0, 256, (6, 8, 3)).astype(np.uint8), (64, 48)))
    writer.release()
    return path


def read(path: Path) -> FrameReader:
    reader = FrameReader(str(path))
    while reader.read() is not None:
        pass
    reader.close()
    return reader


def write_overlay(path: Path, frames: list[np.ndarray]) -> None:
    with whole_video(path, RATE, keep_when_stopped=False) as video:
        for frame in frames:
            video.write(frame)


@pytest.mark.parametrize("frames", [1, 7, 60])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv"])
def test_nothing_is_said_of_a_whole_video(name: str, frames: int, tmp_path: Path) -> None:
    reader = read(write(tmp_path / name, frames))
    assert (reader.frames, reader.frames_read, reader.complaint()) == (frames, frames, "")
    assert reader.seconds == pytest.approx(frames / RATE, abs=0.01)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv"])
@pytest.mark.parametrize("fault", ["cut", "zeros", "noise"])
def test_frames_that_are_missing_are_counted(name: str, fault: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, 60)
    data, length = path.read_bytes(), path.stat().st_size
    middle = {"cut": b"", "zeros": bytes(length // 10), "noise": np.random.default_rng(1).bytes(length // 10)}[fault]
    path.write_bytes(data[: length // 2] + middle + (b"" if fault == "cut" else data[length // 2 + len(middle) :]))
    if fault == "cut" and name in ("a.mp4", "a.mov"):  # their index is at the end
        with pytest.raises(DataError, match="cannot be opened as a video"):
            read(path)
        return
    reader = read(path)
    assert 0 < reader.frames_read < 60
    assert f"{reader.frames_read} frames of 60 could be read" in reader.complaint()


def test_frames_of_different_durations_are_no_damage(tmp_path: Path) -> None:
    reader = FrameReader(str(write(tmp_path / "a.mkv", 20)))
    reader.frames, reader.rate = 40, 2 * RATE  # as a container says whose rate is the highest
    while reader.read() is not None:
        pass
    reader.close()
    assert reader.complaint() == ""


def test_a_video_that_the_system_does_not_take_never_gets_its_name(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(ResourceError, match=r"a\.mp4: cannot be written \(File too large\)"):
            write_overlay(tmp_path / "a.mp4", [frame] * 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_change_their_size_are_all_there(tmp_path: Path) -> None:
    write_overlay(tmp_path / "a.mp4", [np.zeros((side, side, 3), np.uint8) for side in (64, 64, 48, 80)])
    assert read(tmp_path / "a.mp4").frames_read == 4
