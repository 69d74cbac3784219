"""How a run goes: every setting of `effiseg train`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from effiseg.config.data import AugmentationConfig, AugmentPreset, Resize, parse_image_size, size_text
from effiseg.config.engine import EngineName
from effiseg.config.loss import DistillationConfig, LossConfig
from effiseg.config.model import ModelConfig
from effiseg.config.ranges import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    check_length,
    check_processes,
    check_ranges,
)
from effiseg.config.taper import TaperConfig
from effiseg.config.transfer import TransferConfig
from effiseg.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]
TrainingPrecision = Literal["float32", "bfloat16", "float16"]
Protocol = Literal["full", "quarter"]
Cache = Literal["off", "disk", "ram"]
TrackerName = Literal["tensorboard", "wandb", "mlflow"]
INIT_WORDS = ("auto", "starter", "scratch")
"""Values of `init` that are no place of weights."""
SamplerName = Literal["uniform", "rare_class"]


@dataclass
class OptimizerConfig:
    """AdamW with linear warm-up and polynomial decay (section 4.3 of the paper)."""

    lr: float = 6e-4
    """Peak learning rate; it is not rescaled with the batch size."""
    head_lr_ratio: float = 1.0
    """Learning rate of the decode head (and of distillation's projections) divided by the encoder's, which is `lr`;
    10 is usual where `init` gives an ImageNet encoder."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """AdamW's two decay rates."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    weight_decay: float = 0.01
    """Decoupled weight decay on matrices and convolution kernels; never on biases, norms or their gains."""
    warmup_ratio: float = 0.05
    """Share of all steps over which the learning rate rises linearly from 0."""
    decay_ratio: float = 1.0
    """Share of all steps, the last ones, over which the rate falls to 0; 1: from the warm-up's end on."""
    power: float = 1.0
    """Exponent of the polynomial decay to 0."""
    gradient_clip_norm: float | None = None
    """Largest norm of all gradients together; null does not clip."""

    def __post_init__(self) -> None:
        check_length(self, "betas", 2, "two numbers", "optimizer.")
        check_ranges(
            self,
            {
                "lr": POSITIVE,
                "head_lr_ratio": POSITIVE,
                "betas": BELOW_ONE,
                "eps": NOT_NEGATIVE,
                "weight_decay": NOT_NEGATIVE,
                "warmup_ratio": SHARE,
                "decay_ratio": SHARE,
                "power": NOT_NEGATIVE,
                "gradient_clip_norm": POSITIVE,
            },
            "optimizer.",
        )


@dataclass
class TrainConfig:
    """Settings of one training run."""

    RENAMED_WORDS: ClassVar[dict[str, dict[str, str]]] = {
        "precision": {"32": "float32", "bf16": "bfloat16", "16": "float16"}
    }
    COMMON: ClassVar[dict[str, tuple[str, ...]]] = {
        "Files": ("data", "data_root", "out", "resume"),
        "Model": ("recipe", "model.variant", "init", "teacher", "loss.name"),
        "Training": ("epochs", "batch_size", "image_size", "augment", "optimizer.lr", "seed"),
        "Machine": ("device", "precision", "workers", "cache", "logger"),
    }
    data: str = ""
    """Data set: a YAML file, or a preset's name (cityscapes, ade20k, …) together with --data_root."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""
    unlabeled: list[str] = field(default_factory=list)
    """Pictures without masks, learnt from the teacher alone: folders, globs, .txt lists and shards (.tar), separated by
    commas; they replace those that the data set's YAML file names."""
    unlabeled_ratio: float = 1.0
    """Unlabeled pictures for each labelled one in every batch, where there are any; 0 leaves them out."""
    unlabeled_jitter: float = 1.0
    """Factor on the colour knobs of the augmentation in what the student sees of unlabeled pictures; the teacher sees
    them with factor 1."""
    out: str = ""
    """Run folder to write; must not exist yet."""
    recipe: str = "baseline"
    """Name of the recipe, or a YAML file, whose settings come before all others."""
    teacher: str | list[str] | None = None
    """Teacher for distillation: a run folder, a model folder, a transformers folder or an exported file, which gives
    logits alone. Given again, or as a list, there are several."""
    teacher_weights: list[float] | None = None
    """Weight of each teacher, where there are several; null: all alike. Terms are weighted means over the teachers."""
    init: str | None = "auto"
    """Weights to start from. auto: the starter that comes with effiseg, where the size has one. starter: that one, or
    an error. scratch, or null: weights drawn by `seed`. Or a run, model or transformers folder, a Hub id, or a file of
    weights (.pth, .safetensors) under the names of NVlabs, mmsegmentation or transformers."""
    init_digest: str | None = None
    """Fingerprint of the weights of `init`, which a run writes down; where it is given, other weights are refused."""
    latency: str | None = None
    """Longest time for one image on this machine, as 25ms: the most accurate size, by the published table, that is as
    fast takes the place of model.variant. Sizes are timed with random weights before the run."""
    engine: EngineName = "torch"
    """What runs the networks that `latency` times."""
    latency_found: str | None = None
    """What `latency` found: size, milliseconds and machine, which a run writes down; where it is given, nothing is
    timed."""
    epochs: int = 100
    """Passes over the training split."""
    steps: int | None = None
    """Optimizer steps of the run, in place of `epochs`; the last epoch may be cut short."""
    batch_size: int = 8
    """Images per optimizer step, over all devices and accumulated batches."""
    accumulate: int = 1
    """Forward/backward passes that make up one optimizer step."""
    image_size: str = "512x1024"
    """Network input, HEIGHTxWIDTH."""
    images_per_epoch: int | None = None
    """Training pictures of one epoch, where the data set is drawn (scenes, shapes); null takes its own number."""
    resize: Resize = "keep_ratio"
    """keep_ratio: scale to fit inside image_size. fixed: scale to exactly image_size."""
    augment: AugmentPreset = "standard"
    """standard: scale, crop, flip, colours. paper: flip and shift by at most 2 pixels. none."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """Single knobs that differ from the preset `augment`."""
    sampler: SamplerName = "uniform"
    """uniform: every image once an epoch. rare_class: up to half of an epoch's places show crops around classes in
    turn, rare ones more often."""
    shard_window: int = 16
    """Where pictures lie in shards: how many shards are shuffled together at a time; the order of shards is drawn anew
    in every epoch."""
    seed: int = 0
    """Seed of the weights, the order of samples and their augmentation."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    devices: int = 1
    """Processes of data-parallel training on each machine: GPUs, or on the CPU processes over gloo."""
    num_nodes: int = 1
    """Machines that train together, under a launcher (torchrun, SLURM, …) that starts this command on all of them."""
    precision: TrainingPrecision = "float32"
    """float32, or mixed precision with bfloat16 or float16 (with loss scaling; GPU only)."""
    workers: int = 2
    """Loader processes per device; 0 decodes in the main process."""
    cache: Cache = "off"
    """Keep decoded images and masks, as large as training needs them: disk (for later epochs and runs, in
    $EFFISEG_CACHE or ~/.cache/effiseg), ram (for this run), or off."""
    compile: bool = False
    """Compile forward, loss and backward with torch.compile; needs a C++ compiler on the CPU, and pays where a run
    is long."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The supervised loss."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """The distillation terms."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and schedule."""
    taper: TaperConfig = field(default_factory=TaperConfig)
    """Norms that start as LayerNorms and become what `model` names while training."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the weights, which is then what is evaluated and saved."""
    early_stop_epochs: int | None = None
    """Stop after this many epochs without a better val mIoU."""
    select: Literal["last", "best"] = "last"
    """Which weights become the model folder: the last, or those of the best epoch on val."""
    validate_every: int = 1
    """Epochs between evaluations on val; 0 evaluates only after the last."""
    protocol: Protocol = "full"
    """Label resolution of the evaluations on val."""
    checkpoint_minutes: float = 10.0
    """Longest time between checkpoints inside an epoch; one is written after every epoch in any case."""
    keep_epochs: list[int] = field(default_factory=list)
    """Epochs after which the weights are kept as model folders, RUN/snapshots/epoch-…."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """At the end, measure what the network is worth as a start on another data set."""
    logger: list[TrackerName] = field(default_factory=list)
    """Trackers that are told settings, scalars, pictures and the model, separated by commas; each needs the extra of
    its name."""
    tensorboard: bool = False
    """The same as tensorboard among the loggers."""
    deterministic: bool = False
    """Ask torch for deterministic GPU kernels; CPU runs are repeatable without it."""

    def __post_init__(self) -> None:
        self.image_size = size_text(parse_image_size(self.image_size))
        if self.latency is not None and parse_milliseconds(self.latency) <= 0:
            raise UsageError(f"latency must be more than 0 ms; found {self.latency}")
        self.augmentation.filled_from(self.augment)
        if self.init_digest is not None and self.init in (None, "auto", "scratch"):
            raise UsageError("init_digest is the fingerprint of init's weights; give --init too, or leave it out")
        check_ranges(
            self,
            {
                "epochs": COUNT,
                "steps": COUNT,
                "images_per_epoch": COUNT,
                "batch_size": COUNT,
                "accumulate": COUNT,
                "devices": COUNT,
                "num_nodes": COUNT,
                "shard_window": COUNT,
                "early_stop_epochs": COUNT,
                "workers": NOT_NEGATIVE,
                "validate_every": NOT_NEGATIVE,
                "checkpoint_minutes": NOT_NEGATIVE,
                "seed": (0, 2**63, True, False),
                "ema_decay": (0, 1, False, False),
                "unlabeled_ratio": NOT_NEGATIVE,
                "unlabeled_jitter": NOT_NEGATIVE,
                "teacher_weights": POSITIVE,
            },
        )
        check_processes(self, "workers", "devices")
        self._check_taper()
        self.teacher = one_or_several(self.teachers)
        if self.teacher_weights is not None:
            check_length(self, "teacher_weights", len(self.teachers), "a number for each teacher")
        if any(epoch < 1 or epoch > self.epochs for epoch in self.keep_epochs):
            raise UsageError(f"keep_epochs must be epochs of the run, 1 to {self.epochs}; found {self.keep_epochs}")
        if self.batch_size % (self.accumulate * self.processes):
            nodes = (" × num_nodes", f" × {self.num_nodes}") if self.num_nodes > 1 else ("", "")
            raise UsageError(
                f"batch_size {self.batch_size} must be a multiple of accumulate × devices{nodes[0]} = "
                f"{self.accumulate} × {self.devices}{nodes[1]}"
            )
        self._check_unlabeled()

    def _check_unlabeled(self) -> None:
        """Refuse a ratio that splits pictures, and colours that cannot be, or cannot differ."""
        if (whole := unlabeled_count(self.unlabeled_ratio, self.batch_size_per_pass)) is None:
            raise UsageError(
                f"unlabeled_ratio must give a whole number of pictures a pass; found {self.unlabeled_ratio:g} × "
                f"{self.batch_size_per_pass} images: take a multiple of 1/{self.batch_size_per_pass}"
            )
        if self.unlabeled_jitter == 1 or not whole:
            return
        filled = self.augmentation.filled_from(self.augment)
        knobs = {name: getattr(filled, name) for name in ("brightness", "contrast", "saturation", "hue")}
        if not any(knobs.values()):
            raise UsageError(
                "unlabeled_jitter is a factor on colours that the augmentation does not vary; set augmentation."
                f"brightness and its kin, or leave it at 1; found {self.unlabeled_jitter:g}"
            )
        try:
            AugmentationConfig(**{name: self.unlabeled_jitter * knob for name, knob in knobs.items()})
        except UsageError as error:
            raise UsageError(f"unlabeled_jitter {self.unlabeled_jitter:g} is too large: {error}") from None

    def _check_taper(self) -> None:
        """Refuse norms that cannot be tapered, and model folders of epochs that still have LayerNorms."""
        chosen = {"patch_norm": self.taper.patch, "block_norm": self.taper.block}
        for name, tapered in chosen.items():
            if tapered and (norm := getattr(self.model, name)) not in ("dyt", "dyl"):
                raise UsageError(
                    f"taper.norms {self.taper.norms} turns LayerNorms into model.{name}: set it to dyt or dyl; found "
                    f"{norm}"
                )
        early = [epoch for epoch in self.keep_epochs if epoch < self.taper.until * self.epochs]
        if any(chosen.values()) and early:
            raise UsageError(
                f"keep_epochs {early[0]} comes before epoch {self.taper.until * self.epochs:g}, where taper.until "
                "takes the last of the LayerNorms away; no model is written with them, so take later ones"
            )

    @property
    def latency_ms(self) -> float | None:
        """`latency` in milliseconds."""
        return None if self.latency is None else parse_milliseconds(self.latency)

    @property
    def teachers(self) -> list[str]:
        """All teachers; empty where there is none."""
        given = self.teacher or []
        return [given] if isinstance(given, str) else list(given)

    @property
    def trackers(self) -> list[TrackerName]:
        """All trackers, each once."""
        return list(dict.fromkeys([*self.logger, *(["tensorboard"] if self.tensorboard else [])]))  # type: ignore[list-item]

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input in pixels."""
        return parse_image_size(self.image_size)

    @property
    def batch_size_per_pass(self) -> int:
        """Labelled images of one forward pass in one process."""
        return self.batch_size // (self.accumulate * self.processes)

    @property
    def processes(self) -> int:
        """Processes that share every optimizer step."""
        return self.devices * self.num_nodes

    @property
    def unlabeled_per_pass(self) -> int:
        """Unlabeled pictures beside them, where the run has any."""
        count = unlabeled_count(self.unlabeled_ratio, self.batch_size_per_pass)
        assert count is not None
        return count


def parse_milliseconds(text: str) -> float:
    """A time such as 25ms, 25 or 0.5s in milliseconds.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", text.strip())
    if match is None:
        raise UsageError(f"latency must be a time such as 25ms or 0.5s; found {text!r}")
    return float(match[1]) * (1000 if match[2] == "s" else 1)


def unlabeled_count(ratio: float, images: int) -> int | None:
    """Unlabeled pictures beside `images` labelled ones; None where that is no whole number."""
    count = round(ratio * images)
    return count if math.isclose(count, ratio * images, abs_tol=1e-9) else None


def one_or_several(paths: list[str]) -> str | list[str] | None:
    """Teachers as settings hold them: one alone is no list."""
    return (paths or None) if len(paths) != 1 else paths[0]
