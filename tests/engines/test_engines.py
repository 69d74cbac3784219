"""What an engine is stands in its own file, and the words for engines are the tuple's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from effiseg.config.engine import EngineName, ExportFormat, Precision
from effiseg.engines import ENGINES, FILE_ENGINES, FORMATS, engine_named, engine_of, format_named, format_of
from effiseg.engines.pytorch import TorchEngine

SOURCE = Path(__file__).parents[2] / "src" / "effiseg"
# docs/architecture.md, "To add": what an export format touches beside its own file and the tuple.
TOUCHED = {"config/engine.py", "environment.py"}
# File names in examples: of how `export_model` and `effiseg export` are called, and of what a run exports by default.
EXAMPLES = {"api/models.py", "commands/outcome.py", "runs.py"}
# XML that is no network: annotations.
ANNOTATIONS = {"data/formats/cvat.py", "data/dataset_spec.py"}
# What runs in browsers is one engine's files, whatever others there are.
BROWSER = {"web/site.py"}


def test_every_word_is_an_engine_and_every_engine_has_its_word() -> None:
    names = [engine.name for engine in ENGINES if isinstance(engine, TorchEngine) or engine in FILE_ENGINES]
    assert names == list(get_args(EngineName))
    assert [engine.format for engine in FORMATS] == list(get_args(ExportFormat))
    assert [engine_named(name).name for name in get_args(EngineName)] == names
    assert [format_named(name) for name in get_args(ExportFormat)] == list(FORMATS)


@pytest.mark.parametrize("engine", FORMATS, ids=lambda engine: engine.format)
def test_what_a_format_says_of_itself(engine: object) -> None:
    file_format = next(known for known in FORMATS if known is engine)
    assert file_format.precisions[0] == "float32"
    assert set(file_format.precisions) <= set(get_args(Precision))
    assert file_format.half in (None, *file_format.precisions)
    assert format_of(f"model{file_format.suffix.upper()}") is file_format
    assert file_format.parts(Path(f"a{file_format.suffix}"))[0] == Path(f"a{file_format.suffix}")
    runs = engine_of(f"model{file_format.suffix}")
    assert (runs is None) == bool(file_format.never_opened)
    if runs is not None:
        assert set(runs.at_load) <= set(runs.precisions)
        assert set(runs.missing) == set(get_args(Precision)) - set(runs.precisions)


def test_other_files_are_nobodys() -> None:
    assert format_of("model.safetensors") is None
    assert engine_of("model") is None


def test_no_other_file_names_an_engine() -> None:
    words: set[str] = set()
    for engine in ENGINES:
        if isinstance(engine, TorchEngine):
            words |= {engine.name} - {"torch"}
        else:
            words |= {engine.format, engine.suffix, engine.format.replace("_", "."), *engine.packages}
    words |= {word for engine in FILE_ENGINES for word in (engine.name, engine.title)}
    assert {"torch_compile", "onnx", ".onnx", "ONNX Runtime", "onnxruntime", ".xml", "nncf", "torch.export"} <= words
    named = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words)), re.IGNORECASE)
    found = {
        str(path.relative_to(SOURCE))
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in (".py", ".yaml", ".html") and not {"engines", "page"} & set(path.relative_to(SOURCE).parts)
        if named.search(path.read_text(encoding="utf-8"))
    }
    assert found == TOUCHED | EXAMPLES | ANNOTATIONS | BROWSER


def test_knowing_the_engines_loads_none() -> None:
    code = (
        "import sys, effiseg.run_folder, effiseg.export.checks, effiseg.commands.benchmark; "
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'openvino'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
