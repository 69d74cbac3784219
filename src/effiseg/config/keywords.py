"""Settings as keyword arguments: what editors and mypy complete and check in calls of `effiseg.train` and its kin.

Names and types alone; defaults, ranges and meaning stand in the settings dataclasses, whose fields these are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from effiseg.config.cluster import Place
from effiseg.config.data import AugmentPreset, Resize
from effiseg.config.engine import EngineName, ExportForm, Output, Precision
from effiseg.config.framing import Mode
from effiseg.config.model import Variant
from effiseg.config.prediction import Existing, RayOutput, Saved
from effiseg.config.training import Cache, Device, Protocol, SamplerName, TrackerName, TrainingPrecision

PathLike = str | os.PathLike[str]
ImageSize = str | tuple[int, int]
"""(height, width) in pixels, or "HEIGHTxWIDTH"."""


class _TrainingKeywords(TypedDict, total=False):
    data_root: PathLike | None
    unlabeled: PathLike | Sequence[PathLike] | None
    unlabeled_ratio: float | None
    unlabeled_jitter: float | None
    teacher: PathLike | Sequence[PathLike] | None
    teacher_weights: Sequence[float] | None
    init: PathLike | None
    init_digest: str | None
    latency: str | float | None
    engine: EngineName | None
    latency_found: str | None
    epochs: int | None
    steps: int | None
    batch_size: int | None
    accumulate: int | None
    image_size: ImageSize | None
    images_per_epoch: int | None
    resize: Resize | None
    augment: AugmentPreset | None
    augmentation: Mapping[str, Any] | None
    sampler: SamplerName | None
    device: Device | None
    devices: int | None
    num_nodes: int | None
    shard_window: int | None
    precision: TrainingPrecision | None
    workers: int | None
    cache: Cache | None
    compile: bool | None
    model: Mapping[str, Any] | None
    distillation: Mapping[str, Any] | None
    optimizer: Mapping[str, Any] | None
    ema_decay: float | None
    validate_every: int | None
    protocol: Protocol | None
    checkpoint_minutes: float | None
    keep_epochs: Sequence[int] | None
    transfer: Mapping[str, Any] | None
    taper: Mapping[str, Any] | None
    logger: Sequence[TrackerName] | None
    tensorboard: bool | None
    deterministic: bool | None


class TrainKeywords(_TrainingKeywords, total=False):
    """Settings of `effiseg.train` beside its data, folder and loss; None leaves one to the recipe."""

    recipe: PathLike | None
    seed: int | None
    early_stop_epochs: int | None
    select: Literal["last", "best"] | None


class PretrainKeywords(TrainKeywords, total=False):
    """Settings of `effiseg.pretrain` beside its folder."""

    data: PathLike | None
    loss: str | Mapping[str, Any] | None
    images: int | None


class AblationKeywords(_TrainingKeywords, total=False):
    """Settings of `effiseg.ablate` beside its data and folder; those of training hold for every row."""

    loss: str | Mapping[str, Any] | None
    recipes: Sequence[PathLike] | None
    seeds: Sequence[int] | None
    budget: Literal["epochs", "time"] | None
    split: str | None
    teacher_recipe: PathLike | None
    teacher_epochs: int | None
    teacher_init: PathLike | None
    latency_size: ImageSize | None


class DataKeywords(TypedDict, total=False):
    """Settings of `effiseg.check_data` beside its data, and of all that reads a data set."""

    data_root: PathLike | None


class DataStatisticsKeywords(DataKeywords, total=False):
    """Settings of `effiseg.data_statistics` beside its data."""

    splits: Sequence[str] | None
    image_size: ImageSize


class DataConvertKeywords(DataKeywords, total=False):
    """Settings of `effiseg.convert_data` beside its data and folder."""

    link: bool


class DataShardKeywords(DataKeywords, total=False):
    """Settings of `effiseg.shard_data` beside its data and folder."""

    shard_mb: float


class ModelConvertKeywords(DataKeywords, total=False):
    """Settings of `effiseg.convert_model` beside its weights and folder."""

    data: PathLike | None
    image_size: ImageSize | None


class SynthesizeKeywords(TypedDict, total=False):
    """Settings of `effiseg.synthesize_scenes` beside its folder."""

    train: int
    val: int
    test: int
    size: ImageSize
    seed: int


class InspectionKeywords(DataKeywords, total=False):
    """Settings of `effiseg.inspect_norms` beside its model and data."""

    split: str
    images: int
    image_size: ImageSize | None
    device: Device
    seed: int


class _FramingKeywords(TypedDict, total=False):
    image_size: ImageSize | None
    resize: Resize | None
    mode: Mode
    window: ImageSize | None
    stride: int | None
    flip: bool
    batch_size: int
    device: Device


class _ClusterKeywords(TypedDict, total=False):
    on: Place
    ray_address: str | None
    ray_actors: int | None
    ray_threads: int
    ray_part: int


class EvaluationKeywords(_FramingKeywords, _ClusterKeywords, DataKeywords, total=False):
    """Settings of `effiseg.evaluate` beside its model, data and split."""

    protocol: Protocol
    workers: int | None


class PredictionKeywords(_FramingKeywords, _ClusterKeywords, total=False):
    """Settings of `effiseg.predict` beside its model, sources and folder."""

    save: Sequence[Saved] | None
    polygon_tolerance: float
    polygon_area: int
    label_ids: bool
    existing: Existing
    ray_output: RayOutput
    ray_column: str
    ray_id_column: str | None


class ExportKeywords(DataKeywords, total=False):
    """Settings of `effiseg.export_model` beside its model and file."""

    format: ExportForm | None
    image_size: ImageSize | None
    dynamic: bool
    precision: Precision
    opset: int | None
    output: Output
    data: PathLike | None
    split: str
    calibration_images: int
    evaluation_images: int | None


class SiteKeywords(DataKeywords, total=False):
    """Settings of `effiseg.export_site` beside its models and folder."""

    image_size: ImageSize | None
    data: PathLike | None
    split: str


class ServeKeywords(TypedDict, total=False):
    """Settings of `effiseg.serve` beside its models."""

    host: str
    port: int
    allowed_hosts: Sequence[str] | None
    image_size: ImageSize | None
    device: Device
    max_bytes: int
    max_pixels: int
    timeout: float
    concurrency: int


class BenchmarkKeywords(TypedDict, total=False):
    """Settings of `effiseg.run_benchmark` beside its models."""

    variants: bool
    sizes: Variant | Sequence[Variant]
    image_size: ImageSize
    batch_size: int
    device: Device
    threads: int | None
    engine: EngineName | Sequence[EngineName]
    precision: Precision | Sequence[Precision]
    output: Output
    against: Literal["transformers"] | None
    rounds: int
    passes: int
    warmup: int


class PushKeywords(TypedDict, total=False):
    """Settings of `effiseg.push` beside its model and repository."""

    private: bool
    revision: str | None
