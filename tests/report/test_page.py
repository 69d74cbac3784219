"""The page needs nothing, holds everything, and takes no name for markup."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from effiseg.errors import UsageError
from effiseg.report.answer import answer
from effiseg.report.noise import clear_winner, study_differences
from effiseg.report.page import Report, write_report
from effiseg.report.reading import read_studies

FIGURES = ["class-delta", "class-distribution", "class-radar", "confusion-0-teacher", "confusion-1-baseline",
           "confusion-2-kd", "confusion-3-b-mine-b", "loss", "loss-terms", "paired", "pareto", "samples-differ",
           "samples-random", "val-miou"]  # fmt: skip
TABLES = ["class-iou", "classes", "paired", "results", "worst-images"]


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in ("script", "style"):
            self.texts.append(data)


@pytest.fixture(scope="module")
def report(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report([comparison], tmp_path_factory.mktemp("page") / "out")


def test_every_figure_and_table_is_a_file(report: Report) -> None:
    folder = report.page.parent
    assert report.gaps == []
    expected = {f"figures/{name}.{form}" for name in FIGURES for form in ("svg", "pdf", "png")}
    expected |= {f"tables/{name}.{form}" for name in TABLES for form in ("md", "csv", "tex")} | {"index.html"}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == expected


def test_names_are_never_markup(report: Report) -> None:
    page = Elements(report.page.read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert all(attributes["src"].startswith("data:image/") for tag, attributes in page.tags if tag == "img")  # type: ignore[union-attr]
    text = "".join(page.texts)
    for name in (
        "<script>alert('class')</script>",
        "<img src=x onerror=alert('file')>",
        "<b>mine</b>",
        "</code><script>",
    ):
        assert name in text


def test_nothing_is_loaded_from_anywhere(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    for tag, attributes in Elements(text).tags:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name) or ""
            own = address.startswith(("data:", "#", "figures/", "tables/"))
            assert own or not address, (tag, address)
    assert not re.findall(r"url\((?!#|\$\{photo\})", text)  # a photo of the page itself
    (policy,) = (a["content"] for tag, a in Elements(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "'unsafe-inline'" not in policy[policy.index("script-src") :]
    assert report.page.stat().st_size < 10_000_000


def test_links_lead_to_files_and_anchors_that_are_there(report: Report) -> None:
    tags = Elements(report.page.read_text(encoding="utf-8")).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        address = attributes.get("href") or ""
        if tag == "a" and not address.startswith("#"):
            assert (report.page.parent / address).is_file()
        elif tag in ("a", "use") and address:
            assert address[1:] in ids


def test_a_page_of_several_studies(comparison: Path, tmp_path: Path, invented: ModuleType) -> None:
    invented.write_run(tmp_path / "runs" / "one", "baseline", 0)
    made = write_report([comparison, tmp_path / "runs" / "one"], tmp_path / "out", "safe", ("svg",))
    assert (tmp_path / "out" / "figures" / "1-my-comparison-pareto.svg").is_file()
    assert (tmp_path / "out" / "tables" / "2-one-class-iou.csv").is_file()
    assert [gap for gap in made.gaps if not gap.startswith("pictures: ")] == []  # one run lacks no comparison
    tags = Elements(made.page.read_text(encoding="utf-8")).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_of_a_run_is_about_that_run(tmp_path: Path, invented: ModuleType) -> None:
    invented.write_run(tmp_path / "one", "baseline", 0)
    Image.new("RGB", (40, 20)).save(tmp_path / "one" / "training-batch.jpg")
    made = write_report([tmp_path / "one"], tmp_path / "out", formats=("svg",))
    assert all(gap.startswith("pictures: ") for gap in made.gaps)
    page = Elements(made.page.read_text(encoding="utf-8"))
    text = " ".join("".join(page.texts).split())
    assert re.search(r"one reaches \d+\.\d % mIoU on val \(12 images\)\. Weakest classes: ", text)
    assert "loss.name" in text  # its settings
    assert [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("class") == "batch"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"chart-val-miou", "chart-loss", "chart-lr", "chart-images-per-second", "chart-time"} <= ids
    assert not {"pareto", "class-delta", "paired"} & ids


def test_the_answer_comes_first(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    found = re.search(r'<p class="answer">(.*?)</p>', text)
    assert found is not None
    assert found[1].startswith("The best student is + KD with ")
    assert "points against Baseline. That is more than the choice of images (95 % interval over images +" in found[1]
    assert "Between seeds a row varies by up to 0.5 points" in found[1]
    assert text.index('class="answer"') < text.index("table-results")


def test_rows_that_were_trained_too_shortly_are_not_ranked(comparison: Path) -> None:
    (study,) = read_studies([comparison])
    study.result.settings["ranks"] = False
    first, *others = answer(study, study_differences(study)[0])
    assert first.startswith("Training is too short to rank rows. + KD has the highest score, ")
    assert not any("best student" in sentence or "noise" in sentence for sentence in others)
    assert clear_winner(study, study_differences(study)[0]) is None


def test_too_many_pictures_are_left_out_and_named(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effiseg.report.page.PICTURE_BYTES", 9000)
    made = write_report([comparison], tmp_path / "out", formats=("svg",))
    assert any(re.fullmatch(r"pictures: \d saved samples are left out, .*", gap) for gap in made.gaps)


def test_a_picture_outside_the_folder_is_never_shown(comparison: Path, tmp_path: Path) -> None:
    shutil.copytree(comparison, tmp_path / "c")
    index = tmp_path / "c" / "samples" / "index.json"
    index.write_text(
        index.read_text(encoding="utf-8").replace('"folder": "000"', '"folder": "../../.."'), encoding="utf-8"
    )
    made = write_report([tmp_path / "c"], tmp_path / "out", formats=("svg",))
    assert any("sample files lie beside the index" in gap for gap in made.gaps)
    assert made.page.is_file()


def test_out_that_is_a_file_is_refused(comparison: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        write_report([comparison], tmp_path / "out")


@pytest.mark.heavy
def test_the_report_needs_no_torch_and_no_network(comparison: Path, tmp_path: Path) -> None:
    program = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from effiseg.cli import main\n"
        f"assert main(['report', {str(comparison)!r}, '--out', {str(tmp_path / 'out')!r}]) == 0\n"
        "assert not {'torch', 'lightning', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"report: {tmp_path / 'out' / 'index.html'}"


@pytest.mark.parametrize(
    ("scores", "says"),
    [([20.0, 30.0, 40.0, 50.0], True), ([20.0, 50.0, 45.0, 49.0], False), ([20.0, 50.0, 50.0, 50.2], False)],
)
def test_a_score_that_still_rises_is_told(
    tmp_path: Path, invented: ModuleType, scores: list[float], says: bool
) -> None:
    invented.write_run(tmp_path / "one", "baseline", 0)
    lines = [f"{epoch},{score}" for epoch, score in enumerate(scores, 1)]
    (tmp_path / "one" / "metrics.csv").write_text("\n".join(["epoch,val_miou", *lines, ""]), encoding="utf-8")
    (study,) = read_studies([tmp_path / "one"])
    assert ("still rose by 10.0 points at the end" in " ".join(answer(study, []))) == says
