"""Work with data sets beside training: every setting of the `effiseg data` commands."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.config.ranges import NOT_NEGATIVE, POSITIVE, check_ranges


@dataclass(kw_only=True)
class DataCheckConfig:
    """Settings of `effiseg data check`."""

    data: str
    """A data set's YAML file, or a preset's name (docs/datasets.md) together with --data_root."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""


@dataclass(kw_only=True)
class DataStatisticsConfig(DataCheckConfig):
    """Settings of `effiseg data stats`."""

    splits: list[str] | None = None
    """Only these splits; null: all of them."""
    image_size: tuple[int, int] = (512, 1024)
    """Network input whose crops show what the sampler rare_class does."""


@dataclass(kw_only=True)
class DataConvertConfig(DataCheckConfig):
    """Settings of `effiseg data convert`."""

    out: str
    """Folder to write; new or empty."""
    link: bool = False
    """Make symbolic links to the images instead of copies."""


@dataclass(kw_only=True)
class DataShardConfig:
    """Settings of `effiseg data shard`."""

    data: str
    """A data set's YAML file, a preset's name together with --data_root, or pictures without masks: a folder, a glob, a
    .txt list."""
    out: str
    """Folder to write; new, empty, or one of an earlier call with the same data, which is completed."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's `path`."""
    shard_mb: float = 256
    """Size of a shard in 10⁶ bytes."""

    def __post_init__(self) -> None:
        check_ranges(self, {"shard_mb": POSITIVE})


@dataclass(kw_only=True)
class SynthesizeConfig:
    """Settings of `effiseg data synthesize`."""

    folder: str
    """Folder to write; new, empty, or one this command wrote before."""
    train: int = 600
    """Training scenes."""
    val: int = 100
    """Validation scenes."""
    test: int = 0
    """Test scenes."""
    size: tuple[int, int] = (128, 256)
    """Size of the images."""
    seed: int = 0
    """Seed of the scenes: the same one gives the same scenes."""

    def __post_init__(self) -> None:
        check_ranges(self, dict.fromkeys(("train", "val", "test", "seed"), NOT_NEGATIVE))

    @property
    def counts(self) -> dict[str, int]:
        """Scenes of every split."""
        return {"train": self.train, "val": self.val, "test": self.test}
