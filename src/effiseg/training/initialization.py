"""Initial weights other than random ones: the setting `init`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effiseg.config.model import ModelConfig, Variant
from effiseg.config.training import TrainConfig
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.sample import Sample
from effiseg.data.samples import evenly_spread
from effiseg.environment import resolve_device
from effiseg.errors import ModelError, RunError
from effiseg.messages import notice
from effiseg.models.folder import CHECKPOINT_SUFFIXES
from effiseg.models.initial_weights import InitialWeights, read_initial_weights
from effiseg.models.metadata import IMAGENET_MEAN, IMAGENET_STD, plain_name
from effiseg.models.norm_fitting import fit_norms
from effiseg.models.normalization import EncoderNorm
from effiseg.models.segformer import SegFormer
from effiseg.models.starters import STARTER, read_starter, starter_source
from effiseg.models.taper import TaperedNorm
from effiseg.models.widening import WIDENED, widened
from effiseg.run_folder import resolve_model, run_of_checkpoint
from effiseg.training.tapering import taper

_CLASSIFIER = "decode_head.classifier."
_COUNTER = ".num_batches_tracked"
"""End of the name of a BatchNorm's count of its passes, which no weights need to have."""
_FITTED_PIXELS = 2**22
_FITTED_IMAGES = 16


@dataclass
class InitializationReport:
    """The content of init.json: nothing is left out or made up in silence."""

    source: str
    """Where the weights come from."""
    digest: str
    """Fingerprint of its weights."""
    publisher: str
    """Whose names its file had."""
    loaded: int
    """Number of tensors of the network that were taken as they are."""
    fresh: list[str] = field(default_factory=list)
    """Tensors that start at random, as without `init`."""
    unused: list[str] = field(default_factory=list)
    """Tensors of the source that the network has no place for."""
    fitted: dict[str, float | None] = field(default_factory=dict)
    """Norms that were fitted to the source's LayerNorms in their place → R² of the fit, 0..1."""
    fitted_images: list[str] = field(default_factory=list)
    """Training images they were fitted on."""
    notes: list[str] = field(default_factory=list)
    """Other differences, in words."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for init.json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for a terminal."""
        counts = f"{self.loaded} tensors loaded"
        for what, names in (("start at random", self.fresh), ("of the source are not used", self.unused)):
            if names:
                counts += f"; {len(names)} {what}: {_few(names)}"
        if self.fitted:
            r2 = [value for value in self.fitted.values() if value is not None]
            quality = f", R² {min(r2):.2f} to {max(r2):.2f}" if r2 else ""
            counts += f"; {len(self.fitted)} norms are fitted to its LayerNorms{quality}"
        return [f"starts from {self.source} ({self.publisher}): {counts}", *self.notes]


