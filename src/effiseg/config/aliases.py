"""What users of other software type, and the names of the settings that it means here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ALIASES: Mapping[str, str] = {
    "batch": "batch_size",
    "imgsz": "image_size",
    "lr": "optimizer.lr",
    "lr0": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "model": "model.variant",
    "loss": "loss.name",
}
"""Alias → setting, in every command that has the setting; config.yaml and --print_config say the setting's name."""
FOREIGN: Mapping[str, str] = {
    "project": "--out FOLDER, the whole path of the folder to write",
    "name": "--out FOLDER, the whole path of the folder to write",
    "exist_ok": "--resume RUN, or another --out",
    "amp": "--precision bfloat16",
    "half": "--precision float16",
    "patience": "--early_stop_epochs N",
    "pretrained": "--init WEIGHTS",
    "verbose": "--quiet, or nothing",
}
"""Option of other software that has no setting here of the same meaning → what to write."""


def canonical(word: str, settings: Iterable[str]) -> str:
    """The setting that a name on a command line means; a name that means none is given back.

    Args:
        word: the name, without its dashes: "lr", "image-size", "optimizer.weight-decay".
        settings: names of the command's settings and of their sections.
    """
    known = set(settings)
    if word in known:
        return word
    name = word.replace("-", "_")
    return name if name in known or ALIASES.get(name) not in known else ALIASES[name]


def advice(word: str, settings: Iterable[str]) -> str | None:
    """What to write for a name of other software, or None where the name says nothing.

    Args:
        word: the name, without its dashes.
        settings: names of the command's settings.
    """
    known = list(settings)
    name = canonical(word, known)
    if name in known:
        return f"--{name}"
    found = FOREIGN.get(name)
    if found is None or found.split()[0].strip(",") not in {*(f"--{setting}" for setting in known), "--quiet"}:
        return None
    return found
