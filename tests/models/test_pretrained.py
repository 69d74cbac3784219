"""Model folders: what goes in comes out, and what does not match is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from effiseg.errors import ModelError
from effiseg.models.classic_names import classic_name
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer

METADATA = ModelMetadata(
    names=("road", "sky"), palette=((1, 2, 3), (4, 5, 6)), label_mapping={7: 0, 23: 1}, image_size=(64, 96)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = SegFormer("b0", 2)
    model.metadata = METADATA
    save_pretrained(model, tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **fields: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def change_weights(folder: Path, drop: str = "", **added: torch.Tensor) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if name != drop}
    save_file(kept | added, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(folder: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        from_pretrained(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_only_three_files_and_everything_inside(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == FILES
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "segformer"
    assert config["id2label"] == {"0": "road", "1": "sky"}
    assert config["label2id"] == {"road": 0, "sky": 1}
    assert from_pretrained(folder).metadata == METADATA


def test_settings_of_the_network_come_back(tmp_path: Path) -> None:
    model = SegFormer("b0", 3, "dyl", "layer_norm", drop_path_rate=0.3, classifier_dropout=0.2, norm_eps=1e-4)
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(str(tmp_path))
    for name in ("variant", "patch_norm", "block_norm", "drop_path_rate", "classifier_dropout", "norm_eps"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.encoder.stages[0].norm.eps == 1e-4


def test_loading_touches_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    from_pretrained(folder)
    assert torch.equal(torch.rand(3), expected)


def test_saving_replaces_a_model_and_leaves_no_partial_files(folder: Path) -> None:
    torch.manual_seed(1)
    other = SegFormer("b0", 5, "dyt", "dyl")
    save_pretrained(other, folder)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    loaded = from_pretrained(folder)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in other.state_dict().items())


def test_weights_of_half_precision_are_widened(folder: Path) -> None:
    half = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors")
    loaded = from_pretrained(folder)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    bias = loaded.decode_head.classifier.weight
    assert torch.equal(bias, half["decode_head.classifier.weight"].float())


def test_every_name_of_ours_has_one_classic_name() -> None:
    with torch.device("meta"):
        names = SegFormer("b2", 2, "dyt", "dyl").state_dict().keys()
    classic = [classic_name(name) for name in names]
    assert len(set(classic)) == len(classic)
    assert all(name.startswith(("segformer.encoder.", "decode_head.")) for name in classic)
    assert "segformer.encoder.block.2.5.attention.self.sr.weight" in classic
    assert "segformer.encoder.patch_embeddings.3.layer_norm.alpha" in classic
    assert "segformer.encoder.layer_norm.0.bias" in classic


def test_unmatched_keys_are_listed(folder: Path) -> None:
    gone = "segformer.encoder.block.0.0.attention.self.query.weight"
    change_weights(folder, gone, **{"head.extra": torch.zeros(1), "decode_head.classifier.bias": torch.zeros(9)})
    said = refusal(folder)
    assert f"1 missing: {gone}" in said
    assert "1 unknown: head.extra" in said
    assert "decode_head.classifier.bias (9,) instead of (2,)" in said


def test_dyt_weights_called_a_segformer_are_refused(folder: Path) -> None:
    save_pretrained(SegFormer("b0", 2, "dyt", "dyt"), folder)
    change_config(folder, model_type="segformer", hidden_act="gelu")
    assert "unknown: segformer.encoder.block.0.0.attention.self.layer_norm.alpha" in refusal(folder)


def test_a_missing_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "found no config.json" in refusal(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "found only the pickle pytorch_model.bin, which is never opened" in said
    assert f"`effiseg convert {folder} --out DIR`" in said


def test_missing_and_broken_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors: not a whole safetensors file" in refusal(folder)
    weights.unlink()
    assert "needs model.safetensors; found none" in refusal(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "bert"}, "must be segformer or effiseg_segformer; found 'bert'"),
        ({"depths": [2, 2, 2]}, "depths must be 4 whole numbers from 1 to 128; found 2/2/2"),
        ({"patch_sizes": [3, 3, 3, 3]}, "has patch_sizes [7, 3, 3, 3]; found [3, 3, 3, 3]"),
        ({"hidden_act": "relu"}, "has hidden_act gelu; found relu"),
        ({"id2label": {"0": "road"}}, "id2label must name all 2 classes"),
        ({"model_type": "effiseg_segformer", "effiseg": {}}, "the section effiseg must say 'patch_norm'"),
        ({"drop_path_rate": None}, "config.json"),
        ({"effiseg": {"metadata": {"colour": 3}}}, "found colour"),
    ],
)
def test_configs_of_other_models_are_refused(folder: Path, fields: dict[str, object], said: str) -> None:
    change_config(folder, **fields)
    message = refusal(folder)
    assert said in message
    assert "config.json" in message


def test_a_config_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refusal(folder)
    (folder / "config.json").write_text("[]")
    assert "found list" in refusal(folder)


def test_an_encoder_alone_is_refused(folder: Path) -> None:
    change_weights(folder, "decode_head.classifier.weight")
    assert "decode_head.classifier.weight; found none" in refusal(folder)


@pytest.mark.parametrize("name", ["/no/such/model", "./run/model", "no such/model", "model"])
def test_a_path_that_is_no_folder_never_reaches_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the Hub"))
    assert "no such model folder" in refusal(name)


def test_a_file_is_no_model(folder: Path) -> None:
    assert "found a file" in refusal(folder / "config.json")


def test_a_hub_id_is_fetched_without_its_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert from_pretrained("owner/name").metadata == METADATA
    assert asked[0][0] == "owner/name"
    assert not any(pattern.endswith((".bin", "*")) for pattern in asked[0][1])


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert "owner/name: no such folder here" in refusal("owner/name")


def test_shards_are_read_and_must_lie_beside_the_index(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    expected = from_pretrained(folder).state_dict()
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
    assert "shards must be safetensors files beside it" in refusal(folder)


def test_classes_changed_by_transformers_win_over_our_section(folder: Path) -> None:
    change_config(folder, id2label={"0": "water", "1": "land"})
    metadata = from_pretrained(folder).metadata
    assert metadata.names == ("water", "land")
    assert metadata.palette is None
    assert metadata.label_mapping is None
    assert metadata.image_size == METADATA.image_size


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    name = "decode_head.batch_norm.running_var"
    weights = load_file(folder / "model.safetensors")
    weights[name][3] = value
    change_weights(folder, **{name: weights[name]})
    assert f"weights must be finite; found NaN or infinity in {name}: take an earlier checkpoint" in refusal(folder)


def test_one_logit_is_refused_and_two_rows_compute_the_same(folder: Path) -> None:
    """Of a sigmoid's logit z, z > 0 is the best of (0, z)."""
    weights = load_file(folder / "model.safetensors")
    rows = {
        f"decode_head.classifier.{leaf}": weights[f"decode_head.classifier.{leaf}"][:1] for leaf in ("weight", "bias")
    }
    change_weights(folder, **rows)
    assert "a model has 2 classes or more; found one (a sigmoid's): give the classifier a second row" in refusal(folder)
    change_weights(folder, **{name: torch.cat([torch.zeros_like(row), row]) for name, row in rows.items()})
    model = from_pretrained(folder)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        logits = model(images)
    assert torch.equal(logits.argmax(1), (logits[:, 1] > 0).long())
    assert 0 < (logits[:, 1] > 0).float().mean() < 1


@pytest.mark.parametrize(
    "fields",
    [{"id2label": {"0": "road", "1": "road"}}, {"effiseg": {"metadata": {"names": ["a", "b"], "std": [1, 1, 0]}}}],
)
def test_metadata_that_break_a_rule_are_refused_with_their_file(folder: Path, fields: dict[str, object]) -> None:
    change_config(folder, **fields)
    assert "config.json" in refusal(folder)
