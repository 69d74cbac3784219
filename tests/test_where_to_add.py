"""What docs/architecture.md says of adding a loss, a term, a norm is where the last ones stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "effiseg"
# What is added → names that only its files may know, the number of files the page promises, the file of its own
ADDED = {
    "a loss": (r"focal_tversky", 4, "losses/tversky.py"),
    "a distillation term": (r"PairwiseTerm|pairwise_weight|pairwise_similarity_loss", 3, "distillation/pairwise.py"),
    "a norm": (r"DynamicErf", 2, None),
}


def paragraph(what: str) -> str:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"\*\*To add {what}\*\*(.*?)(?=\n- \*\*|\n\n)", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("what", ADDED)
def test_the_last_one_added_is_known_only_to_the_files_named(what: str) -> None:
    names, count, own = ADDED[what]
    text = paragraph(what)
    assert f"touch {count} files" in text
    named = {path for path in re.findall(r"`([\w/]+\.py)`", text) if (SOURCE / path).is_file()}
    known = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(rf"\b(?:{names})", path.read_text(encoding="utf-8"))
    }
    assert known <= named | {own}
    assert len(known) <= count
