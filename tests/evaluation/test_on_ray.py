"""What can be scored on a cluster; the counts of a real one are compared in tests/prediction/test_lake.py."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from effiseg.config.evaluation import EvaluationConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.python_data import PythonData
from effiseg.data.samples import list_samples
from effiseg.errors import UsageError
from effiseg.evaluation.on_ray import evaluate_on_ray


def test_every_sample_must_be_one_that_can_be_sent(colour_data: Path) -> None:
    """Also where the first ones are files."""
    spec = load_dataset_spec(colour_data)
    pairs = [(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))]
    own = PythonData(names=spec.names, val=pairs).spec()
    mixed = [*list_samples(spec, "val"), *list_samples(own, "val")]
    config = EvaluationConfig(model="none", data=str(colour_data), on="ray")
    with pytest.raises(UsageError, match=r"val\[0\] lives in this one: give data that lies in files"):
        evaluate_on_ray(config, "none", replace(own, listings={"val": partial(list, mixed)}))
