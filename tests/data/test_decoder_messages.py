"""What libjpeg writes to the terminal, and what others write there meanwhile."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data.decoder_messages import without_jpeg_messages
from effiseg.data.image_file import decode_image


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A JPEG with rubbish in its data."""
    stream = io.BytesIO()
    smooth = np.add.outer(np.arange(200), np.arange(200)).astype(np.uint8)
    Image.fromarray(smooth).convert("RGB").save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    data[-200:-160] = b"\xff\xd9" * 20
    (tmp_path / "damaged.jpg").write_bytes(data)
    return tmp_path / "damaged.jpg"


def test_a_damaged_jpeg_is_decoded_without_a_word(damaged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = [threading.Thread(target=lambda: [decode_image(damaged) for _ in range(20)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(50):
        os.write(2, f"{number}\n".encode())
    for thread in threads:
        thread.join()
    os.write(2, b"end\n")
    assert capfd.readouterr().err.split() == [*map(str, range(50)), "end"]


def test_what_else_is_written_meanwhile_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    with without_jpeg_messages():
        os.write(2, b"one\nCorrupt JPEG data: premature end of data segment\ntwo\n")
        with without_jpeg_messages():
            os.write(2, b"Premature end of JPEG file\n")
        assert capfd.readouterr().err == "one\ntwo\n"
        os.write(2, b"three\n")
    assert capfd.readouterr().err == "three\n"
    with pytest.raises(KeyError), without_jpeg_messages():
        raise KeyError
    os.write(2, b"four\n")
    assert capfd.readouterr().err == "four\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_and_a_process_without_stderr_decode_too(damaged: Path) -> None:
    code = (
        "import os, sys\nfrom effiseg.data.decoder_messages import without_jpeg_messages\n"
        "from effiseg.data.image_file import decode_image\n"
        "with without_jpeg_messages():\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        decode_image(sys.argv[1]); os.write(2, b'child\\n'); os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "os.write(2, b'parent\\n'); os.close(2); decode_image(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, damaged], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "child\nparent\n")
