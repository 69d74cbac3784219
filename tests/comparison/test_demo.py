"""`effiseg demo` at a tiny size: every row, the facts, the report; called again it trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from effiseg.commands.demo import run
from effiseg.comparison import demo, demo_facts
from effiseg.config.comparison import AblationConfig
from effiseg.engines.torch_export import TORCH_EXPORT


@pytest.mark.heavy
def test_the_demo_ends_with_a_table_facts_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SCENES", {"train": 4, "val": 2})
    monkeypatch.setattr(demo, "_SCENE_SIZE", (64, 128))
    small = {
        "image_size": "32x64",
        "batch_size": 4,
        "epochs": 1,
        "validate_every": 1,
        "workers": 0,
        "latency_size": "32x64",
    }
    monkeypatch.setattr(demo, "SETTINGS", {**demo.SETTINGS, **small})
    monkeypatch.setattr(demo_facts, "FORMATS", (TORCH_EXPORT,))  # the others have tests of their own
    out = tmp_path / "demo"
    assert run(["--out", str(out)]) == 0
    shown = capsys.readouterr()
    result = json.loads((out / "comparison" / "results.json").read_text(encoding="utf-8"))
    rows = [row["name"] for row in result["rows"]]
    assert rows == ["teacher", *AblationConfig().recipes]
    assert all(row["miou"] is not None for row in result["rows"])
    assert "**" not in "".join(line for line in shown.out.splitlines() if "mIoU" in line)
    for words in (
        "Pixels right: teacher ", "All rows start from weights that know this generator",
        "data check: 6 pairs of street_scenes read, 0 faults", "fused equals trained: ", "norms that fold away: ",
        "agrees with the model on ", "Training is too short to rank rows, so none is marked.",
    ):  # fmt: skip
        assert words in shown.out, words
    assert "cityscapes" not in shown.out.lower()
    assert "pictures of " in shown.err
    assert (out / "facts.txt").read_text(encoding="utf-8").splitlines()[0].startswith("data check: ")
    (page,) = (line.removeprefix("report: ") for line in shown.out.splitlines() if line.startswith("report: "))
    assert Path(page).is_file()
