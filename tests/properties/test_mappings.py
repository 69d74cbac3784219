"""Label mappings, ids and metadata: there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from effiseg.data.classes import Classes
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.names import clean_id
from effiseg.data.reading import map_labels
from effiseg.errors import DataError, UsageError, printable
from effiseg.files import parse_json, parse_yaml, read_json, read_yaml, write_json, write_yaml
from effiseg.models.metadata import ModelMetadata
from effiseg.prediction.raw_ids import raw_id_table

NAMES = ("a", "b", "c")
PALETTE = ((0, 0, 0), (1, 1, 1), (2, 2, 2))
RAW = st.integers(0, 300)
MAPPINGS = st.dictionaries(RAW, st.sampled_from([0, 1, 2, 255]), min_size=1, max_size=20)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def classes_of(mapping: dict[int, int] | None) -> Classes:
    return Classes(source=Path("data.yaml"), names=NAMES, ignore_index=255, label_mapping=mapping, palette=PALETTE)


@given(MAPPINGS, arrays(np.uint16, (5, 7), elements=RAW), st.sampled_from([np.uint8, np.uint16, np.int32]))
def test_a_mapping_is_a_look_up_of_every_pixel(mapping: dict[int, int], raw: np.ndarray, kind: type) -> None:
    raw = raw.astype(kind)
    labels, unlisted = map_labels(raw, classes_of(mapping), "mask.png")
    assert labels.tolist() == [[mapping.get(value, 255) for value in row] for row in raw.tolist()]
    foreign = [value for value in raw.reshape(-1).tolist() if value not in mapping and value != 255]
    assert unlisted == {value: foreign.count(value) for value in foreign}


@given(arrays(np.uint8, (5, 7)))
def test_without_a_mapping_values_are_classes_or_refused(raw: np.ndarray) -> None:
    fine = bool(np.isin(raw, [0, 1, 2, 255]).all())
    try:
        labels, unlisted = map_labels(raw, classes_of(None), "mask.png")
        assert fine
        assert np.array_equal(labels, raw)
        assert unlisted == {}
    except DataError as error:
        assert not fine
        assert str(error).startswith("mask.png: ")


@given(st.integers(0, 400), st.integers(0, 30), st.integers(0, 2))
def test_a_range_is_its_values(tmp_path: Path, first: int, more: int, target: int) -> None:
    common = "path: .\ntrain: images\nnames: [a, b, c]\nlabel_mapping: "
    file = tmp_path / "data.yaml"
    file.write_text(f"{common}{{{first}-{first + more}: ignore_label, {first + more + 1}: {target}}}\n")
    expected = dict.fromkeys(range(first, first + more + 1), 255) | {first + more + 1: target}
    assert load_dataset_spec(file).label_mapping == expected


@given(
    st.lists(st.integers(0, 254), min_size=3, max_size=3, unique=True),
    arrays(np.uint8, (4, 4), elements=st.sampled_from([0, 1, 2])),
)
def test_raw_ids_lead_back_to_the_classes(values: list[int], labels: np.ndarray) -> None:
    mapping = {value: index for index, value in enumerate(values)}
    raw = raw_id_table(ModelMetadata(names=NAMES, label_mapping=mapping))[labels]
    assert np.array_equal(map_labels(raw, classes_of(mapping), "mask.png").label, labels)


@given(
    st.lists(TEXT.filter(str.strip), min_size=3, max_size=5, unique=True), st.none() | MAPPINGS,
    st.none() | st.tuples(st.integers(32, 999), st.integers(32, 999)),
    st.tuples(*[st.floats(0, 1)] * 3), st.tuples(*[st.floats(0.01, 2)] * 3),
)  # fmt: skip
def test_metadata_survives_json(tmp_path: Path, names, mapping, size, mean, std) -> None:
    metadata = ModelMetadata(
        names=tuple(names), label_mapping=mapping, image_size=size, mean=mean, std=std, ignore_index=255,
        palette=tuple((index, 0, 255) for index in range(len(names))),
    )  # fmt: skip
    write_json(tmp_path / "m.json", metadata.to_dict())
    assert ModelMetadata.from_dict(read_json(tmp_path / "m.json")) == metadata


@given(st.dictionaries(TEXT, PLAIN, min_size=1, max_size=4))
def test_plain_values_survive_json_and_yaml(tmp_path: Path, value: dict[str, object]) -> None:
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    write_yaml(tmp_path / "v.yaml", value)
    assert read_yaml(tmp_path / "v.yaml") == value


@given(st.text(max_size=60))
def test_any_text_is_plain_values_or_one_error(text: str) -> None:
    for parse in (parse_json, parse_yaml):
        try:
            parse(text, "f")
        except UsageError as error:
            assert "\n" not in str(error)


@given(
    st.text(min_size=1, max_size=300)
    | st.binary(min_size=1, max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
def test_an_id_is_one_part_of_a_path(name: str) -> None:
    cleaned = clean_id(name)
    assert cleaned.strip(".")
    assert not set("/\\\0\n") & set(cleaned)
    assert len(cleaned.encode()) <= 250
    assert clean_id(cleaned) == cleaned
    assert printable(cleaned) == cleaned
