"""Bad days of a disk: one line, nothing left that is not whole, and what the dead left is removed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from effiseg import files
from effiseg.errors import DataError, ResourceError
from effiseg.files import atomic_path, make_folder, remove_leftovers, require_room, write_text, writing

LIMITED = """
import resource, sys
from pathlib import Path
from effiseg.errors import ResourceError
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
out = Path(sys.argv[2])
try:
    match sys.argv[1]:
        case "text":
            from effiseg.files import write_text
            write_text(out, "x" * 3_000_000)
        case "checkpoint":
            import torch
            from effiseg.training.checkpointing import write_tensors
            write_tensors(out, {"a": torch.zeros(1_000_000)})
        case "weights":
            import torch
            from safetensors.torch import save_file
            from effiseg.files import atomic_path
            with atomic_path(out) as temporary:
                save_file({"a": torch.zeros(1_000_000)}, temporary)
        case "torch_export":
            from torch import nn
            from effiseg.engines.torch_export import TORCH_EXPORT
            from effiseg.files import writing
            import effiseg.engines.capture as capture
            import torch
            program = torch.export.export(nn.Linear(1000, 1000), (torch.zeros(1, 1000),))
            capture.capture = lambda *_: program
            class Record:
                input_size = batch_size = None
                def to_properties(self):
                    return {}
            with writing(out):
                TORCH_EXPORT.write(nn.Identity(), out, Record())
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("what", ["text", "checkpoint", "weights", "torch_export"])
def test_a_file_that_does_not_fit_is_one_line_and_the_old_one_stays(what: str, tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, what, str(out)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: cannot be written (File too large)")
    assert done.stdout.count("\n") == 1
    if what != "torch_export":  # whose folder the exporter removes
        assert out.read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_ways_of_a_path_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path, message in (
        (tmp_path / "file" / "a.txt", "File exists.*a file of that name is in the way"),
        (tmp_path / "file" / "b" / "a.txt", "a part of its path is a file"),
        (tmp_path / "folder", "a folder of that name is in the way"),
        (tmp_path / ("n" * 300), "File name too long.*choose a shorter name"),
        (Path("/proc/nowhere/a.txt"), "No such file or directory"),
    ):
        with pytest.raises(ResourceError, match=message) as caught:
            write_text(path, "x")
        assert str(path.parent) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (ValueError("a bug"), DataError("bad mask"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_path(tmp_path / "a"):
            raise error
    message = r"a: cannot be written \(No space left on device\); free space there"
    with pytest.raises(ResourceError, match=message), writing(tmp_path / "a"):
        raise RuntimeError("a library's words") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_what_dead_processes_left_is_removed_at_the_first_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = (
        "import os, sys; from effiseg.files import atomic_path\nwith atomic_path(sys.argv[1]): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", kill, str(tmp_path / "last.ckpt")], check=False)
    (dead,) = tmp_path.iterdir()
    assert dead.name.endswith(".partial")
    dead.with_name(f"{dead.name}.mp4").write_bytes(b"x")
    alive = tmp_path / f".a.{os.getppid()}-{files._HOST}-x.partial"
    elsewhere = tmp_path / ".a.1-00000000-x.partial"
    old = tmp_path / ".a.1-00000000-y.partial"
    for path in (alive, elsewhere, old):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    (tmp_path / f"{dead.name}.folder").mkdir()
    monkeypatch.setattr(files, "_swept", set())
    write_text(tmp_path / "a", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", alive.name, elsewhere.name])


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_what_an_ended_process_left_goes_although_nobody_asked_how_it_ended(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.read()
    path = tmp_path / f".a.{ended.pid}-{files._HOST}-x.partial"
    path.write_bytes(b"x")
    deadline = time.monotonic() + 20
    while path.exists() and time.monotonic() < deadline:  # its output ends a moment before it does
        remove_leftovers(tmp_path)
    assert not path.exists()
    ended.wait()


def test_own_leftovers_of_an_earlier_container_go_and_what_is_being_written_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        earlier = temporary.with_name(temporary.name.replace(".partial", "x.partial"))
        earlier.write_bytes(b"x")
        remove_leftovers(tmp_path)
        assert (temporary.exists(), earlier.exists()) == (True, False)


def test_room_is_asked_for(tmp_path: Path) -> None:
    make_folder(tmp_path / "b" / "c")
    require_room(tmp_path / "b", 1, "checkpoints")
    with pytest.raises(ResourceError, match=r"b: checkpoints need 1000000000000 MB, and the disk has \d+ MB free"):
        require_room(tmp_path / "b", 10**18, "checkpoints")
