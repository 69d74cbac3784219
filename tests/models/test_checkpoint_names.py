"""Weights under others' names: a model of transformers is written in each naming and must compute the same here.

The names are written down once more here, from the publishers' side, so that a slip in one map shows.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from effiseg.errors import ModelError
from effiseg.models.checkpoint_names import own_names, own_names_of
from effiseg.models.classic_names import classic_name
from effiseg.models.initial_weights import PUBLISHED_EPS, read_initial_weights
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

CLASSES = 5


@pytest.fixture(scope="module")
def model() -> SegFormer:
    """A B0 whose every tensor is its own."""
    torch.manual_seed(3)
    model = SegFormer("b0", CLASSES).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.05 * torch.rand_like(tensor))
    return model


@pytest.fixture(scope="module")
def classic(model: SegFormer) -> dict[str, Tensor]:
    """Its weights as transformers' files name them."""
    return {classic_name(name): tensor.clone() for name, tensor in model.state_dict().items()}


def as_nvlabs(classic: dict[str, Tensor]) -> dict[str, Tensor]:
    """As NVlabs' SegFormer repository writes a trained model."""
    theirs: dict[str, Tensor] = {"decode_head.conv_seg.weight": torch.zeros(CLASSES, 128, 1, 1)}
    for stage in range(4):
        one, source = stage + 1, "segformer.encoder."
        for leaf in ("weight", "bias"):
            theirs[f"backbone.patch_embed{one}.proj.{leaf}"] = classic[f"{source}patch_embeddings.{stage}.proj.{leaf}"]
            theirs[f"backbone.patch_embed{one}.norm.{leaf}"] = classic[
                f"{source}patch_embeddings.{stage}.layer_norm.{leaf}"
            ]
            theirs[f"backbone.norm{one}.{leaf}"] = classic[f"{source}layer_norm.{stage}.{leaf}"]
            theirs[f"decode_head.linear_c{one}.proj.{leaf}"] = classic[f"decode_head.linear_c.{stage}.proj.{leaf}"]
            for block in range(2):
                there, here = f"backbone.block{one}.{block}.", f"{source}block.{stage}.{block}."
                key, value = (classic[f"{here}attention.self.{part}.{leaf}"] for part in ("key", "value"))
                theirs[f"{there}attn.kv.{leaf}"] = torch.cat([key, value])
                pairs = {
                    "norm1": "layer_norm_1",
                    "attn.q": "attention.self.query",
                    "attn.proj": "attention.output.dense",
                    "norm2": "layer_norm_2",
                    "mlp.fc1": "mlp.dense1",
                    "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
                    "mlp.fc2": "mlp.dense2",
                }
                if stage < 3:
                    pairs |= {"attn.sr": "attention.self.sr", "attn.norm": "attention.self.layer_norm"}
                for name, ours in pairs.items():
                    theirs[f"{there}{name}.{leaf}"] = classic[f"{here}{ours}.{leaf}"]
    theirs["decode_head.linear_fuse.conv.weight"] = classic["decode_head.linear_fuse.weight"]
    for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        theirs[f"decode_head.linear_fuse.bn.{leaf}"] = classic[f"decode_head.batch_norm.{leaf}"]
    for leaf in ("weight", "bias"):
        theirs[f"decode_head.linear_pred.{leaf}"] = classic[f"decode_head.classifier.{leaf}"]
    return theirs


def as_mmsegmentation(classic: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """As mmsegmentation writes the encoder."""
    theirs: dict[str, Tensor] = {}
    for stage in range(4):
        source = "segformer.encoder."
        for leaf in ("weight", "bias"):
            layer = f"{prefix}layers.{stage}."
            theirs[f"{layer}0.projection.{leaf}"] = classic[f"{source}patch_embeddings.{stage}.proj.{leaf}"]
            theirs[f"{layer}0.norm.{leaf}"] = classic[f"{source}patch_embeddings.{stage}.layer_norm.{leaf}"]
            theirs[f"{layer}2.{leaf}"] = classic[f"{source}layer_norm.{stage}.{leaf}"]
            for block in range(2):
                there, here = f"{layer}1.{block}.", f"{source}block.{stage}.{block}."
                parts = [classic[f"{here}attention.self.{part}.{leaf}"] for part in ("query", "key", "value")]
                theirs[f"{there}attn.attn.in_proj_{leaf}"] = torch.cat(parts)
                for name, ours in {
                    "norm1": "layer_norm_1",
                    "attn.attn.out_proj": "attention.output.dense",
                    "norm2": "layer_norm_2",
                    "ffn.layers.1": "mlp.dwconv.dwconv",
                }.items():
                    theirs[f"{there}{name}.{leaf}"] = classic[f"{here}{ours}.{leaf}"]
                for number, ours in ((0, "mlp.dense1"), (4, "mlp.dense2")):
                    tensor = classic[f"{here}{ours}.{leaf}"]
                    theirs[f"{there}ffn.layers.{number}.{leaf}"] = (
                        tensor[..., None, None] if leaf == "weight" else tensor
                    )
                if stage < 3:
                    for name in ("sr", "norm"):
                        ours = "sr" if name == "sr" else "layer_norm"
                        theirs[f"{there}attn.{name}.{leaf}"] = classic[f"{here}attention.self.{ours}.{leaf}"]
    return theirs


def encoder_alone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("decode_head.")}


