"""`effiseg convert`: a model folder of others' weights, without training."""

from __future__ import annotations

import shlex

from effiseg.config.command_line import parse_command
from effiseg.config.conversion import ModelConvertConfig


def run(argv: list[str]) -> int:
    """Parse, convert, say what was made and how to use it."""
    config = parse_command(
        ModelConvertConfig,
        argv,
        prog="effiseg convert",
        description="Make a model folder of others' weights, without training: of a file with the names of "
        "transformers, NVlabs, segmentation_models_pytorch or effiseg (.pth, .pt, .bin, .ckpt, .safetensors), a "
        "transformers folder or a Hub id.",
        words=("weights",),
    )
    from effiseg.api.conversion import convert_as
    from effiseg.models.weight_files import few

    made = convert_as(config)
    metadata = made.model.metadata
    print(
        f"{config.out}: SegFormer-{made.model.variant.upper()} of {config.weights} ({made.publisher}), "
        f"{metadata.num_classes} classes: {few(list(metadata.names))}"
    )
    if made.unused:
        print(f"{len(made.unused)} of its tensors are not used: {few(made.unused)}")
    for note in made.notes:
        print(note)
    size = "" if metadata.image_size else " --image_size HEIGHTxWIDTH"
    print(f"use it with: effiseg predict {shlex.quote(config.out)} IMAGES --out LABELS{size}")
    return 0
