"""The training samples of a run, checked, and their loaders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from effiseg.config.training import TrainConfig
from effiseg.data.batch_sampler import TrainingBatchSampler
from effiseg.data.cache import SampleCache, StoredSize
from effiseg.data.cache_storage import CacheStorage, open_disk_storage, open_ram_storage
from effiseg.data.dataset import SegmentationDataset, start_worker
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.faults import ListingNotes
from effiseg.data.image_file import read_header
from effiseg.data.mask_counts import MaskCounts, count_masks
from effiseg.data.notices import describe_overlap, first_notices, label_notices, listing_notices
from effiseg.data.rare_class_sampler import RareClassSampler
from effiseg.data.sample import Sample
from effiseg.data.sample_order import order_of
from effiseg.data.samples import check_samples, list_for_training
from effiseg.data.shards.listing import ShardSamples
from effiseg.data.unlabeled import MixedDataset, UnlabeledDataset, UnlabeledOrder, collate_mixed
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.environment import require_memory
from effiseg.errors import DataError, UsageError
from effiseg.progress import progress_bar


class SegmentationDataModule(L.LightningDataModule):
    """The training split of a data set as a run reads it.

    Args:
        config: the run's settings.
        spec: the data set.
    """

    def __init__(self, config: TrainConfig, spec: DatasetSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self._train_samples: Sequence[Sample] = []
        self.unlabeled_samples: Sequence[Sample] = []
        """Pictures that the teacher alone speaks of; after `setup`, in a run that has a teacher."""
        self.has_labels = True
        """Whether there is a split `train`; else unlabeled pictures stand in its place, and learn from the teacher."""
        self._position = (0, 0)
        self._augmentation = config.augmentation.filled_from(config.augment)
        self._storage: CacheStorage | None = None
        self.train_cache: SampleCache | None = None
        """Where decoded training pairs are kept; after `setup`, if the run has a cache."""
        self.val_cache: SampleCache | None = None
        """Where decoded validation pairs are kept, for `EvaluationDataset` at the run's input size."""
        self._cache_is_settled = False
        self.notices: list[str] = []
        """Notices of the data, one line each; after `setup`."""
        self._val_samples: Sequence[Sample] = []
        self._mask_counts: MaskCounts | None = None
        self.rare_classes: RareClassSampler | None = None
        """Which sample stands where in an epoch; after `setup`, with the sampler `rare_class`."""

    def setup(self, stage: str | None = None) -> None:
        """List the pairs of train (and of val, where there is one), check the first batch of each, open the cache.

        Raises:
            DataError: an image without a mask, a mask with a foreign value, …; the message names the file.
            UsageError: there is no place for the cache.
        """
        if self._train_samples:
            return
        if self.spec.drawn is not None and (self.config.cache != "off" or self.config.sampler != "uniform"):
            raise UsageError(
                f"{self.spec.source}: what is drawn is new in every epoch: leave cache off and sampler uniform; found "
                f"cache {self.config.cache}, sampler {self.config.sampler}"
            )
        notes = ListingNotes()
        train, val = list_for_training(self.spec, notes)
        self.has_labels = "train" in self.spec.splits
        if not self.has_labels:
            train = self._pictures_alone()
        self.notices += listing_notices(self.spec, train, val, notes)
        first_keys = next(iter(self._sampler(train, process_index=0)))
        first = [*(train[index] for _, index in first_keys), *val[: self.config.batch_size_per_pass]]
        check_samples(self.spec, first)
        self.notices += first_notices(self.spec, first)
        self.unlabeled_samples = self._list_unlabeled(val) if self.has_labels else []
        self._train_samples, self._val_samples = train, val
        if self.has_labels and all(sample.files for sample in train):  # else their counts could not be kept
            self.notices += label_notices(self.spec, "train", train, self.mask_counts)
            with progress_bar("reading the masks of val", log_seconds=10) as advance:
                self.notices += label_notices(self.spec, "val", val, count_masks(self.spec, val, advance))
        if self.config.sampler == "rare_class":
            self.rare_classes = RareClassSampler(self.mask_counts.classes, self.config.seed)
        self._open_cache()

    def _pictures_alone(self) -> Sequence[Sample]:
        """The pictures of a run without labels, whose teacher is all its supervision.

        Raises:
            DataError: there are none, or as `list_unlabeled`.
            UsageError: there is no teacher, or a setting needs labels.
        """
        config = self.config
        if not (config.unlabeled or self.spec.unlabeled):
            raise DataError(f"{self.spec.source}: no split 'train' and no unlabeled pictures; name one of them")
        if not config.distillation.enabled:
            raise UsageError(
                f"{self.spec.source}: has no split 'train'; unlabeled pictures alone are learnt from a teacher: give "
                "--teacher with a recipe that distils"
            )
        if config.sampler != "uniform" or config.unlabeled_jitter != 1:
            raise UsageError(
                f"{self.spec.source}: without a split 'train' leave sampler uniform and unlabeled_jitter 1; found "
                f"sampler {config.sampler}, unlabeled_jitter {config.unlabeled_jitter:g}"
            )
        samples = list_unlabeled(self.spec, config.unlabeled)
        self.notices.append(f"no labels: {len(samples)} unlabeled pictures learn from the teacher alone")
        return samples

    def _list_unlabeled(self, val: Sequence[Sample]) -> Sequence[Sample]:
        """The unlabeled pictures of the run; their first batch is decoded, and said how many there are.

        Raises:
            DataError: as `list_unlabeled` and `Sample.check`.
            ResourceError: a pass with them that memory cannot hold.
        """
        config = self.config
        named = config.unlabeled or list(self.spec.unlabeled)
        if not named or not config.unlabeled_per_pass:
            return []
        if not config.distillation.enabled:
            self.notices.append(
                f"{self.spec.source}: names unlabeled pictures; a run without a teacher cannot learn from them and "
                "leaves them out"
            )
            return []
        require_memory(config.batch_size_per_pass + config.unlabeled_per_pass, config.input_size, config.device)
        samples = list_unlabeled(self.spec, config.unlabeled)
        check_samples(self.spec, samples[: config.unlabeled_per_pass])
        overlap = describe_overlap(self.spec, samples, val, "the unlabeled pictures")
        self.notices += [] if overlap is None else [overlap]
        self.notices.append(
            f"{len(samples)} unlabeled pictures: {config.unlabeled_per_pass} join the {config.batch_size_per_pass} "
            "labelled ones of every pass, and learn from the teacher alone"
        )
        return samples

    @property
    def unlabeled_per_pass(self) -> int:
        """Unlabeled pictures of one pass in one process; 0 in a run without."""
        return self.config.unlabeled_per_pass if self.unlabeled_samples else 0

    @property
    def mask_counts(self) -> MaskCounts:
        """Pixel counts of the training masks: read once in a session, and kept for later ones where that can be.

        Raises:
            DataError: a mask cannot be read, or holds a value that is no class.
        """
        if self._mask_counts is None:
            with progress_bar("reading the masks of train", log_seconds=10) as advance:
                self._mask_counts = count_masks(self.spec, self.train_samples, advance)
        return self._mask_counts

    def _open_cache(self) -> None:
        config = self.config
        match config.cache:
            case "off":
                return
            case "disk":
                self._storage = open_disk_storage()
            case "ram":
                self._storage = open_ram_storage()
        training = StoredSize.for_training(config.input_size, config.resize, self._augmentation)
        evaluation = StoredSize.for_evaluation(config.input_size, config.resize)
        self.train_cache = SampleCache(self.spec, self._storage, training)
        self.val_cache = SampleCache(self.spec, self._storage, evaluation)

    def close(self) -> None:
        """Remove a cache in memory; the loaders may not be used any more."""
        if self._storage is not None:
            self._storage.close()

    def cache_status(self) -> str | None:
        """One line on how much of the training split is cached; None without a cache, or when that is settled.

        It is settled when it was said that every image is cached, or that there is no room for the rest.
        """
        if self.train_cache is None or self._storage is None or self._cache_is_settled:
            return None
        samples = [*self._train_samples, *self.unlabeled_samples]
        cached, total = self.train_cache.count(samples), len(samples)
        status = f"cache: {cached} of {total} training images in {self.train_cache.folder}"
        if cached < total and self.train_cache.is_full:
            status += f"; the rest is decoded every epoch, because {self._storage.bound}"
        self._cache_is_settled = cached == total or self.train_cache.is_full
        return status

    def cache_difference(self) -> str | None:
        """One line on how samples differ from those without a cache, judged by the first image; None: not at all."""
        knobs = self._augmentation
        if self.train_cache is None or knobs.scale_min == knobs.scale_max == 1:
            return None  # the one reduction that the cache makes is the one that training would make
        parts = self.train_samples[0].parts
        if not parts:
            return None  # nothing of it is cached
        original = read_header(parts[0]).shape
        stored = self.train_cache.size.of(original)
        if stored == original:
            return None
        return (
            f"cache: images of {original[0]}x{original[1]} are kept at {stored[0]}x{stored[1]}, the most that "
            "augmentation asks for; samples differ slightly from those without cache (docs/training.md)"
        )

    @property
    def spec_as_listed(self) -> DatasetSpec:
        """The description with the samples of train and val as they are now.

        A picture that disappears later is then missed when it is read, and not left out of a score.
        """
        self.setup()
        if self.spec.listings is not None:
            return self.spec
        listed = {"train": self._train_samples, "val": self._val_samples}
        return replace(self.spec, listings={split: partial(_same, listed[split]) for split in listed if listed[split]})

    @property
    def val_samples(self) -> Sequence[Sample]:
        """The samples of val; empty where there is no such split."""
        self.setup()
        return self._val_samples

    @property
    def train_samples(self) -> Sequence[Sample]:
        """The samples of the training split, in the order of their indices."""
        self.setup()
        return self._train_samples

    @property
    def fingerprint(self) -> str:
        """Two digests with "-" between: of train, with its unlabeled pictures, and of val; each changes when a sample
        is added, removed or renamed.

        That of train also changes when samples are drawn in another way, or lie in other shards.
        """
        train, val = (_digest_of_ids(samples) for samples in (self.train_samples, self.val_samples))
        if self.spec.drawn is not None:
            train.update(f"\n{self.spec.drawn.identity}".encode())
        for sample in self.unlabeled_samples:
            train.update(f"\nunlabeled {sample.id}".encode())
        for samples in (self.train_samples, self.unlabeled_samples):
            if isinstance(samples, ShardSamples):
                train.update(f"\nshards {samples.sizes}".encode())
        return f"{train.hexdigest()}-{val.hexdigest()}"

    @property
    def batches_per_epoch(self) -> int:
        """Training batches (passes) of one epoch in one process."""
        return self._sampler(self.train_samples).batches_per_epoch

    def set_position(self, epoch: int, batches_done: int) -> None:
        """Let the next training loader start at `epoch` (from 0) after `batches_done` of its batches."""
        self._position = (epoch, batches_done)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Batches from the position to the end of the run, as one iteration.

        Each is `{"image": (B, 3, H, W) uint8, "label": (B, H, W) uint8, "id": list[str]}`, and with unlabeled pictures
        also `"unlabeled"`, see `UnlabeledImages`. With several processes each makes its own loader, whose iteration
        takes that process's part.
        """
        config = self.config
        sampler = self._sampler(self.train_samples)
        sampler.set_position(*self._position)
        labelled = SegmentationDataset(
            self.train_samples,
            self.spec,
            config.input_size,
            config.resize,
            self._augmentation,
            config.seed,
            self.train_cache,
            self.rare_classes,
        )
        return DataLoader(
            self._mixed(labelled) if self.unlabeled_samples else labelled,
            batch_sampler=sampler,
            collate_fn=collate_mixed if self.unlabeled_samples else None,
            num_workers=config.workers,
            worker_init_fn=start_worker,
            pin_memory=config.device != "cpu" and torch.cuda.is_available(),
            # Loaders draw a seed for their workers. It is not used here, and drawn from the global generator
            # it would shift the randomness of training by the number of loaders that were ever started.
            generator=torch.Generator().manual_seed(config.seed % 2**63),
        )

    def _mixed(self, labelled: SegmentationDataset) -> MixedDataset:
        config = self.config
        options = labelled.transform, config.unlabeled_jitter, config.seed, self.train_cache
        return MixedDataset(labelled, UnlabeledDataset(self.unlabeled_samples, self.spec, *options))

    def _sampler(self, samples: Sequence[Sample], process_index: int | None = None) -> TrainingBatchSampler:
        config = self.config
        unlabeled = None
        if self.unlabeled_samples:
            order = order_of(self.unlabeled_samples, config.shard_window)
            unlabeled = UnlabeledOrder(len(self.unlabeled_samples), config.unlabeled_per_pass, config.seed, order)
        return TrainingBatchSampler(
            len(samples),
            config.batch_size_per_pass,
            config.epochs,
            config.seed,
            num_processes=config.processes,
            process_index=process_index,
            accumulate=config.accumulate,
            unlabeled=unlabeled,
            order=order_of(samples, config.shard_window),
        )


def _digest_of_ids(samples: Sequence[Sample]) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=16)
    for place, sample in enumerate(samples):  # one text of millions of ids would take gigabytes
        digest.update(f"\n{sample.id}"[not place :].encode())
    return digest


def _same(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples, for a listing that can be pickled."""
    return samples
