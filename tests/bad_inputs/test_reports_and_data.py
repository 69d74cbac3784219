"""`effiseg report`, `demo` and the `data` commands: wrong words, and results files that somebody edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

WORDS = (
    ("report", "PATHS is missing"),
    ("report --out {out}", "PATHS is missing"),
    ("report nowhere --out {out}", "nowhere"),
    ("report {model} --out {out}", "model"),
    ("report {data} --out {out}", "data.yaml"),
    ("report {images} --out {out}", "val"),
    ("report {good} --out {out} --colors blind", "--colors: "),
    ("demo --nothing 1", "unknown option '--nothing'"),
    ("demo extra", "unknown argument 'extra'"),
    ("data check", "DATA is missing"),
    ("data check nowhere", "data set nowhere: no such YAML file"),
    ("data check {pairs}", "did you mean {data}?"),
    ("data check {data} {data}", "effiseg data check takes one DATA"),
    ("data check cityscapes", "add --data_root FOLDER"),
    ("data check cityscapes --data_root nowhere", "--data_root nowhere: no such folder"),
    ("data check {data} --json 5", "unknown argument '5'"),
    ("data check {images}/000.png", "cannot be read as text"),
    ("data stats", "DATA is missing"),
    ("data stats nowhere", "data set nowhere: no such YAML file"),
    ("data stats {data} --splits tset", "tset"),
    ("data stats {data} --image_size 5", "image_size must be at least 32x32"),
    ("data stats {data} --image_size 5x5", "image_size must be at least 32x32"),
    ("data convert", "DATA is missing"),
    ("data convert {data}", "--out is missing"),
    ("data convert nowhere --out {out}", "data set nowhere: no such YAML file"),
    ("data convert {data} --out {good}", "must be empty or new; found"),
    ("data convert {data} --out {data}", "data.yaml"),
    ("data convert {data} --out {data}/x", "a file of that name is in the way"),
    ("data synthesize", "FOLDER is missing"),
    ("data synthesize {pairs}", "pairs"),
    ("data synthesize {data}", "data.yaml"),
    ("data synthesize {out} --train -1", "train must be at least 0; found -1"),
    ("data synthesize {out} --seed -1", "seed must be at least 0; found -1"),
    ("data synthesize {out} --size 5", "size must be at least 32x32"),
    ("data synthesize {out} --size 5x5", "size must be at least 32x32"),
    ("data synthesize {out} --size 99999x99999", "size must be at most 16384x16384"),
)
RESULTS: tuple[tuple[Any, str], ...] = (
    (None, "r.json"),
    ([], "r.json"),
    (5, "r.json"),
    ({}, "r.json"),
    ({"kind": "evaluation"}, "r.json"),
    ({"kind": "comparison"}, "r.json"),
    ({"kind": "ablation", "rows": 5}, "r.json"),
    ({"kind": ["evaluation"]}, "r.json"),
    ({"kind": "evaluation", "miou": "high"}, "r.json"),
    ({"kind": "nothing"}, "r.json"),
    ({"kind": {"a": 1}}, "r.json"),
)
TEXTS = ("", "{", "[" * 100_000, "[NaN]", "\udcff")


@pytest.mark.parametrize(("words", "line"), WORDS)
def test_words(words: str, line: str, refused) -> None:
    refused(words, line)


@pytest.mark.parametrize(("content", "line"), RESULTS)
def test_results_that_somebody_edited(content: Any, line: str, refused, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(content))
    refused("report {here}/r.json --out {out}", line)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:9]))
def test_results_that_are_no_json(text: str, refused, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    refused("report {here}/r.json --out {out}", "r.json")


@pytest.mark.parametrize(
    ("change", "line"),
    [("epochs: [1\n", "not valid YAML"), ("epochs: 0\n", "epochs must be at least 1"), ("epoch: 3\n", "'epoch'")],
)
def test_a_run_whose_settings_somebody_edited(change: str, line: str, refused, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: nowhere\n" + change)
    refused("train --resume {here}/run", line)
