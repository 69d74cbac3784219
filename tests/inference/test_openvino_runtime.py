"""What OpenVINO does to the process it runs in."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

SIGNALLED = """
import faulthandler, os, signal
import numpy as np
from openvino import Model, opset8
from effiseg.engines.openvino import compile_network, openvino_core
faulthandler.enable()  # so that handlers run on a stack of their own, as they do in a test
entry = opset8.parameter([1, 4], np.float32)
network = Model([opset8.relu(entry)], [entry])
first = compile_network(network, 1, "f32")
second = compile_network(network, 1, "f32")
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
assert openvino_core("a test") is openvino_core("another")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO changes the signal stack on Linux")
def test_signals_are_handled_after_networks_came_and_went() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_threads_of_a_part_of_the_cores_stay_where_the_system_puts_them() -> None:
    """Else those of several processes, a core each, would all stand on the first one."""
    import numpy as np
    from openvino import Model, opset8

    from effiseg.engines.openvino import compile_network
    from effiseg.environment import available_cores

    entry = opset8.parameter([1, 4], np.float32)
    network = Model([opset8.relu(entry)], [entry])
    few = max(1, available_cores() - 1)
    assert compile_network(network, few, "f32").get_property("ENABLE_CPU_PINNING") == (few == available_cores())
