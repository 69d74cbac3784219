"""What a SOURCE means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from effiseg.errors import DataError, UsageError
from effiseg.prediction.sources import Source, find_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.jpg", "b ü/1.JPG", "b ü/2.png", "b ü/2.bmp", "b ü/notes.txt", "b ü/.hidden.png", "drive.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def ids(sources: list[Source]) -> list[str]:
    return [source.id for source in sources]


def test_a_folder_with_its_subfolders(folder: Path) -> None:
    found = find_sources([str(folder)])
    # Equal names stay apart by their folders, and by their suffix where that is all that differs.
    assert ids(found) == ["a/1", "b ü/1", "b ü/2.bmp", "b ü/2.png", "drive"]
    assert [source.kind for source in found] == ["image"] * 4 + ["video"]
    assert Path(found[0].address) == folder / "a" / "1.jpg"


def test_outputs_of_an_earlier_run_are_no_source(folder: Path) -> None:
    assert ids(find_sources([str(folder)], folder / "b ü")) == ["a/1", "drive"]


def test_outputs_of_other_runs_are_no_source_unless_they_are_named(folder: Path) -> None:
    for name in ("old/labels/1.png", "old/overlay/1.jpg", "old/overlay/x/c.mp4", "old/notes/1.png", "labels/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    before = ids(find_sources([str(folder)]))
    assert "old/labels/1" in before
    (folder / "old" / "prediction.json").write_text("{}")  # of other software
    assert ids(find_sources([str(folder)])) == before
    (folder / "old" / "prediction.json").write_text('{"settings": {}}')
    for word in (folder, folder / "**" / "*.*"):
        noted: list[str] = []
        found = ids(find_sources([str(word)], outputs=noted))
        assert [name for name in before if name not in found] == ["old/labels/1", "old/overlay/1", "old/overlay/x/c"]
        assert len(noted) == 3
    assert ids(find_sources([str(folder / "old" / "overlay")])) == ["1", "x/c"]
    assert ids(find_sources([str(folder / "old" / "overlay" / "*.jpg")])) == ["1"]
    assert ids(find_sources([str(folder / "old" / "labels" / "1.png")])) == ["1"]


def test_ids_that_stay_equal_are_refused(folder: Path) -> None:
    for name in ("x.jpg", "x.png", "x.jpg.png"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"x\.jpg.*must have different names; those of .*x\.jpg.* would be the same"):
        find_sources([str(folder)])


def test_one_file_a_glob_and_several_words(folder: Path) -> None:
    assert ids(find_sources([str(folder / "a" / "1.jpg")])) == ["1"]
    assert ids(find_sources([str(folder / "*" / "1.*")])) == ["a/1", "b ü/1"]
    assert ids(find_sources([str(folder / "**" / "*.png")])) == ["b ü/2"]
    assert ids(find_sources([str(folder / "a" / "1.jpg"), str(folder / "b ü" / "1.JPG")])) == ["a/1", "b ü/1"]


def test_an_existing_name_is_no_pattern(folder: Path) -> None:
    (folder / "x[1].png").write_bytes(b"x")
    assert ids(find_sources([str(folder / "x[1].png")])) == ["x[1]"]


def test_webcams_and_streams(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_sources(["0"]) == [Source("webcam0", "0", "stream")]
    (stream,) = find_sources(["rtsp://user:secret@camera.local:554/live?x=1"])
    assert (stream.id, stream.kind) == ("camera.local_554_live", "stream")
    monkeypatch.chdir(folder / "a")
    (folder / "a" / "7").mkdir()
    (folder / "a" / "7" / "f.png").write_bytes(b"x")
    assert ids(find_sources(["7"])) == ["f"]
    with pytest.raises(UsageError, match="alone"):
        find_sources(["0", str(folder)])


@pytest.mark.parametrize("word", ["nowhere", "nowhere/*.png", "empty"])
def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^(nowhere|empty)"):
        find_sources([word])


def test_hidden_folders_are_passed_over_and_noted(folder: Path) -> None:
    for name in (".old/1.jpg", "__MACOSX/1.jpg", "a/@eaDir/1.jpg"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(b"x")
    for word in (folder, folder / "**" / "*.*"):
        noted: list[str] = []
        assert ids(find_sources([str(word)], passed_over=noted)) == ["a/1", "b ü/1", "b ü/2.bmp", "b ü/2.png", "drive"]
        assert len(noted) == 4
    assert ids(find_sources([str(folder / ".old")])) == ["1"]


@pytest.mark.timeout(30)
def test_links_into_parents_end(folder: Path) -> None:
    for index in range(6):
        (folder / "a" / f"up{index}").symlink_to(folder)
    for word in (folder, folder / "**" / "*.jpg"):
        assert ids(find_sources([str(word)])).count("a/1") == 1


def test_outputs_stay_below_their_folder(folder: Path) -> None:
    odd = folder / "b ü" / os.fsdecode(b"caf\xe9\n.png")
    odd.write_bytes(b"x")
    (folder / "b ü" / "a\\..\\b.png").write_bytes(b"x")
    found = ids(find_sources([str(folder / "a" / ".." / "*" / ".." / "b ü" / "*.png")]))
    found += ids(find_sources([str(folder / "*" / ".." / "a" / "*.jpg"), str(folder / "b ü")]))
    assert "b ü/caf%E9%0A" in found
    assert "b ü/a%5C..%5Cb" in found
    for name in found:
        assert ".." not in Path(name).parts
        assert not Path(name).is_absolute()
        name.encode()


@pytest.mark.timeout(30)
def test_a_fifo_is_no_source(folder: Path) -> None:
    for name in ("a/x.png", "x.mp4"):
        os.mkfifo(folder / name)
        with pytest.raises(DataError, match="must be a regular file; found a FIFO"):
            find_sources([str(folder / name)])
    from effiseg.prediction.video import FrameReader

    with pytest.raises(DataError, match="must be a regular file; found a FIFO"):
        FrameReader(str(folder / "x.mp4"))
