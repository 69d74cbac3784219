"""Whether an answer lies near enough to the reference's for its time to be set beside it."""

from __future__ import annotations

from effiseg.benchmark.contender import Contender
from effiseg.errors import ModelError
from effiseg.inference.agreement import Agreement

# float32 on the CPU differs by the order of sums alone; a GPU's convolutions may run in TF32.
MOST_ERROR = {"cpu": 1e-4, "cuda": 1e-2}
LEAST_AGREEMENT = {"cpu": 0.999, "cuda": 0.98}


def check(contender: Contender, agreement: Agreement) -> None:
    """Refuse to time float32 contenders that do not compute the same.

    Raises:
        ModelError: by how much they differ.
    """
    if contender.precision != "float32":
        return
    error, labels = agreement
    if error is not None and not error <= MOST_ERROR[contender.device]:
        raise ModelError(
            f"{contender.name}: only equal networks are timed side by side; its logits differ by {error:.1e} of "
            f"their range from those of the network as trained, more than {MOST_ERROR[contender.device]:.0e}"
        )
    if not labels >= LEAST_AGREEMENT[contender.device]:
        raise ModelError(
            f"{contender.name}: only equal networks are timed side by side; {100 * (1 - labels):.2f} % of its "
            "labels differ from those of the network as trained"
        )
