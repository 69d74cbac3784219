"""SegFormer as users hold it: with the methods that models have in transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin

from effiseg.errors import ModelError
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import load_model, save_pretrained
from effiseg.models.segformer import SegFormer as Network


class SegFormer(Network, ModelHubMixin):
    """`effiseg.models.segformer.SegFormer` with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    Its arguments, attributes and weights are those of that class.
    """

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the mixin's would read a config and weights of its own
        cls,
        source: str | os.PathLike[str],
        *,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | None = None,
        ignore_mismatched_sizes: bool = False,
    ) -> SegFormer:
        """`effiseg.from_pretrained`, with other classes where they are asked for.

        Args:
            source: a run folder, a model folder, a transformers folder or a Hub id.
            num_labels: K, where it is not the weights' own.
            id2label: class → name; says `num_labels` too.
            ignore_mismatched_sizes: take a new classifier, drawn from torch's generator, where K differs.

        Raises:
            ModelError: as `effiseg.from_pretrained`; or K differs and must not.
        """
        model = load_model(source, cls)
        if num_labels is None and id2label is None:
            return model
        names = _names(num_labels, id2label)
        if len(names) == model.num_classes:
            if id2label is not None:
                model.metadata = replace(model.metadata, names=names)
            return model
        if not ignore_mismatched_sizes:
            raise ModelError(
                f"{os.fspath(source)}: has {model.num_classes} classes; found num_labels {len(names)}: "
                "ignore_mismatched_sizes=True takes a new classifier for them"
            )
        return model._with_classes(names)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **_: Any) -> None:
        """`effiseg.save_pretrained`: the model folder, which transformers' Auto classes load.

        Args:
            save_directory: made if it does not exist; a model in it is replaced.

        Raises:
            ResourceError: the folder cannot be written.
        """
        save_pretrained(self, Path(save_directory))

    def _with_classes(self, names: Sequence[str]) -> SegFormer:
        """A model with the same weights but for a new classifier, and the rest of the metadata."""
        made = type(self)(
            self.shape,
            len(names),
            self.patch_norm,
            self.block_norm,
            drop_path_rate=self.drop_path_rate,
            classifier_dropout=self.classifier_dropout,
            norm_eps=self.norm_eps,
            patch_centered=self.patch_centered,
            block_centered=self.block_centered,
        )
        kept = {name: value for name, value in self.state_dict().items() if "decode_head.classifier." not in name}
        missing, unexpected = made.load_state_dict(kept, strict=False)
        assert not unexpected, unexpected
        assert all(name.startswith("decode_head.classifier.") for name in missing), missing
        made.metadata = replace(self.metadata, names=tuple(names), palette=None, label_mapping=None)
        return made.train(self.training)


def from_pretrained(folder: str | os.PathLike[str]) -> SegFormer:
    """`effiseg.models.pretrained.from_pretrained`, as the class that users hold.

    Args:
        folder: a model folder, written by `save_pretrained` or by transformers, a run folder, or a Hub id such as
            "nvidia/segformer-b0-finetuned-ade-512-512".

    Returns:
        The model on the CPU in float32 and evaluation mode, its `metadata` filled.

    Raises:
        ModelError: there is none, or it cannot be loaded whole.
    """
    return load_model(folder, SegFormer)


def _names(num_labels: int | None, id2label: Mapping[int, str] | None) -> tuple[str, ...]:
    """The names of the classes that are asked for.

    Raises:
        ModelError: the two do not go together.
    """
    if id2label is None:
        assert num_labels is not None
        return ModelMetadata.unnamed(num_labels).names
    if num_labels not in (None, len(id2label)) or set(id2label) != set(range(len(id2label))):
        raise ModelError(f"id2label must name the classes 0 to num_labels - 1; found {dict(id2label)}, {num_labels}")
    return tuple(id2label[index] for index in range(len(id2label)))
