"""Predictions against what evaluation would predict, whatever form the images and the model have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.data import Resize
from effiseg.data.transforms import UInt8Array, prepare_for_evaluation
from effiseg.errors import DataError, ModelError, UsageError
from effiseg.inference.label_map import label_map, whole_size
from effiseg.inference.predictor import Predictor
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

NAMES = ("sky", "road", "tree")
PALETTE = ((10, 20, 30), (200, 100, 0), (0, 90, 0))


@pytest.fixture(scope="module")
def model() -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer("b0", 3).eval()
    with torch.no_grad():
        model.decode_head.classifier.weight *= 40  # differences that rounding does not turn
    model.metadata = ModelMetadata(names=NAMES, palette=PALETTE, image_size=(64, 96))
    return model


def picture(height: int, width: int, seed: int = 0) -> UInt8Array:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def evaluated(
    model: SegFormer, image: UInt8Array, size: tuple[int, int] = (64, 96), resize: Resize = "keep_ratio"
) -> UInt8Array:
    """What protocol "full" compares, from the network as it was trained."""
    padded, valid = prepare_for_evaluation(image, size, resize)
    with torch.inference_mode():
        logits = model(model.metadata.normalize(torch.from_numpy(padded).permute(2, 0, 1)[None]))[0]
    full = (image.shape[0], image.shape[1])
    labels: UInt8Array = label_map(logits, whole_size((padded.shape[0], padded.shape[1]), valid, full), full).numpy()
    return labels


@pytest.mark.parametrize(("height", "width"), [(64, 96), (100, 131), (33, 200), (1, 1), (150, 40)])
def test_labels_are_those_of_evaluation_at_the_images_own_size(model: SegFormer, height: int, width: int) -> None:
    image = picture(height, width)
    found = Predictor(model, device="cpu")(image)
    assert found.labels.shape == (height, width)
    assert found.labels.dtype == np.uint8
    # Up to ties: the deploy form rounds otherwise.
    assert (found.labels != evaluated(model, image)).mean() < 2e-3
    assert found.image is image


def test_size_and_resize_can_be_chosen(model: SegFormer) -> None:
    image = picture(80, 70)
    found = Predictor(model, device="cpu", image_size=(96, 64), resize="fixed")(image)
    assert (found.labels != evaluated(model, image, (96, 64), "fixed")).mean() < 2e-3


def test_the_model_itself_is_untouched(model: SegFormer) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Predictor(model, device="cpu")(picture(64, 96))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_files_arrays_pillow_images_and_batches_agree(model: SegFormer, tmp_path: Path) -> None:
    images = [picture(64, 96, seed) for seed in range(3)]
    other = picture(50, 60)
    predictor = Predictor(model, device="cpu", batch_size=2)
    single = [predictor(image).labels for image in images]
    path = tmp_path / "bäume 1.png"
    Image.fromarray(images[0]).save(path)
    from_file = predictor(path)
    assert from_file.source == str(path)
    assert np.array_equal(from_file.labels, single[0])
    assert np.array_equal(predictor(Image.fromarray(images[0])).labels, single[0])
    for batch in (np.stack(images), images, (str(path), *images[1:])):
        found = predictor(batch)
        assert len(found) == 3
        # A batch may round otherwise than an image alone.
        assert np.mean([one.labels != labels for one, labels in zip(found, single, strict=True)]) < 2e-3
    mixed = predictor([images[0], other, images[1]])
    assert [segmentation.labels.shape for segmentation in mixed] == [(64, 96), (50, 60), (64, 96)]
    assert predictor([]) == []


def test_pictures_and_areas(model: SegFormer) -> None:
    image = picture(64, 96)
    found = Predictor(model, device="cpu")(image)
    assert np.array_equal(found.color(), np.array(PALETTE, np.uint8)[found.labels])
    assert np.array_equal(found.overlay(1), found.color())
    assert np.array_equal(found.overlay(0), image)
    areas = found.areas()
    assert tuple(areas) == NAMES
    assert sum(areas.values()) == pytest.approx(1)
    assert areas["road"] == (found.labels == 1).mean()


def test_a_model_without_colours_gets_some(model: SegFormer) -> None:
    plain = SegFormer("b0", 3)
    plain.metadata = ModelMetadata.unnamed(3)
    found = Predictor(plain, device="cpu", image_size=(32, 32))(picture(32, 32))
    assert len(set(found.palette)) == 3


def test_flipping_makes_the_mirror_image_the_same(model: SegFormer) -> None:
    image = picture(64, 96)
    predictor = Predictor(model, device="cpu", flip=True)
    mirrored = predictor(np.ascontiguousarray(image[:, ::-1])).labels[:, ::-1]
    assert (predictor(image).labels != mirrored).mean() < 2e-3
    assert (Predictor(model, device="cpu")(image).labels != mirrored).any()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 90), (20, 30), (64, 40)])
def test_an_image_in_one_window_is_predicted_whole(model: SegFormer, height: int, width: int) -> None:
    image = picture(height, width)
    for options in ({}, {"stride": 32}):
        found = Predictor(model, device="cpu", mode="slide", probabilities=True, **options)(image)  # type: ignore[arg-type]
        whole = Predictor(model, device="cpu", probabilities=True)(image)
        assert np.array_equal(found.labels, whole.labels)
        assert found.probabilities is not None
        assert whole.probabilities is not None
        assert np.array_equal(found.probabilities.values, whole.probabilities.values)


def test_images_can_be_resized_before_windows_are_cut(model: SegFormer) -> None:
    image = picture(200, 300)
    found = Predictor(model, device="cpu", mode="slide", image_size=(64, 96))(image)
    assert np.array_equal(found.labels, Predictor(model, device="cpu")(image).labels)


def test_probabilities_lead_to_the_labels(model: SegFormer) -> None:
    image = picture(64, 96)
    found = Predictor(model, device="cpu", probabilities=True)(image)
    assert found.probabilities is not None
    values = found.probabilities.values
    assert values.shape == (3, 16, 24)
    assert values.dtype == np.float16
    assert found.probabilities.extent == (16, 24)
    assert np.allclose(values.astype(float).sum(0), 1, atol=2e-3)
    wide = torch.nn.functional.interpolate(torch.from_numpy(values)[None].float(), size=(64, 96), mode="bilinear")
    assert (wide[0].argmax(0).numpy() == found.labels).mean() > 0.95
    assert Predictor(model, device="cpu")(image).probabilities is None


def test_a_model_folder_is_its_model(model: SegFormer, tmp_path: Path) -> None:
    save_pretrained(model, tmp_path / "model")
    image = picture(64, 96)
    from_folder = Predictor(tmp_path / "model", device="cpu")(image).labels
    assert np.array_equal(from_folder, Predictor(model, device="cpu")(image).labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (64, 64)}, "--window belongs to --mode slide"),
        ({"stride": 32}, "--stride belongs to --mode slide"),
        ({"mode": "slide", "window": (64, 66)}, "multiples of 4"),
        ({"mode": "slide", "window": (16, 64)}, "from 32 on"),
        ({"mode": "slide", "stride": 68}, "at most the window's shorter side, 64"),
        ({"mode": "slide", "stride": 30}, "multiple of 4"),
        ({"engine": "onnxruntime"}, "export the model first"),
    ],
)
def test_options_that_do_not_go_together(model: SegFormer, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictor(model, device="cpu", **options)  # type: ignore[arg-type]


def test_a_model_without_a_size_needs_one() -> None:
    plain = SegFormer("b0", 3)
    with pytest.raises(UsageError, match="--image_size"):
        Predictor(plain, device="cpu")
    with pytest.raises(UsageError, match="--window"):
        Predictor(plain, device="cpu", mode="slide")


def test_images_that_are_none(model: SegFormer, tmp_path: Path) -> None:
    predictor = Predictor(model, device="cpu")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        predictor(tmp_path / "text.png")
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(UsageError, match="uint8 RGB"):
            predictor(wrong)
    with pytest.raises(UsageError, match="found int"):
        predictor(3)  # type: ignore[call-overload]
    with pytest.raises(ModelError, match="nowhere"):
        Predictor("nowhere")


def test_the_former_name_of_engine_is_understood_with_a_line(model: SegFormer) -> None:
    with (
        pytest.warns(FutureWarning, match="is now Predictor"),
        pytest.raises(UsageError, match="onnxruntime runs exported files"),
    ):
        Predictor(model, device="cpu", runtime="onnxruntime")
