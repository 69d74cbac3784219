"""What a model knows beside its weights."""

from __future__ import annotations

import json

import pytest
import torch

from effiseg.errors import ModelError
from effiseg.models.metadata import ModelMetadata

FULL = ModelMetadata(
    names=("road", "Straße"),
    palette=((1, 2, 3), (4, 5, 6)),
    label_mapping={7: 0, 8: 1, 9: 254},
    ignore_index=254,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    image_size=(360, 480),
    resize="fixed",
)


@pytest.mark.parametrize("metadata", [FULL, ModelMetadata.unnamed(3)])
def test_json_brings_it_back(metadata: ModelMetadata) -> None:
    assert ModelMetadata.from_dict(json.loads(json.dumps(metadata.to_dict()))) == metadata


def test_fields_left_out_take_their_defaults() -> None:
    assert ModelMetadata.from_dict({"names": ["a", "b"]}) == ModelMetadata(names=("a", "b"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": 1}, "found colour"),
        ({"mean": [1, 2]}, "cannot be read"),
        ({"resize": "stretch"}, "keep_ratio or fixed; found 'stretch'"),
        ({"label_mapping": {"a": 1}}, "cannot be read"),
        ({"image_size": 3}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        ModelMetadata.from_dict(FULL.to_dict() | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ["road"], "palette": None}, "2 classes or more; found one .a sigmoid's.: give the classifier"),
        ({"names": []}, "2 to 255 classes; found 0"),
        ({"names": [str(index) for index in range(256)]}, "2 to 255 classes; found 256"),
        ({"names": ["road", "road"]}, "names must differ; found road more than once"),
        ({"names": ["road", " "]}, "names must not be empty; found none for class 1"),
        ({"palette": [[1, 2, 3]]}, "a color for each of the 2 classes; found 1"),
        ({"palette": [[1, 2, 3], [4, 5, 256]]}, r"from 0 to 255; found \[4, 5, 256\]"),
        ({"ignore_index": 1}, "ignore_index must be from 2"),
        ({"ignore_index": 256}, "found 256"),
        ({"label_mapping": {"7": 2}}, "label_mapping must lead to a class 0 to 1 or to ignore_index; found 7: 2"),
        ({"mean": [0.1, float("nan"), 0.3]}, "mean must be finite"),
        ({"std": [0.4, 0, 0.6]}, r"std must be greater than 0 and finite; found \[0.4, 0.0, 0.6\]"),
        ({"std": [0.4, float("inf"), 0.6]}, "std must be"),
        ({"image_size": [360, 31]}, "sides from 32 to 16384"),
        ({"image_size": [360, 10**9]}, "sides from 32 to 16384"),
    ],
)
def test_values_that_no_image_could_be_read_by_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        ModelMetadata.from_dict(FULL.to_dict() | change)
    assert "\n" not in str(caught.value)


def test_names_are_required() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        ModelMetadata.from_dict({"ignore_index": 255})


def test_normalization_is_the_textbook_formula_in_the_models_layout() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    kept = images.clone()
    found = FULL.normalize(images)
    mean = torch.tensor(FULL.mean, dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor(FULL.std, dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(found, ((images.double() / 255 - mean) / std).float(), rtol=1e-6, atol=1e-6)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, kept)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8)], ids=["float", "no batch"]
)
def test_only_uint8_batches_are_normalized(images: torch.Tensor) -> None:
    with pytest.raises(ModelError, match="uint8 RGB"):
        FULL.normalize(images)
