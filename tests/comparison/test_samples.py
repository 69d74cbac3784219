"""Which images are shown, and that what is saved is what the models say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.comparison import samples as module
from effiseg.comparison.samples import choose_samples, save_samples
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.reading import read_image, read_mask
from effiseg.data.samples import list_samples
from effiseg.evaluation.evaluator import evaluate
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.report.samples import read_samples


def test_the_rows_differ_most_where_their_iou_is_farthest_apart() -> None:
    ids = [f"i{number:02d}" for number in range(30)]
    rows = {"a": dict.fromkeys(ids, 50.0), "b": {name: 50.0 + number for number, name in enumerate(ids)}}
    rows["a"]["i03"] = 1.0
    rows["a"]["i29"] = None
    chosen = {saved.id: saved for saved in choose_samples(rows)}
    assert [name for name, saved in chosen.items() if "differ" in saved.reasons] == ["i03", "i28", "i27", "i26"]
    assert sum("random" in saved.reasons for saved in chosen.values()) == 4
    assert next(name for name, saved in chosen.items() if "a" in saved.worst_of) == "i03"
    assert {name for name, saved in chosen.items() if "b" in saved.worst_of} == {"i00", "i01"}
    assert chosen["i03"].iou == {"a": 1.0, "b": 53.0}
    assert len({saved.folder for saved in chosen.values()}) == len(chosen)
    assert choose_samples(rows) == choose_samples(rows)
    assert choose_samples(rows) != choose_samples(rows, seed=1)


def test_one_row_has_nothing_to_differ_from() -> None:
    chosen = choose_samples({"a": {"x": 1.0, "y": None}})
    assert {saved.id: saved.reasons for saved in chosen} == {"x": ["random", "worst"], "y": ["random"]}
    assert choose_samples({}) == []


def test_what_is_saved_is_the_image_the_label_and_what_the_models_say(
    colour_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_dataset_spec(colour_data)
    models = {}
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        model = SegFormer("b0", 3)
        model.metadata = ModelMetadata(names=spec.names, palette=spec.palette, image_size=(32, 64))
        models[name] = tmp_path / name
        save_pretrained(model, models[name])
    iou = {name: evaluate(load_network(path), Framing(), spec, "val").image_iou for name, path in models.items()}
    save_samples(models, iou, spec, "val", tmp_path)
    index = read_samples(tmp_path)
    assert index is not None
    assert index.rows == ["one", "two"]
    assert index.names == list(spec.names)
    listed = {sample.id: sample for sample in list_samples(spec, "val")}
    assert {saved.id for saved in index.samples} == set(listed)
    for saved in index.samples:
        sample = listed[saved.id]
        truth = read_mask(sample.mask, spec)
        assert (index.truth(saved) == truth).all()
        assert np.abs(index.image(saved).astype(int) - read_image(sample.image)).mean() < 30  # JPEG
        for name, path in models.items():
            model = from_pretrained(str(path)).eval()
            item = EvaluationDataset([sample], spec, (32, 64), "keep_ratio")[0]
            with torch.inference_mode():
                logits = model(model.metadata.normalize(item.image[None]))
                scales = [full / valid for full, valid in zip(truth.shape, item.valid_size, strict=True)]
                size = [round(side * scale) for side, scale in zip(item.image.shape[1:], scales, strict=True)]
                wide = torch.nn.functional.interpolate(logits, size, mode="bilinear")[0].argmax(0).numpy()
            expected = wide[: truth.shape[0], : truth.shape[1]]
            assert (index.prediction(saved, name) != expected).mean() < 0.001
            assert saved.iou[name] == iou[name][saved.id]
    # Any viewer shows the data set's colours, and what is larger is reduced.
    with Image.open(index.folder / "000" / "truth.png") as picture:
        assert picture.getpalette()[:9] == [part for colour in spec.palette for part in colour]  # type: ignore[index]
    monkeypatch.setattr(module, "PICTURE_WIDTH", 32)
    assert save_samples({}, iou, spec, "val", tmp_path) == index  # nothing has changed, so nothing is predicted
    (index.folder / "index.json").unlink()
    save_samples(models, iou, spec, "val", tmp_path)
    smaller = read_samples(tmp_path)
    assert smaller is not None
    assert smaller.truth(smaller.samples[0]).shape == (24, 32)
    assert set(np.unique(smaller.truth(smaller.samples[0]))) <= {0, 1, 2, 255}
