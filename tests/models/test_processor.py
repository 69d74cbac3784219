"""The processor's file: read as transformers means it, written so that transformers means what we mean."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.errors import ModelError, UsageError
from effiseg.export.verification import made_up_images
from effiseg.inference.predictor import Predictor
from effiseg.models.metadata import IMAGENET_MEAN, IMAGENET_STD, ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.processor import processor_config, with_processor
from effiseg.models.segformer import SegFormer

PLAIN = ModelMetadata(names=("road", "sky", "car"))
OWN = replace(PLAIN, image_size=(64, 96), mean=(0.1, 0.2, 0.3), label_mapping={7: 0, 8: 1, 9: 2})


def read(folder: Path, plain: dict[str, Any], metadata: ModelMetadata = PLAIN, *, own: bool = False) -> ModelMetadata:
    (folder / "preprocessor_config.json").write_text(json.dumps(plain))
    return with_processor(metadata, folder, own=own)


@pytest.mark.parametrize(
    ("plain", "changed"),
    [
        ({}, {"image_size": (512, 512), "resize": "bilinear"}),
        ({"size": 100}, {"image_size": (100, 100), "resize": "bilinear"}),
        ({"size": [64, 96]}, {"image_size": (64, 96), "resize": "bilinear"}),
        ({"size": {"height": 64, "width": 96}, "resample": 3}, {"image_size": (64, 96), "resize": "bicubic"}),
        ({"size": {"shortest_edge": 64}}, {"image_size": None}),
        ({"do_resize": False}, {"image_size": None}),
        ({"do_normalize": False, "size": 64}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"do_normalize": None, "size": 64}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"image_mean": 0.5, "image_std": [1, 2, 3], "size": 64}, {"mean": (0.5, 0.5, 0.5), "std": (1, 2, 3)}),
        ({"do_rescale": False, "size": 64, "image_mean": 51, "image_std": 255}, {"mean": (0.2,) * 3, "std": (1,) * 3}),
        ({"rescale_factor": 2 / 255, "do_normalize": False}, {"mean": (0, 0, 0), "std": (0.5, 0.5, 0.5)}),
        ({"do_reduce_labels": True}, {"label_mapping": {0: 255, 1: 0, 2: 1, 3: 2}}),
        ({"reduce_labels": True}, {"label_mapping": {0: 255, 1: 0, 2: 1, 3: 2}}),
        ({"do_center_crop": True, "crop_size": 8, "do_pad": True}, {"image_size": (512, 512)}),
    ],
)
def test_what_it_states_is_honored(tmp_path: Path, plain: dict[str, Any], changed: dict[str, Any]) -> None:
    found = read(tmp_path, plain)
    for name, value in changed.items():
        expected = pytest.approx(value) if name in ("mean", "std") else value
        assert getattr(found, name) == expected, name
    if "mean" not in changed:
        assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"image_processor_type": "BeitImageProcessor"}, "is SegformerImageProcessor; found 'BeitImageProcessor'"),
        ({"size": {"longest_edge": 64}}, "size must be a number, height and width, or shortest_edge"),
        ({"size": None}, "found None"),
        ({"size": [64, 64, 64]}, "size must be"),
        ({"size": {"height": 64, "width": -1}}, "size must be"),
        ({"size": "64"}, "size must be"),
        ({"resample": 7}, "0 to 5; found 7"),
        ({"image_mean": None}, "image_mean must be 3 numbers; found None"),
        ({"image_mean": [0.5, 0.5]}, "image_mean must be 3 numbers"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std must be greater than 0"),
        ({"rescale_factor": 0}, "must be greater than 0; found 0"),
        ({"rescale_factor": "1/255"}, "rescale_factor must be a number"),
        ({"do_resize": "no"}, "do_resize must be true or false; found 'no'"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_file(tmp_path: Path, plain: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        read(tmp_path, plain)
    assert str(caught.value).startswith(str(tmp_path / "preprocessor_config.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [OWN, PLAIN, replace(OWN, resize="fixed"), replace(OWN, resize="box")])
def test_our_own_file_changes_nothing(tmp_path: Path, metadata: ModelMetadata) -> None:
    assert read(tmp_path, processor_config(metadata), metadata, own=True) == metadata


@pytest.mark.parametrize(
    ("plain", "changed"),
    [
        ({}, {}),
        ({"image_mean": [0.5, 0.5, 0.5]}, {"mean": (0.5, 0.5, 0.5)}),
        ({"size": {"height": 64, "width": 64}}, {"image_size": (64, 64), "resize": "bilinear"}),
        ({"do_resize": False}, {"image_size": None}),
        ({"do_reduce_labels": True}, {"label_mapping": {0: 255, 1: 0, 2: 1, 3: 2}}),
    ],
)
def test_of_our_own_folders_it_wins_for_what_it_states(
    tmp_path: Path, plain: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert read(tmp_path, plain, OWN, own=True) == replace(OWN, **changed)


def test_the_nested_file_of_transformers_5_wins(tmp_path: Path) -> None:
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 64}}))
    assert read(tmp_path, {"size": 96}).image_size == (64, 64)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Some"}))
    assert read(tmp_path, {"size": 96}).image_size == (96, 96)


def test_without_one_size_for_all_images_one_has_to_be_given(tmp_path: Path) -> None:
    save_pretrained(SegFormer("b0", 3), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 64}}')
    with pytest.raises(UsageError, match="does not say its input size; give --image_size"):
        Predictor(tmp_path)
    assert Predictor(tmp_path, image_size=(64, 64))(np.zeros((40, 50, 3), np.uint8)).labels.shape == (40, 50)


def test_labels_are_those_of_transformers_pipeline(tmp_path: Path) -> None:
    """Sizes that are no multiples of 32, both ways of resizing, and every part of the normalization."""
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    torch.manual_seed(0)
    model = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=5)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    model.config.id2label = {index: str(index) for index in range(5)}
    smooth, _, _, noise = made_up_images((75, 50))
    for settings in (
        {"size": {"height": 70, "width": 45}},
        {"size": 81, "resample": 3, "do_normalize": False},
        {"size": [40, 90], "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [0.5, 1, 2]},
    ):
        processor = transformers.SegformerImageProcessorPil(**settings)
        processor.save_pretrained(tmp_path)
        predictor = Predictor(tmp_path)
        seen = set()
        for image in (smooth, noise):
            with torch.inference_mode():
                answer = model(**processor(Image.fromarray(image), return_tensors="pt"))
            theirs = processor.post_process_semantic_segmentation(answer, target_sizes=[image.shape[:2]])[0].numpy()
            assert (predictor(image).labels == theirs).mean() > 0.999
            seen |= set(np.unique(theirs))
        assert len(seen) > 1


@pytest.mark.parametrize("norm", ["layer_norm", "dyt"])
def test_transformers_loads_our_processor(tmp_path: Path, norm: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    model = SegFormer("b0", 3, patch_norm=norm)
    model.metadata = OWN
    save_pretrained(model, tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    image = made_up_images((64, 96))[0]
    found = processor(image, return_tensors="pt").pixel_values
    expected = OWN.normalize(torch.from_numpy(image).permute(2, 0, 1)[None])
    torch.testing.assert_close(found, expected)
    assert processor(made_up_images((30, 30))[0]).pixel_values[0].shape == (3, 64, 96)
    processor.save_pretrained(tmp_path)  # whatever it adds
    assert from_pretrained(tmp_path).metadata == OWN
