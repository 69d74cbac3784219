from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from effiseg.data.parallel import map_in_processes
from effiseg.errors import DataError, ResourceError


def square(number: int) -> int:
    return number * number


def process_of(number: int) -> int:
    return os.getpid()


def refuse_70(number: int) -> int:
    if number >= 70:
        raise DataError(f"{number}: too many")
    return number


def die_at_70(number: int) -> int:
    if number == 70:
        os._exit(9)
    return number


@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    told: list[tuple[int, int]] = []
    squares = list(map_in_processes(square, range(count), lambda done, total: told.append((done, total)), 2))
    assert squares == [number * number for number in range(count)]
    assert told == [(done, count) for done in range(1, count + 1)]


def test_other_processes_do_the_work_where_it_is_worth_it() -> None:
    assert set(map_in_processes(process_of, range(5), processes=2)) == {os.getpid()}
    assert set(map_in_processes(process_of, range(200), processes=1)) == {os.getpid()}
    assert os.getpid() not in set(map_in_processes(process_of, range(200), processes=2))


def test_the_first_error_comes_through() -> None:
    with pytest.raises(DataError, match=r"^70: too many$"):
        list(map_in_processes(refuse_70, range(200), processes=2))


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(ResourceError, match="ended by the system") as caught:
        list(map_in_processes(die_at_70, range(200), processes=2))
    assert "\n" not in str(caught.value)


SLOW = """
import os, sys, time
from effiseg.data.parallel import map_in_processes
def slow(number):
    if number == 0:
        print(os.getpid(), flush=True)
    time.sleep(0.05)
    return number
if __name__ == "__main__":
    list(map_in_processes(slow, range(100000), processes=2))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    parent = subprocess.Popen([sys.executable, tmp_path / "slow.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while _runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether a process lives; one that ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CUT_OFF = """
import multiprocessing.process, signal
from effiseg.data.parallel import map_in_processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
start = multiprocessing.process.BaseProcess.start
def cut_off(process):
    start(process)
    signal.raise_signal(signal.SIGINT)
multiprocessing.process.BaseProcess.start = cut_off
try:
    list(map_in_processes(abs, range(200), processes=2))
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_while_processes_start_leaves_none() -> None:
    """Those that had started would wait for work for ever, and their parent for them."""
    done = subprocess.run([sys.executable, "-c", CUT_OFF], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


DIES_AT_START = """
import os, signal, sys, time
from effiseg.data import parallel
from effiseg.errors import ResourceError
start = parallel._start
def dies_or_is_slow():
    try:
        os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))
    except FileExistsError:  # the others are asked to end before they have come far
        while signal.SIGTERM not in signal.sigpending():
            time.sleep(0.01)
        start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
parallel._start = dies_or_is_slow
try:
    list(parallel.map_in_processes(abs, range(2000), processes=4))
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked there")
def test_a_process_that_dies_while_others_start_is_one_line(tmp_path: Path) -> None:
    """One that swallows the signal to end is waited for without end: it must be pending until it can be obeyed."""
    words = [sys.executable, "-c", DIES_AT_START, str(tmp_path / "first")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a process that read files was ended by the system")
