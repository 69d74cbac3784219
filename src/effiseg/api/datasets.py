"""Data sets, as functions: checked, counted, converted, drawn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Unpack

from effiseg.api.speech import speaks_python
from effiseg.config.dataset import (
    DataCheckConfig,
    DataConvertConfig,
    DataShardConfig,
    DataStatisticsConfig,
    SynthesizeConfig,
)
from effiseg.config.keywords import (
    DataConvertKeywords,
    DataKeywords,
    DataShardKeywords,
    DataStatisticsKeywords,
    PathLike,
    SynthesizeKeywords,
)
from effiseg.config.parsing import keyword_settings
from effiseg.config.signatures import signature_of
from effiseg.operations import Data, data_name, data_set
from effiseg.progress import Progress

# What works is imported where it works: evaluating and exporting need nothing of training.
if TYPE_CHECKING:
    from effiseg.data.check import CheckReport


@speaks_python
@signature_of(DataCheckConfig, DataKeywords)
def check_data(data: Data, *, progress: Progress | None = None, **settings: Unpack[DataKeywords]) -> CheckReport:
    """Every fault of a data set that would spoil training, as `effiseg data check` names them.

    Args:
        data: see `Data`; or pictures without masks: a folder, a glob, a .txt list, shards.
        progress: called with (pairs done, pairs in all).
        settings: data_root.

    Raises:
        DataError: the check could not run.

    Example:
        >>> report = effiseg.check_data("colours/data.yaml")
        >>> report.faults, report.images
        ([], {'train': 14, 'val': 3, 'test': 3})
    """
    from effiseg.data.check import check_dataset
    from effiseg.data.picture_sources import dataset_or_pictures

    config = keyword_settings(DataCheckConfig, "effiseg.check_data", {"data": data_name(data), **settings})
    if isinstance(data, str | os.PathLike):
        return check_dataset(dataset_or_pictures(config.data, config.data_root), progress)
    return check_dataset(data.spec(), progress)


@speaks_python
@signature_of(DataStatisticsConfig, DataStatisticsKeywords)
def data_statistics(data: Data, **settings: Unpack[DataStatisticsKeywords]) -> dict[str, Any]:
    """Pixel shares per class and split, and class weights, as `effiseg data stats --json` prints them.

    Args:
        data: see `Data`.
        settings: any other setting of `effiseg data stats --help`.

    Returns:
        See `effiseg.data.dataset_statistics.dataset_statistics`.

    Raises:
        DataError: the data set breaks a rule.

    Example:
        >>> statistics = effiseg.data_statistics("colours/data.yaml", splits=["val"])
        >>> sum(statistics["splits"]["val"]["shares"].values())
        1.0
    """
    from effiseg.data.dataset_statistics import dataset_statistics

    given = {"data": data_name(data), **settings}
    config = keyword_settings(DataStatisticsConfig, "effiseg.data_statistics", given)
    return dataset_statistics(config, data_set(data, config.data_root))


@speaks_python
@signature_of(DataConvertConfig, DataConvertKeywords)
def convert_data(
    data: PathLike, out: PathLike, *, progress: Progress | None = None, **settings: Unpack[DataConvertKeywords]
) -> dict[str, int]:
    """Write a data set of any format as label PNGs, as `effiseg data convert` does.

    Args:
        data: a data set's YAML file, or a preset's name together with `data_root`.
        out: folder to write; new or empty.
        progress: called with (samples done, samples in all).
        settings: data_root; link, for symbolic links to the images instead of copies.

    Returns:
        Split → number of samples.

    Raises:
        DataError: the folder holds something, or a sample cannot be read.

    Example:
        >>> effiseg.convert_data("colours/data.yaml", "plain")
        {'train': 14, 'val': 3, 'test': 3}
    """
    from effiseg.data.convert import convert_dataset

    config = keyword_settings(DataConvertConfig, "effiseg.convert_data", {"data": data, "out": out, **settings})
    return convert_dataset(data_set(data, config.data_root), config.out, link=config.link, progress=progress)


@speaks_python
@signature_of(DataShardConfig, DataShardKeywords)
def shard_data(
    data: PathLike, out: PathLike, *, progress: Progress | None = None, **settings: Unpack[DataShardKeywords]
) -> dict[str, dict[str, Any]]:
    """Write a data set, or pictures without masks, as shards of WebDataset's format, as `effiseg data shard` does.

    Args:
        data: a data set's YAML file, a preset's name together with `data_root`, or a folder, glob or list of pictures.
        out: folder to write; new, empty, or one of an earlier call, which is completed.
        progress: called with (shards done, shards in all).
        settings: data_root; shard_mb, the size of a shard in 10⁶ bytes.

    Returns:
        Split → samples, bytes, class_pixels and its shards, as in `shards.json`.

    Raises:
        DataError: the folder holds something else, or a sample cannot be read.
        UsageError: the package webdataset is missing.

    Example:
        >>> effiseg.shard_data("colours/data.yaml", "shards")["train"]["samples"]
        14
    """
    from effiseg.data.picture_sources import dataset_or_pictures
    from effiseg.data.shards.writing import shard_dataset

    config = keyword_settings(DataShardConfig, "effiseg.shard_data", {"data": data, "out": out, **settings})
    spec = dataset_or_pictures(config.data, config.data_root)
    return shard_dataset(spec, config.out, shard_mb=config.shard_mb, progress=progress)


@speaks_python
@signature_of(SynthesizeConfig, SynthesizeKeywords)
def synthesize_scenes(
    folder: PathLike, *, progress: Progress | None = None, **settings: Unpack[SynthesizeKeywords]
) -> dict[str, int]:
    """Draw street scenes in the Cityscapes layout, as `effiseg data synthesize` does.

    Args:
        folder: folder to write; new, empty, or one of an earlier call, which is completed.
        progress: called with (scenes done, scenes in all).
        settings: scenes of train, val and test, their size, and their seed.

    Returns:
        Split → number of scenes; train on them with `data="cityscapes", data_root=folder`.

    Raises:
        DataError: the folder holds something else.

    Example:
        >>> effiseg.synthesize_scenes("scenes", train=2, val=1, size=(32, 64))
        {'train': 2, 'val': 1, 'test': 0}
    """
    from effiseg.scenes.synthetic import synthesize

    config = keyword_settings(SynthesizeConfig, "effiseg.synthesize_scenes", {"folder": folder, **settings})
    synthesize(config.folder, config.counts, *config.size, config.seed, progress)
    return config.counts
