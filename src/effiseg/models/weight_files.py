"""Files of weights: safetensors, and others' checkpoints, of which nothing but tensors and plain values is taken."""

from __future__ import annotations

import argparse
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json
from effiseg.models.folder import CHECKPOINT_SUFFIXES, PICKLE_INDEX_FILE, SHARDS_FILE, WEIGHTS_FILE

_MOST_NESTING = 4
_PLACES_OF_CLASSES = ((), ("meta",), ("meta", "dataset_meta"), ("dataset_meta",), ("hyper_parameters",))
_NAMES_OF_CLASSES = ("CLASSES", "classes", "class_names", "names", "id2label")
_NAMES_OF_PALETTES = ("PALETTE", "palette")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights as it was found."""

    networks: dict[str, dict[str, Tensor]]
    """Place in the file, as `model_ema` or nothing → the tensors there."""
    names: tuple[str, ...] | None = None
    """Classes that it names, in the order of the classifier."""
    palette: tuple[tuple[int, int, int], ...] | None = field(default=None)
    """Their colors."""


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """A fingerprint of a state dict on the CPU: it changes when any weight does."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in weights.values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def require_finite(weights: Mapping[str, Tensor], source: object) -> None:
    """Refuse weights with NaN or infinity, which make every answer one of the two.

    Raises:
        ModelError: the first few tensors that have any.
    """
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ModelError(
            f"{source}: weights must be finite; found NaN or infinity in {few(broken)}: take an earlier checkpoint"
        )


def few(names: list[str], most: int = 6) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a model folder, under the names its files give them.

    Raises:
        ModelError: no safetensors file, or a broken one.
    """
    files = [path / WEIGHTS_FILE]
    if not files[0].is_file():
        if not (path / SHARDS_FILE).is_file():
            raise ModelError(_no_weights(path))
        files = _shards(path / SHARDS_FILE, ".safetensors")
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= _read_safetensors(file)
    return weights


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: not a whole safetensors file ({error}): write or copy it again") from None


def _no_weights(path: Path) -> str:
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in CHECKPOINT_SUFFIXES)
    if not pickles:
        return f"{path}: a model folder needs {WEIGHTS_FILE}; found none: copy or save the whole folder again"
    return (
        f"{path}: weights must be {WEIGHTS_FILE}; found only the pickle {pickles[0]}, which is never opened here: "
        f"make a model folder of it with `effiseg convert {path} --out DIR`, which takes its tensors alone"
    )


def _shards(index: Path, suffix: str) -> list[Path]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (UsageError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{index}: must map tensors to files under weight_map") from None
    if any(not isinstance(name, str) or Path(name).name != name or not name.endswith(suffix) for name in names):
        kind = suffix.removeprefix(".")
        raise ModelError(f"{index}: shards must be {kind} files beside it; found {', '.join(map(str, names))}")
    return [index.parent / name for name in names]


def read_pickled_folder(folder: Path, file_name: str) -> Checkpoint:
    """The tensors of a transformers folder that has its weights as a pickle, or as several.

    Raises:
        ModelError: as `read_checkpoint`.
    """
    index = folder / PICKLE_INDEX_FILE
    if (folder / file_name).is_file() or not index.is_file():
        return read_checkpoint(folder / file_name)
    weights: dict[str, Tensor] = {}
    for shard in _shards(index, ".bin"):
        for tensors in read_checkpoint(shard).networks.values():
            weights |= tensors
    return Checkpoint({"": weights})


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a file of weights, wherever in it they lie, and the classes that it names.

    Raises:
        ModelError: no such file, another format, a broken file, or a pickle that is more than tensors.
    """
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise ModelError(f"{path}: a file of weights ends in {', '.join(CHECKPOINT_SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        return Checkpoint({"": _read_safetensors(path)})
    try:
        with torch.serialization.safe_globals(_plain_values()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: holds more than tensors and plain values, which would run code, and is not opened; load it where "
            "you trust it and save its state_dict alone"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: not a whole file of weights ({reason}): copy it again") from None
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: must hold names and tensors; found {type(content).__name__}")
    return Checkpoint(dict(_networks(content)), _found(content, _NAMES_OF_CLASSES, _names), _found_palette(content))


def _plain_values() -> list[Any]:
    """What NumPy's numbers and arrays, and parsed options, are pickled by; none of it runs what a file says."""
    makers = []
    for value in (np.float64(0), np.zeros(1)):
        maker: Any = value.__reduce__()[0]
        # NumPy 2 writes another module than NumPy 1 did.
        makers += [(maker, f"numpy.{core}.multiarray.{maker.__name__}") for core in ("core", "_core")]
    kinds = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
    return [*makers, np.ndarray, np.dtype, *kinds, argparse.Namespace]


def _networks(content: Mapping[Any, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping inside that holds tensors, the outer ones first."""
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield ".".join(place), tensors
    if len(place) < _MOST_NESTING:
        for key, value in content.items():
            if isinstance(value, Mapping):
                yield from _networks(value, (*place, str(key)))


def _found(content: Mapping[Any, Any], keys: tuple[str, ...], read: Callable[[Any], Any]) -> Any:
    """What is read under the first of the keys that hold it, in the places where others write down classes."""
    for place in _PLACES_OF_CLASSES:
        within: Any = content
        for step in place:
            within = within.get(step) if isinstance(within, Mapping) else None
        for key in keys if isinstance(within, Mapping) else ():
            if (value := read(within.get(key))) is not None:
                return value
    return None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, Mapping):  # index → name, the index perhaps as text
        by_index = {str(index): name for index, name in value.items()}
        value = [by_index.get(str(index)) for index in range(len(by_index))]
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def _found_palette(content: Mapping[Any, Any]) -> tuple[tuple[int, int, int], ...] | None:
    def colors(value: Any) -> tuple[tuple[int, ...], ...] | None:
        value = value.tolist() if isinstance(value, np.ndarray) else value
        rows = value if isinstance(value, list | tuple) else ()
        whole = all(
            isinstance(row, list | tuple)
            and len(row) == 3
            and all(isinstance(channel, int) and 0 <= channel <= 255 for channel in row)
            for row in rows
        )
        return tuple(tuple(row) for row in rows) if rows and whole else None

    found: tuple[tuple[int, int, int], ...] | None = _found(content, _NAMES_OF_PALETTES, colors)
    return found