def assert_equals(found: dict[str, Tensor], model: SegFormer, *, encoder_only: bool) -> None:
    wanted = {n: t for n, t in model.state_dict().items() if not encoder_only or n.startswith("encoder.")}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_nvlabs_whole_network(classic: dict[str, Tensor], model: SegFormer, wrapper: str) -> None:
    named = own_names({wrapper + name: tensor for name, tensor in as_nvlabs(classic).items()})
    assert named.publisher == "NVlabs"
    assert named.unused == [wrapper + "decode_head.conv_seg.weight"]
    assert_equals(named.weights, model, encoder_only=False)


def test_nvlabs_imagenet_encoder(classic: dict[str, Tensor], model: SegFormer) -> None:
    plain = {name.removeprefix("backbone."): t for name, t in encoder_alone(as_nvlabs(classic)).items()}
    named = own_names({**plain, "head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)})
    assert named.unused == ["head.weight", "head.bias"]
    assert_equals(named.weights, model, encoder_only=True)


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_mmsegmentation_encoder(classic: dict[str, Tensor], model: SegFormer, prefix: str) -> None:
    theirs = as_mmsegmentation(classic, prefix) | {"decode_head.convs.0.conv.weight": torch.zeros(256, 32, 1, 1)}
    named = own_names(theirs)
    assert named.publisher == "mmsegmentation"
    assert named.unused == ["decode_head.convs.0.conv.weight"]
    assert_equals(named.weights, model, encoder_only=True)


@pytest.mark.parametrize("prefix", ["segformer.", ""])
def test_transformers_encoder(classic: dict[str, Tensor], model: SegFormer, prefix: str) -> None:
    theirs = {name.replace("segformer.", prefix): tensor for name, tensor in encoder_alone(classic).items()}
    named = own_names({**theirs, "classifier.weight": torch.zeros(1000, 256)})
    assert (named.publisher, named.unused) == ("transformers", ["classifier.weight"])
    assert_equals(named.weights, model, encoder_only=True)


def test_nvlabs_file_computes_what_transformers_computes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    torch.manual_seed(0)
    theirs = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(num_labels=CLASSES, layer_norm_eps=1e-5)
    ).eval()
    theirs.save_pretrained(tmp_path / "transformers")
    from safetensors.torch import load_file

    published = as_nvlabs(load_file(tmp_path / "transformers" / "model.safetensors"))
    torch.save({"meta": {"epoch": 160}, "state_dict": published}, tmp_path / "segformer.b0.pth")
    read = read_initial_weights(str(tmp_path / "segformer.b0.pth"))
    assert (read.variant, read.num_classes, read.names, read.norm_eps) == ("b0", CLASSES, None, PUBLISHED_EPS)
    ours = SegFormer("b0", CLASSES).eval()
    ours.load_state_dict(read.weights)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images).logits, atol=1e-5)


def test_a_folder_and_its_weights_alone_are_the_same(model: SegFormer, tmp_path: Path) -> None:
    save_pretrained(model, tmp_path / "model")
    folder = read_initial_weights(str(tmp_path / "model"))
    alone = read_initial_weights(str(tmp_path / "model" / "model.safetensors"))
    assert folder.weights.keys() == alone.weights.keys()
    assert all(torch.equal(tensor, alone.weights[name]) for name, tensor in folder.weights.items())
    assert folder.normalization is not None


