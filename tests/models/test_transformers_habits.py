"""SegFormer's methods under the names of transformers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import effiseg
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import ModelError
from effiseg.models.hub_segformer import SegFormer
from effiseg.models.metadata import ModelMetadata


@pytest.fixture(scope="module")
def model() -> SegFormer:
    torch.manual_seed(0)
    made = SegFormer("b0", 3)
    made.metadata = ModelMetadata(names=("road", "car", "sky"), image_size=(64, 96))
    return made.eval()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_methods_read_and_write_the_same_folder(model: SegFormer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "method")
    effiseg.save_pretrained(model, tmp_path / "function")
    assert contents(tmp_path / "method") == contents(tmp_path / "function")
    read = SegFormer.from_pretrained(tmp_path / "method")
    assert read.metadata == model.metadata
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())


def test_transformers_auto_class_loads_it(model: SegFormer, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="transformers is what must read the folder")
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForSemanticSegmentation.from_pretrained(tmp_path).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(pixel_values=images).logits, model(images), atol=1e-4, rtol=1e-4)
    assert model.config.num_labels == theirs.config.num_labels == 3
    assert model.config.id2label == theirs.config.id2label
    assert model.config.hidden_sizes == theirs.config.hidden_sizes
    assert model.config.depths == theirs.config.depths


def test_the_mask_of_transformers_pipeline_is_ours(teacher_run: Path, colour_data: Path) -> None:
    """A trained model, of 32x64: pictures of its size, and larger ones, which either side makes smaller its own way."""
    transformers: Any = pytest.importorskip("transformers", reason="transformers is the oracle")
    pipeline = transformers.pipeline("image-segmentation", model=str(teacher_run / "model"), device="cpu")
    predictor = effiseg.Predictor(teacher_run)
    seen: set[int] = set()
    for scale, least in ((1, 0.999), (4, 0.98)):
        equal = []
        for sample in list_samples(load_dataset_spec(colour_data), "val"):
            image = cv2.resize(sample.read_image()[:32], (64 * scale, 32 * scale), interpolation=cv2.INTER_CUBIC)
            ours = predictor(image)
            theirs = np.full(ours.labels.shape, 255, np.uint8)
            for found in pipeline(Image.fromarray(image), subtask="semantic"):
                theirs[np.asarray(found["mask"]) > 0] = ours.names.index(found["label"])
            equal.append((ours.labels == theirs).mean())
            seen |= set(np.unique(theirs))
        assert np.mean(equal) >= least
    assert seen == {0, 1, 2}


def test_a_run_folder_is_a_model(teacher_run: Path) -> None:
    assert SegFormer.from_pretrained(teacher_run).metadata.names == ("grey", "red", "blue")
    assert SegFormer.from_pretrained(effiseg.Run(teacher_run)).device == torch.device("cpu")


def test_other_classes_take_a_new_classifier_and_nothing_else(model: SegFormer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has 3 classes; found num_labels 5: ignore_mismatched_sizes=True"):
        SegFormer.from_pretrained(tmp_path, num_labels=5)
    other = SegFormer.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert other.num_classes == 5
    assert other.metadata.image_size == (64, 96)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, other.state_dict()[name])}
    assert changed == {"decode_head.classifier.weight", "decode_head.classifier.bias"}
    named = SegFormer.from_pretrained(tmp_path, id2label={0: "a", 1: "b"}, ignore_mismatched_sizes=True)
    assert named.metadata.names == ("a", "b")
    assert named(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 8, 8)


def test_names_can_be_given_to_the_same_classes(model: SegFormer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    named = SegFormer.from_pretrained(tmp_path, num_labels=3, id2label={0: "a", 1: "b", 2: "c"})
    assert named.config.label2id == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(ModelError, match="id2label must name the classes"):
        SegFormer.from_pretrained(tmp_path, num_labels=3, id2label={0: "a", 2: "c"})


def test_push_to_hub_uploads_the_model_folder(model: SegFormer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Hub:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> SimpleNamespace:
            sent["repository"] = repo_id
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, folder_path: Path, **_: Any) -> str:
            sent["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            return "https://hub/commit/1"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    assert model.push_to_hub("me/net") == "https://hub/commit/1"
    assert sent == {
        "repository": "me/net",
        "files": ["config.json", "model.safetensors", "preprocessor_config.json"],
    }
