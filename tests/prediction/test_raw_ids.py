"""The way back from classes to the values of masks."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.reading import map_labels
from effiseg.errors import UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.prediction.raw_ids import raw_id_table


def test_cityscapes_there_and_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = load_dataset_spec("cityscapes", tmp_path_factory.mktemp("cityscapes"))
    table = raw_id_table(ModelMetadata(names=spec.names, label_mapping=spec.label_mapping))
    raw = np.array([[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]], np.uint8)
    classes, _ = map_labels(raw, spec, "mask")
    assert classes.tolist() == [list(range(19))]
    assert np.array_equal(table[classes], raw)


def test_without_a_mapping_classes_are_the_values() -> None:
    assert np.array_equal(raw_id_table(ModelMetadata(names=("a", "b"))), np.arange(256))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({4: 0, 5: 1, 9: 1, 0: 255}, r"class 1 \(b\) 5 and 9 collide"),
        ({4: 0, 0: 255}, r"class 1 \(b\) none"),
        ({4: 0, 300: 1}, r"class 1 \(b\) has 300"),
        ({4: 0, -1: 1}, r"class 1 \(b\) has -1"),
    ],
)
def test_mappings_without_a_way_back(mapping: dict[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        raw_id_table(ModelMetadata(names=("a", "b"), label_mapping=mapping))