def test_a_transformers_folder_with_a_pickle_alone_gives_tensors(classic: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(encoder_alone(classic), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    read = read_initial_weights(str(tmp_path))
    assert (read.publisher, read.num_classes, read.norm_eps) == ("transformers", None, 1e-5)


def as_transformers_5(classic: dict[str, Tensor]) -> dict[str, Tensor]:
    """As `model.state_dict()` of transformers 5 names them."""
    theirs = {}
    for name, tensor in classic.items():
        name = re.sub(r"encoder\.patch_embeddings\.(\d)", r"stages.\1.patch_embeddings", name)
        name = re.sub(r"encoder\.layer_norm\.(\d)", r"stages.\1.layer_norm", name)
        name = re.sub(r"encoder\.block\.(\d)\.(\d)", r"stages.\1.blocks.\2", name)
        for old, new in {
            "layer_norm_1": "layernorm_before",
            "layer_norm_2": "layernorm_after",
            "self.query": "q_proj",
            "self.key": "k_proj",
            "self.value": "v_proj",
            "output.dense": "o_proj",
            "self.sr": "sequence_reduction.sequence_reduction",
            "self.layer_norm": "sequence_reduction.layer_norm",
            "dense1": "fc1",
            "dense2": "fc2",
            "linear_c": "linear_projections",
        }.items():
            name = name.replace(f".{old}.", f".{new}.")
        theirs[name] = tensor
    return theirs


def as_smp(classic: dict[str, Tensor]) -> dict[str, Tensor]:
    """As segmentation_models_pytorch's Segformer names them: the decoder's stages from the last to the first."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in as_nvlabs(classic).items():
        if name.startswith("backbone."):
            theirs[name.replace("backbone.", "encoder.")] = tensor
        elif found := re.fullmatch(r"decode_head\.linear_c(\d)\.proj\.(\w+)", name):
            theirs[f"decoder.mlp_stage.{4 - int(found[1])}.linear.{found[2]}"] = tensor
        else:
            for old, new in {
                "decode_head.linear_fuse.conv": "decoder.fuse_stage.0",
                "decode_head.linear_fuse.bn": "decoder.fuse_stage.1",
                "decode_head.linear_pred": "segmentation_head.0",
            }.items():
                if name.startswith(old):
                    theirs[name.replace(old, new)] = tensor
    return theirs


WRITERS = {
    "transformers": lambda classic: dict(classic),
    "transformers 5": as_transformers_5,
    "NVlabs": as_nvlabs,
    "segmentation_models_pytorch": as_smp,
}


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "model.", "net.", "student.", "architecture.", "_orig_mod.", "model._orig_mod.module.net."],
)
@pytest.mark.parametrize("publisher", WRITERS)
def test_every_publisher_under_every_wrapper(
    classic: dict[str, Tensor], model: SegFormer, publisher: str, prefix: str
) -> None:
    theirs = {prefix + name: tensor for name, tensor in WRITERS[publisher](classic).items()}
    named = own_names(theirs | {"loss.weight": torch.zeros(1)})
    assert named.publisher == publisher.removesuffix(" 5")
    assert "loss.weight" in named.unused
    assert_equals(named.weights, model, encoder_only=False)


def test_our_own_state_dict(model: SegFormer) -> None:
    named = own_names({f"student.{name}": tensor for name, tensor in model.state_dict().items()})
    assert named.publisher == "effiseg"
    assert_equals(named.weights, model, encoder_only=False)


def test_transformers_5_names_are_those_of_its_model() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    with torch.device("meta"):
        theirs = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=CLASSES))
        ours = SegFormer("b0", CLASSES).state_dict()
    classic_names = {classic_name(name): torch.zeros(0) for name in ours}
    assert set(as_transformers_5(classic_names)) == set(theirs.state_dict())


@pytest.mark.parametrize(
    "place", ["model_state_dict", "state_dict", "model", "model_ema", "state_dict_ema.module", "task.weights"]
)
def test_every_container(classic: dict[str, Tensor], model: SegFormer, tmp_path: Path, place: str) -> None:
    content: dict[str, object] = dict(classic)
    for key in reversed(place.split(".")):
        content = {key: content, "epoch": 3}
    content["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(3)}}}
    torch.save(content, tmp_path / "weights.ckpt")
    read = read_initial_weights(str(tmp_path / "weights.ckpt"))
    assert read.publisher == "transformers"
    assert_equals(read.weights, model, encoder_only=False)


def test_of_several_networks_the_average_is_taken_and_never_the_teacher(
    classic: dict[str, Tensor], model: SegFormer
) -> None:
    other = {name: torch.zeros_like(tensor) for name, tensor in classic.items()}
    for content in (
        {"model": other, "model_ema": classic},
        {"state_dict": {f"teacher.{n}": t for n, t in other.items()} | {f"net.{n}": t for n, t in classic.items()}},
    ):
        named = own_names_of(content)
        assert "of several networks" in named.publisher
        assert_equals(named.weights, model, encoder_only=False)


def test_norms_that_a_file_cannot_tell_are_refused() -> None:
    state = SegFormer("b0", 2, patch_norm="dyt").state_dict()
    with pytest.raises(ModelError, match=r"a file alone cannot say which norms .* give the model folder"):
        own_names(state)


@pytest.mark.parametrize(
    "meta",
    [
        {"meta": {"CLASSES": ("a", "b", "c", "d", "e"), "PALETTE": [[1, 2, 3]] * 5}},
        {"meta": {"dataset_meta": {"classes": ["a", "b", "c", "d", "e"]}}},
        {"meta": {"classes": ["a", "b", "c", "d", "e"]}},
        {"names": {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}},
        {"hyper_parameters": {"class_names": ["a", "b", "c", "d", "e"]}},
    ],
)
def test_classes_that_a_checkpoint_names(classic: dict[str, Tensor], tmp_path: Path, meta: dict[str, object]) -> None:
    torch.save({**meta, "state_dict": as_nvlabs(classic)}, tmp_path / "weights.pth")
    read = read_initial_weights(str(tmp_path / "weights.pth"))
    assert read.names == ("a", "b", "c", "d", "e")
    assert read.palette == (((1, 2, 3),) * 5 if "PALETTE" in str(meta) else None)


def test_numbers_of_numpy_and_parsed_options_are_plain_values(
    classic: dict[str, Tensor], model: SegFormer, tmp_path: Path
) -> None:
    aside = {"best": np.float32(71.5), "epoch": np.int64(3), "args": argparse.Namespace(lr=np.float64(1e-3))}
    meta = {"CLASSES": ("a", "b", "c", "d", "e"), "PALETTE": np.full((5, 3), 7, np.uint8)}
    torch.save({"state_dict": classic, "meta": meta, **aside}, tmp_path / "weights.pth")
    read = read_initial_weights(str(tmp_path / "weights.pth"))
    assert_equals(read.weights, model, encoder_only=False)
    assert (read.names, read.palette) == (("a", "b", "c", "d", "e"), ((7, 7, 7),) * 5)


def test_classes_of_another_number_are_none(classic: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"meta": {"CLASSES": ("a", "b")}, "state_dict": as_nvlabs(classic)}, tmp_path / "weights.pth")
    assert read_initial_weights(str(tmp_path / "weights.pth")).names is None


def test_weights_that_are_not_finite_are_refused(classic: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(classic | {"decode_head.classifier.bias": torch.full((CLASSES,), torch.nan)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"must be finite; found NaN or infinity in decode_head\.classifier\.bias"):
        read_initial_weights(str(tmp_path / "weights.pth"))


def test_shards_of_pickles(classic: dict[str, Tensor], model: SegFormer, tmp_path: Path) -> None:
    names = sorted(classic)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, part in shards.items():
        torch.save({name: classic[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    assert_equals(read_initial_weights(str(tmp_path)).weights, model, encoder_only=False)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"x": "../a.bin"}}))
    with pytest.raises(ModelError, match="shards must be bin files beside it"):
        read_initial_weights(str(tmp_path))


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_files_that_cannot_be_used_are_one_line(
    classic: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "harmful.pth")
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 not the rest")
    narrow = {n: t[:8] if "patch_embeddings.0.proj" in n else t for n, t in encoder_alone(classic).items()}
    torch.save(narrow, tmp_path / "narrow.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, words in {
        "harmful": "would run code",
        "other": "must have the names of",
        "broken": "not a whole file of weights",
        "narrow": "widths and depths must be those of one of",
        "list": "must hold names and tensors",
    }.items():
        with pytest.raises(ModelError, match=words) as caught:
            read_initial_weights(str(tmp_path / f"{name}.pth"))
        assert "\n" not in str(caught.value)
    assert "run" not in capsys.readouterr().out
