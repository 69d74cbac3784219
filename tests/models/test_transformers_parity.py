"""The same numbers as transformers' SegFormer: logits, features, gradients, folders in both directions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from effiseg.models.classic_names import classic_name
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.shape import SHAPES

transformers = pytest.importorskip("transformers", reason="transformers is the oracle")

SIZES = [(512, 1024), (360, 480), (227, 320), (33, 47)]


def randomize(model: nn.Module) -> None:
    """Every parameter and statistic away from its start, at scales that keep the activations in range."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.normal_(parameter, std=0.2)
            elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                nn.init.uniform_(parameter, 0.5, 1.5)
            else:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)


def reference(variant: str, num_classes: int, **settings: Any) -> Any:
    size = SHAPES[variant]  # type: ignore[index]
    config = transformers.SegformerConfig(
        depths=list(size.depths),
        hidden_sizes=list(size.embed_dims),
        decoder_hidden_size=size.decoder_width,
        num_labels=num_classes,
        layer_norm_eps=1e-2,  # which transformers ignores, as its loader must
        **settings,
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    randomize(model)
    return model.eval()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """variant → (transformers' model, ours loaded from the folder that its save_pretrained wrote)."""
    made: dict[str, tuple[Any, SegFormer]] = {}

    def make(variant: str) -> tuple[Any, SegFormer]:
        if variant not in made:
            torch.manual_seed(0)
            theirs = reference(variant, 19)
            folder = tmp_path_factory.mktemp(variant)
            theirs.save_pretrained(folder)
            made[variant] = theirs, from_pretrained(folder)
        return made[variant]

    return make


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05  # not a comparison of constants
    assert (ours - theirs).abs().max() <= 1e-5 * (theirs.max() - theirs.min())


CASES = [("b0", size) for size in SIZES] + [("b1", SIZES[3]), ("b2", SIZES[3])]
HEAVY = [(variant, size) for variant in ("b1", "b2") for size in SIZES[:3]]


@pytest.mark.parametrize(
    ("variant", "size"), [*CASES, *(pytest.param(*case, marks=pytest.mark.heavy) for case in HEAVY)]
)
def test_logits(pair: Any, variant: str, size: tuple[int, int]) -> None:
    theirs, ours = pair(variant)
    torch.manual_seed(1)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        assert_same_logits(ours(images), theirs(images).logits)


def test_feature_maps_and_patch_embeddings(pair: Any) -> None:
    theirs, ours = pair("b0")
    embeddings: list[Tensor] = []
    hooks = [
        stage.patch_embeddings.register_forward_hook(lambda _m, _i, output: embeddings.append(output[0]))
        for stage in theirs.segformer.stages
    ]
    torch.manual_seed(1)
    images = torch.randn(2, 3, 65, 93)
    with torch.no_grad():
        found = ours.forward_features(images)
        expected = theirs(images, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    for mine, other in [*zip(found[0], expected, strict=True), *zip(found[1], embeddings, strict=True)]:
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_gradients_in_float64(training: bool) -> None:
    torch.manual_seed(0)
    theirs = reference("b0", 5, drop_path_rate=0.0, classifier_dropout_prob=0.0).double()
    ours = SegFormer("b0", 5, drop_path_rate=0.0, classifier_dropout=0.0).double()
    state = renamed_state(theirs)
    ours.load_state_dict({name: state[classic_name(name)] for name in ours.state_dict()})
    theirs.train(training)
    ours.train(training)
    images = torch.randn(2, 3, 65, 93, dtype=torch.float64)
    target = torch.randint(0, 5, (2, 17, 24))
    target[:, :3] = 255
    losses = [F.cross_entropy(logits, target, ignore_index=255) for logits in (ours(images), theirs(images).logits)]
    assert abs(losses[0].item() - losses[1].item()) <= 1e-12 * losses[1].item()
    for loss in losses:
        loss.backward()
    expected = {name: parameter.grad for name, parameter in renamed_parameters(theirs).items()}
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, parameter in ours.named_parameters():
        other = expected[classic_name(name)]
        # Some gradients are 0 (a constant added to all keys, or before BN) and found as rounding: those are
        # compared with the largest of all.
        scale = max(other.abs().max().item(), 1e-5 * largest)
        assert (parameter.grad - other).abs().max().item() <= 1e-9 * scale, name
    if training:
        for name in ("running_mean", "running_var"):
            mine, other = (getattr(model.decode_head.batch_norm, name) for model in (ours, theirs))
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def file_names(names: list[str], model: Any) -> dict[str, str]:
    """transformers' names in memory → those of its files, by asking its own writer through markers."""
    from tempfile import TemporaryDirectory

    copy = type(model)(model.config)
    state = copy.state_dict()
    numbers = {name: float(index) for index, name in enumerate(names)}
    copy.load_state_dict({name: torch.full_like(value, numbers[name]) for name, value in state.items()})
    with TemporaryDirectory() as folder:
        copy.save_pretrained(folder)
        written = load_file(Path(folder) / "model.safetensors")
    by_number = {value.flatten()[0].item(): name for name, value in written.items()}
    return {name: by_number[number] for name, number in numbers.items()}


def renamed_state(model: Any) -> dict[str, Tensor]:
    names = file_names(list(model.state_dict()), model)
    return {names[name]: value for name, value in model.state_dict().items()}


def renamed_parameters(model: Any) -> dict[str, nn.Parameter]:
    names = file_names(list(model.state_dict()), model)
    return {names[name]: parameter for name, parameter in model.named_parameters()}


def run_transformers(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that has never imported effiseg."""
    header = "import sys, torch\nfrom safetensors.torch import load_file, save_file\nimport transformers\n"
    footer = "\nassert 'effiseg' not in sys.modules\n"
    return subprocess.run(
        [sys.executable, "-c", header + script + footer, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )


LOAD = """
folder, images, out = sys.argv[1:]
loader = transformers.SegformerForSemanticSegmentation
model, report = loader.from_pretrained(folder, output_loading_info=True)
assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
assert model.config.id2label == {0: "road", 1: "sky", 2: "car"}, model.config.id2label
with torch.no_grad():
    logits = model.eval()(load_file(images)["images"]).logits
save_file({"logits": logits.contiguous()}, out)
model.save_pretrained(out + "_saved")
"""


def test_transformers_loads_our_folder_and_we_load_what_it_writes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SegFormer("b0", 3).eval()
    randomize(model)
    model.metadata = type(model.metadata)(names=("road", "sky", "car"), image_size=(64, 96))
    save_pretrained(model, tmp_path / "model")
    images = torch.randn(2, 3, 65, 93)
    save_file({"images": images}, tmp_path / "images")
    done = run_transformers(LOAD, *(str(tmp_path / name) for name in ("model", "images", "logits")))
    assert done.returncode == 0, done.stderr
    back = from_pretrained(tmp_path / "logits_saved")
    assert back.metadata == model.metadata
    with torch.no_grad():
        assert_same_logits(model(images), load_file(tmp_path / "logits")["logits"])
        assert torch.equal(back(images), model(images))


WRITE = """
folder, images, out = sys.argv[1:]
torch.manual_seed(0)
config = transformers.SegformerConfig(id2label={0: "road", 1: "sky"}, label2id={"road": 0, "sky": 1})
model = transformers.SegformerForSemanticSegmentation(config).eval()
for parameter in model.parameters():
    parameter.data += 0.05 * torch.randn_like(parameter)
with torch.no_grad():
    logits = model(load_file(images)["images"]).logits
save_file({"logits": logits.contiguous()}, out)
model.save_pretrained(folder)
size = {"height": 65, "width": 93}
transformers.SegformerImageProcessorPil(size=size, image_mean=[0.1, 0.2, 0.3]).save_pretrained(folder)
"""


def test_we_load_a_folder_of_transformers_with_its_preprocessing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 65, 93)
    save_file({"images": images}, tmp_path / "images")
    done = run_transformers(WRITE, *(str(tmp_path / name) for name in ("model", "images", "logits")))
    assert done.returncode == 0, done.stderr
    model = from_pretrained(tmp_path / "model")
    assert model.metadata.names == ("road", "sky")
    assert model.metadata.mean == (0.1, 0.2, 0.3)
    assert (model.metadata.image_size, model.metadata.resize) == ((65, 93), "bilinear")
    with torch.no_grad():
        assert_same_logits(model(images), load_file(tmp_path / "logits")["logits"])


@pytest.mark.parametrize(
    "settings",
    [
        {"patch_norm": "dyt"},
        {"block_norm": "dyl"},
        {"patch_norm": "dyt", "block_norm": "dyl"},
        {"norm_eps": 1e-3},
    ],
    ids=["dyt", "dyl", "both", "eps"],
)
@pytest.mark.parametrize("loader", ["AutoModelForSemanticSegmentation", "SegformerForSemanticSegmentation"])
def test_transformers_refuses_what_it_cannot_run(settings: dict[str, Any], loader: str, tmp_path: Path) -> None:
    save_pretrained(SegFormer("b0", 2, **settings), tmp_path)
    with pytest.raises((ValueError, KeyError), match="effiseg"):
        getattr(transformers, loader).from_pretrained(tmp_path)


def test_two_labels_which_transformers_does_not_write_down(tmp_path: Path) -> None:
    reference("b0", 2).save_pretrained(tmp_path)
    assert "id2label" not in (tmp_path / "config.json").read_text()
    assert from_pretrained(tmp_path).metadata.names == ("LABEL_0", "LABEL_1")


def test_an_image_classifier_is_refused(tmp_path: Path) -> None:
    config = transformers.SegformerConfig()
    transformers.SegformerForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(Exception, match=r"decode_head\.classifier\.weight; found none"):
        from_pretrained(tmp_path)


def test_other_numbers_of_the_same_layers_are_transformers_too(tmp_path: Path) -> None:
    config = transformers.SegformerConfig(
        depths=[1, 2, 1, 1], hidden_sizes=[16, 24, 32, 48], num_attention_heads=[1, 3, 2, 4], sr_ratios=[4, 1, 2, 1],
        mlp_ratios=[2, 4, 3, 1], decoder_hidden_size=40, num_labels=5,
    )  # fmt: skip
    theirs = transformers.SegformerForSemanticSegmentation(config)
    randomize(theirs)
    theirs.eval().save_pretrained(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs")
    save_pretrained(ours, tmp_path / "ours")
    back = transformers.SegformerForSemanticSegmentation.from_pretrained(tmp_path / "ours").eval()
    images = torch.randn(2, 3, 65, 97)
    with torch.inference_mode():
        expected = theirs(images).logits
        assert (ours(images) - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())
        assert torch.equal(back(images).logits, expected)


@pytest.mark.parametrize("variant", [variant for variant in SHAPES if variant.startswith("b")])
def test_every_variant_has_the_parameters_of_transformers(variant: str) -> None:
    size = SHAPES[variant]  # type: ignore[index]
    config = transformers.SegformerConfig(
        depths=list(size.depths),
        hidden_sizes=list(size.embed_dims),
        decoder_hidden_size=size.decoder_width,
        num_labels=19,
    )
    with torch.device("meta"):
        theirs = transformers.SegformerForSemanticSegmentation(config)
        ours = SegFormer(variant, 19)  # type: ignore[arg-type]
    shapes = [sorted(tuple(value.shape) for value in model.state_dict().values()) for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
