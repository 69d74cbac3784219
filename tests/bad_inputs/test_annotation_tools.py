"""Files of annotation tools that are damaged, missing or of other pictures: one line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from effiseg.cli import main
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples

# Tool → its file, the keys that name it, and one polygon LABEL with a corner at x = FAR in a picture WIDE pixels wide.
FILES = {
    "cvat": (
        "a.xml",
        {"annotations": "a.xml"},
        '<annotations><image id="0" name="000.png" width="WIDE" height="40">'
        '<polygon label="LABEL" points="1,1;FAR,1;9,9"/></image></annotations>',
    ),
    "label_studio": (
        "a.json",
        {"annotations": "a.json"},
        '[{"id": 1, "data": {"image": "000.png"}, "annotations": [{"result": [{"original_width": WIDE,'
        '"original_height": 40, "value": {"points": [[1, 1], [FAR, 1], [9, 9]], "polygonlabels": ["LABEL"]}}]}]}]',
    ),
    "labelme": (
        "images/000.json",
        {},
        '{"imageHeight": 40, "imageWidth": WIDE,'
        '"shapes": [{"label": "LABEL", "points": [[1, 1], [FAR, 1], [9, 9]], "shape_type": "polygon"}]}',
    ),
    "supervisely": (
        "images/ann/000.png.json",
        {},
        '{"size": {"height": 40, "width": WIDE}, "objects": [{"classTitle": "LABEL", "geometryType": "polygon",'
        '"points": {"exterior": [[1, 1], [FAR, 1], [9, 9]], "interior": []}}]}',
    ),
    "datumaro": (
        "a.json",
        {"annotations": "a.json"},
        '{"categories": {"label": {"labels": [{"name": "LABEL"}]}}, "items": [{"id": "000", "image": {"path":'
        '"000.png", "size": [40, WIDE]}, "annotations": [{"type": "polygon", "label_id": 0,'
        '"points": [1, 1, FAR, 1, 9, 9]}]}]}',
    ),
}
GOOD = {"LABEL": "car", "FAR": "9", "WIDE": "60"}


def described(tool: str, text: str | None, folder: Path) -> None:
    """data.yaml, one picture of 40x60, and the tool's file (None: no such file)."""
    name, keys, _ = FILES[tool]
    picture = folder / "images" / ("img/000.png" if tool == "supervisely" else "000.png")
    for path in (picture, folder / name):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(picture)
    if text is not None:
        (folder / name).write_text(text)
    values = {"train": "images", "mask_format": tool, "names": ["ground", "road", "car"], "background": "ground"}
    (folder / "data.yaml").write_text(yaml.safe_dump(values | keys))


def with_changes(tool: str, changes: dict[str, str]) -> str:
    text = FILES[tool][2]
    for word, value in (GOOD | changes).items():
        text = text.replace(word, value)
    return text


@pytest.mark.parametrize("tool", FILES)
def test_one_bad_file(tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All rows of a tool in one folder, because each would make the same pictures."""
    good = with_changes(tool, {})
    kind = "XML" if FILES[tool][0].endswith("xml") else "JSON"
    rows: tuple[tuple[str | None, str], ...] = (
        (None, ""),
        ("", f"not valid {kind}"),
        (good[:-5], f"not valid {kind}"),
        ("\x00\xff", f"not valid {kind}"),
        ("<annotations/>" if kind == "JSON" else "{}", f"not valid {kind}"),
        ("[" * 100_000, f"not valid {kind}"),
        (
            with_changes(tool, {"LABEL": "lorry"}),
            "is none of names; add it there, or write labels: {lorry: ignore_label}",
        ),
        (with_changes(tool, {"LABEL": ""}), "is none of names; add it there, or write labels: {'': ignore_label}"),
        (with_changes(tool, {"FAR": "nan"}), ""),
        (with_changes(tool, {"FAR": "1e999"}), ""),
        (with_changes(tool, {"WIDE": "-60"}), ""),
        (with_changes(tool, {"WIDE": "1000000000"}), ""),
    )
    for text, line in rows:
        described(tool, text, tmp_path)
        before = sorted(tmp_path.rglob("*"))
        assert main(["data", "stats", str(tmp_path / "data.yaml"), "--quiet"]) == 2, (text, line)
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert line in said, said
        assert FILES[tool][0] in said, said
        assert sorted(tmp_path.rglob("*")) == before


def test_one_bad_table_or_mask_of_roboflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All rows in one folder, as above."""
    table = tmp_path / "train" / "_classes.csv"
    table.parent.mkdir()
    mask = table.with_name("000_mask.png")
    Image.new("RGB", (60, 40)).save(table.with_name("000.png"))
    values = {"train": "train", "mask_format": "roboflow", "names": ["ground", "car"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(values))
    good = "Pixel Value, Class\n0, ground\n1, car\n"
    rows: tuple[tuple[str | None, bytes | int | None, str, str], ...] = (
        (None, 1, table.name, ""),
        ("", 1, table.name, "must list pixel values and classes; found none"),
        ("\x00\xff", 1, table.name, ""),
        ("Pixel Value, Class\n0, ground\n1\n", 1, table.name, "line 3 must be a pixel value and a class; found '1'"),
        (good + "-1, car\n", 1, table.name, "line 4 must be a pixel value and a class; found '-1, car'"),
        (good + "1, ground\n", 1, table.name, "a pixel value means one class; found 1 again in line 4"),
        (good + "2, lorry\n", 1, table.name, "or write labels: {lorry: ignore_label}"),
        (good + "2, a: b\n", 1, table.name, "or write labels: {'a: b': ignore_label}"),
        (good, 7, mask.name, "must stand in"),
        (good, None, mask.name, ""),
        (good, b"", mask.name, ""),
        (good, b"no picture", mask.name, ""),
    )
    for text, content, file, line in rows:
        for path in (table, mask):
            path.unlink(missing_ok=True)
        if text is not None:
            table.write_text(text)
        if isinstance(content, bytes):
            mask.write_bytes(content)
        elif content is not None:
            Image.new("L", (60, 40), content).save(mask)
        assert main(["data", "stats", str(tmp_path / "data.yaml"), "--quiet"]) == 2, (text, content)
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert line in said, said
        assert file in said, said


@pytest.mark.parametrize("tool", FILES)
def test_what_is_drawn_beyond_the_picture_is_cut(tool: str, tmp_path: Path) -> None:
    described(tool, with_changes(tool, {"FAR": "-9"}), tmp_path)
    spec = load_dataset_spec(tmp_path / "data.yaml")
    assert 2 in list_samples(spec, "train")[0].read_labels(spec).label
