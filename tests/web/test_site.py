"""The folder with the page: what is in it, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import effiseg
from effiseg.commands.export import run as export
from effiseg.config.web import SiteConfig
from effiseg.engines import load_exported
from effiseg.errors import UsageError
from effiseg.models.segformer import SegFormer
from effiseg.web.page import display_names, page_files
from effiseg.web.site import write_site


def test_the_folder_holds_all_that_the_page_asks_for(site: Path, trained_pair: list[SegFormer]) -> None:
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert files == {*page_files(), "models.json", "scene.png", "model-1.onnx", "model-2.onnx"}
    assert {"ort/LICENSE", "ort/ThirdPartyNotices.txt"} < files
    value = json.loads((site / "models.json").read_text())
    assert [entry["name"] for entry in value["classes"]] == list(trained_pair[0].metadata.names)
    for entry, model in zip(value["models"], trained_pair, strict=True):
        loaded = load_exported(site / entry["file"])
        assert loaded.record.input_size is None
        assert entry["bytes"] == (site / entry["file"]).stat().st_size
        assert entry["output_stride"] == loaded.record.output_stride == model.output_stride
        assert entry["least_side"] == loaded.record.least_side
        assert tuple(entry["image_size"]) == model.metadata.image_size


def test_nothing_in_the_folder_names_this_machine(site: Path) -> None:
    place = str(site.parents[1]).encode()
    assert [path.name for path in site.rglob("*") if path.is_file() and place in path.read_bytes()] == []


def test_models_of_other_classes_are_refused(
    trained_pair: list[SegFormer], built_page: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trained_pair
    monkeypatch.setattr(second, "metadata", replace(second.metadata, names=("grey", "green", "blue")))
    config = SiteConfig(models=["a", "b"], out=tmp_path / "site")
    with pytest.raises(UsageError, match="a has 'red' as class 1, b has 'green' as class 1"):
        write_site([first, second], ["a", "b"], config)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_refused(built_page: None, tmp_path: Path) -> None:
    for call in (
        lambda: effiseg.export_site("nowhere", tmp_path),
        lambda: export(["nowhere", "--format", "web", "--out", str(tmp_path)]),
    ):
        with pytest.raises(UsageError, match="exists already; give the name of a new folder"):
            call()


def test_an_installation_without_the_page_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no built page; install a wheel, or run `make web`"):
        page_files(tmp_path)


def test_names_on_the_page() -> None:
    assert display_names(["runs/baseline", "runs/kd/"]) == ["baseline", "kd"]
    assert display_names(["/home/me/a/model", "/home/me/b/model"]) == [
        "a/model",
        "b/model",
    ]  # no folders of this machine
    assert display_names(["runs/kd", "runs/kd"]) == ["kd", "kd"]


def test_a_page_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"call effiseg\.export_site"):
        effiseg.export_model("nowhere", tmp_path / "x.onnx", format="web")
