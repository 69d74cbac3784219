"""The record of an exported file in a zip archive behind the network, whose readers stop where that ends."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from effiseg.engines.record import PREFIX, ExportRecord

_RECORD = f"{PREFIX}.json"
_RECORD_BYTES = 16_000_000


def append_record(path: Path, record: ExportRecord) -> None:
    """Put a record behind a network: `unzip -p FILE effiseg.json` shows it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_RECORD, json.dumps(record.to_properties(), ensure_ascii=False))


def appended_properties(path: Path) -> dict[str, str]:
    """The record's fields as `ExportRecord.from_properties` takes them; none where there is no record of ours."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_RECORD) as stream:
            value = json.loads(stream.read(_RECORD_BYTES))
    except (OSError, KeyError, ValueError, RecursionError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return {}
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}