@dataclass(frozen=True)
class Initialization:
    """Weights that fit the network of a run."""

    weights: dict[str, Tensor]
    """Parameters and buffers under the network's own names; all but `report.fresh` and the norms to be fitted."""
    report: InitializationReport
    reference: SegFormer | None = None
    """The source with its LayerNorms, on the CPU, where norms are to be fitted to them."""

    def apply(self, student: SegFormer, config: TrainConfig, spec: DatasetSpec, samples: Sequence[Sample]) -> None:
        """Put the weights into the network and say what was done; no random number is drawn.

        Args:
            student: the run's network, changed in place.
            config: the run's settings.
            spec: the data set.
            samples: the training samples; on some of them norms are fitted.

        Raises:
            DataError: an image to fit norms on cannot be read.
        """
        student.load_state_dict(self.weights, strict=False)
        if self.reference is not None:
            self._fit_norms(student, self.reference, config, spec, samples)
        for line in self.report.lines():
            notice(line)

    def _fit_norms(
        self,
        student: SegFormer,
        reference: SegFormer,
        config: TrainConfig,
        spec: DatasetSpec,
        samples: Sequence[Sample],
    ) -> None:
        height, width = config.input_size
        chosen = evenly_spread(samples, min(_FITTED_IMAGES, max(1, _FITTED_PIXELS // (height * width))))
        dataset = EvaluationDataset(chosen, spec, config.input_size, config.resize)
        # Sizes may differ with the images' proportions; those of the most frequent one make the batch.
        images = [dataset[index].image for index in range(len(chosen))]
        shapes = [image.shape for image in images]
        usual = max(set(shapes), key=lambda shape: (shapes.count(shape), tuple(shape)))
        batch = torch.stack([image for image in images if image.shape == usual])
        device = resolve_device(config.device)
        training = student.training
        student.eval().to(device)
        found = fit_norms(student, reference.to(device), student.metadata.normalize(batch.to(device)))
        student.train(training).cpu()
        reference.cpu()
        self.report.fitted |= found
        self.report.fitted_images += [
            sample.id for sample, image in zip(chosen, images, strict=True) if image.shape == usual
        ]


def load_initialization(config: TrainConfig, spec: DatasetSpec) -> Initialization | None:
    """The weights a run starts from, or None where it starts from random ones.

    Raises:
        ModelError: no weights, of another size or with other norms, or incomplete.
        RunError: the weights have changed since the settings were written.
    """
    if config.init is None:
        return None
    source = _read_source(config.init, config.model.variant)
    if config.init_digest not in (None, source.digest):
        raise RunError(
            f"{config.init}: the weights have changed since they were written down as init_digest "
            f"{config.init_digest}; they are {source.digest}: take the old ones, or start a run without init_digest"
        )
    _check_architecture(config, source)
    return match_weights(config, spec, source)


def resolve_init(config: TrainConfig) -> TrainConfig:
    """The settings with `auto` and `scratch` replaced by what they mean: `starter`, or null.

    Raises:
        ModelError: `starter` is asked for, and the size has none.
    """
    match config.init:
        case "auto":
            return replace(config, init=STARTER if starter_source(config.model.variant) is not None else None)
        case "scratch":
            return replace(config, init=None)
        case _:
            return config


def _read_source(init: str, variant: Variant) -> InitialWeights:
    """The weights that `init` names, widened to the size asked for where that is twice as wide."""
    if init == STARTER:
        return read_starter(variant)
    is_checkpoint = Path(init).suffix.lower() in CHECKPOINT_SUFFIXES and Path(init).is_file()
    is_checkpoint = is_checkpoint and run_of_checkpoint(Path(init)) is None
    source = read_initial_weights(init if is_checkpoint else resolve_model(init))
    norms = (source.patch_norm, source.block_norm)
    if WIDENED.get(variant) != source.variant or norms != ("layer_norm", "layer_norm"):
        return source
    publisher = f"{source.publisher}, widened from {source.variant}"
    return replace(source, publisher=publisher, weights=widened(source.weights), variant=variant)


def _check_architecture(config: TrainConfig, source: InitialWeights) -> None:
    """Refuse weights of another size, and norms that cannot be had from the source's.

    Raises:
        ModelError: what differs.
    """
    if source.variant != config.model.variant:
        raise ModelError(
            f"{config.init}: a run starts from weights of its own size; model.variant is {config.model.variant} in the "
            f"settings and {source.variant} in the weights"
        )
    for setting in ("patch_norm", "block_norm"):
        wanted, found = getattr(config.model, setting), getattr(source, setting)
        tapered = config.taper.patch if setting == "patch_norm" else config.taper.block
        if tapered and found != "layer_norm":
            raise ModelError(
                f"{config.init}: norms are tapered from LayerNorms; taper.norms is {config.taper.norms} in the "
                f"settings and {setting} is {found} in the weights"
            )
        if wanted == found != "layer_norm" and centered(config.model, setting) != centered(source, setting):
            name = setting.replace("norm", "centered")
            raise ModelError(
                f"{config.init}: model.{name} is {centered(config.model, setting)} in the settings and "
                f"{centered(source, setting)} in the weights: take the same"
            )
        if wanted != found and found != "layer_norm":
            raise ModelError(
                f"{config.init}: norms can be had from the same ones or from LayerNorms; model.{setting} is {wanted} "
                f"in the settings and {found} in the weights"
            )
    if source.patch_norm != source.block_norm and (config.model.patch_norm, config.model.block_norm) != (
        source.patch_norm,
        source.block_norm,
    ):
        raise ModelError(
            f"{config.init}: norms are fitted to a network with LayerNorms everywhere; this one has "
            f"model.patch_norm {source.patch_norm} and model.block_norm {source.block_norm}: take the same"
        )


def centered(source: ModelConfig | InitialWeights, setting: str) -> bool:
    """Whether the norms of `patch_norm` or `block_norm` are centered."""
    return source.patch_centered if setting == "patch_norm" else source.block_centered


def match_weights(config: TrainConfig, spec: DatasetSpec, source: InitialWeights) -> Initialization:
    """Lay the source's weights out for the network of a run.

    Raises:
        ModelError: tensors are missing or of another shape.
    """
    model = config.model
    with torch.device("meta"):  # draws nothing
        student = SegFormer(model.variant, spec.num_classes, model.patch_norm, model.block_norm)
        taper(student, config)
        original = SegFormer(model.variant, source.num_classes or 1, source.patch_norm, source.block_norm)
    shapes = {name: tensor.shape for name, tensor in original.state_dict().items()}
    head = [name for name in shapes if name.startswith("decode_head.")]
    bare = source.num_classes is None
    headless = bare and any(
        name not in source.weights for name in head if not name.endswith(_COUNTER) and _CLASSIFIER not in name
    )
    counters = {name for name in shapes if name.endswith(_COUNTER)}
    optional = counters | {name for name in head if headless or (bare and _CLASSIFIER in name)}
    faults = [f"{name} is missing" for name in shapes if name not in source.weights and name not in optional]
    faults += [
        f"{name} is {tuple(tensor.shape)} instead of {tuple(shapes[name])}"
        for name, tensor in source.weights.items()
        if name in shapes and tensor.shape != shapes[name]
    ]
    if faults:
        raise ModelError(f"{config.init}: the weights must be a whole {source.variant}: {_few(faults)}")
    unused = [*source.unused, *sorted(set(source.weights) - set(shapes))]
    weights = {name: tensor for name, tensor in source.weights.items() if name in shapes}
    if headless:
        kept = {name for name in weights if name.startswith("decode_head.")}
        unused += sorted(kept)
        weights = {name: tensor for name, tensor in weights.items() if name not in kept}
    report = InitializationReport(str(config.init), source.digest, source.publisher, 0, unused=unused)
    weights |= _classifier_rows(weights, source.names, spec, report)
    report.notes += differences(config, source)
    wanted = student.state_dict()
    replaced = {
        name
        for name, module in student.named_modules()
        if isinstance(module, EncoderNorm) and type(module) is not type(original.get_submodule(name))
    }
    reference = None
    if replaced:
        reference = original.to_empty(device="cpu").eval()
        reference.load_state_dict(_weights_of_encoder(weights), strict=False)
    weights = {
        name: tensor
        for name, tensor in weights.items()
        if name.rsplit(".", 1)[0] not in replaced and tensor.shape == wanted[name].shape
    }
    report.fitted = dict.fromkeys(sorted(replaced))
    report.loaded = len(weights)
    tapered = {name for name, module in student.named_modules() if isinstance(module, TaperedNorm)}
    started = replaced | tapered  # a tapered norm takes γ and β of the LayerNorm, and measures the rest
    known = {*weights, *counters}
    report.fresh = [name for name in wanted if name not in known and name.rsplit(".", 1)[0] not in started]
    return Initialization(weights, report, reference)


def _weights_of_encoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The part of the weights that belongs to the encoder."""
    return {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}


def _classifier_rows(
    weights: dict[str, Tensor], names: tuple[str, ...] | None, spec: DatasetSpec, report: InitializationReport
) -> dict[str, Tensor]:
    """The classifier's tensors for the data set's classes; what cannot be used is taken out of `weights`.

    The same names in another order move their rows; the same number without names is taken as it stands. All else
    starts a new classifier.
    """
    rows = {name: weights.pop(name) for name in list(weights) if name.startswith(_CLASSIFIER)}
    if not rows:
        return {}
    count = next(iter(rows.values())).shape[0]
    wanted = [plain_name(name) for name in spec.names]
    if names is None and count == spec.num_classes:
        report.notes.append(f"the source's {count} classes have no names and are taken for the data set's, in order")
        return rows
    found = [] if names is None else [plain_name(name) for name in names]
    if found == wanted:
        return rows
    if sorted(found) == sorted(wanted) and len(set(found)) == len(found):
        order = [found.index(name) for name in wanted]
        report.notes.append("the source has the same classes in another order; its classifier's rows were moved")
        return {name: tensor[order].clone() for name, tensor in rows.items()}
    report.unused += sorted(rows)
    report.notes.append(
        f"the source's {count} classes are not the data set's {spec.num_classes}: the classifier is new"
    )
    return {}


def differences(config: TrainConfig, source: InitialWeights) -> list[str]:
    """Settings in which the run differs from the network that the weights were trained in."""
    notes = []
    if config.model.norm_eps != source.norm_eps:
        notes.append(
            f"the source's LayerNorms have an epsilon of {source.norm_eps:g}, this run's of "
            f"{config.model.norm_eps:g}; --model.norm_eps {source.norm_eps:g} keeps it"
        )
    if source.normalization not in (None, (IMAGENET_MEAN, IMAGENET_STD)):
        notes.append(f"the source's images were normalized by {source.normalization}, this run's by ImageNet's")
    if source.is_nvidia:
        notes.append(
            "these weights are NVIDIA's, or made from NVIDIA's: its licence for SegFormer allows research and "
            "evaluation, no commercial use, and what is trained from them is bound by it"
        )
    return notes


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
