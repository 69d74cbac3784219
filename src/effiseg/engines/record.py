"""The record inside an exported file: the model's metadata, its form, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from effiseg.config.engine import Output, Precision
from effiseg.errors import ModelError
from effiseg.files import parse_json
from effiseg.models.metadata import ModelMetadata
from effiseg.serialization import from_plain

INPUT_NAME = "images"
INPUT_LAYOUT = "uint8 RGB 0..255, (batch, height, width, 3)"
PREFIX = "effiseg"
_METADATA_FIELDS = tuple(field.name for field in fields(ModelMetadata))


@dataclass(frozen=True)
class ExportRecord:
    """The facts that travel inside an exported file, as text under keys that begin with `effiseg.`."""

    metadata: ModelMetadata
    """Classes, palette, label mapping, normalization (already inside the network), size and resize."""
    output: Output
    """logits: (B, K, ⌈H/stride⌉, ⌈W/stride⌉) float32. labels: (B, H, W) uint8."""
    precision: Precision
    """Its precision. bfloat16 and float16 concern weights or arithmetic; input and output keep their type."""
    input_size: tuple[int, int] | None
    """(height, width) that it takes; None: any from 64 on."""
    output_stride: int = 4
    """Pixels of the input, along one axis, that one logit stands for: 4 or 8."""
    batch_size: int | None = None
    """Images of one pass; None: any number."""
    model: str = ""
    """The network: variant, patch norm and block norm."""
    source: str = ""
    """The run, folder or Hub id that it was exported from."""
    versions: Mapping[str, str] | None = None
    """Packages that wrote it → version."""
    input_layout: str = INPUT_LAYOUT
    """The input, in words."""

    def to_properties(self) -> dict[str, str]:
        """Field → JSON text; `from_properties` reads it back."""
        return {name: json.dumps(value, ensure_ascii=False) for name, value in self.to_dict().items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the metadata's among them."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "metadata"}
        own["input_size"] = None if self.input_size is None else list(self.input_size)
        own["versions"] = dict(self.versions or {})
        return self.metadata.to_dict() | own

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: object) -> ExportRecord:
        """Read back what `to_properties` gave; what this version does not know is left out.

        Args:
            properties: field → JSON text.
            source: the file, for the error's text.

        Raises:
            ModelError: the file was not written by `effiseg export`, or what it says cannot be read.
        """
        if "names" not in properties or "output" not in properties:
            raise ModelError(
                f"{source}: must be a file that `effiseg export` wrote; found none of its properties inside"
            )
        found = f"{source}: what `effiseg export` wrote inside cannot be read"
        names = [name for name in property_names() if name in properties]
        known = {name: parse_json(properties[name], found, ModelError) for name in names}
        metadata = {name: known.pop(name) for name in _METADATA_FIELDS if name in known}
        record = from_plain(cls, {**known, "metadata": metadata}, found, error=ModelError)
        record.metadata.checked(found)
        return record


def property_names() -> tuple[str, ...]:
    """The names of all properties that `to_properties` can give."""
    return (*_METADATA_FIELDS, *(field.name for field in fields(ExportRecord) if field.name != "metadata"))
