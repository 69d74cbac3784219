"""The page in a real browser: nothing complains, nothing is loaded, figures are there, tables sort, both schemes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from effiseg.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

# Run inside the page after it has loaded; its findings are left in the document, which --dump-dom prints.
PROBE = """
const heads = [...document.querySelectorAll("#table-results th button")];
const cells = (n) => document.querySelectorAll(`#table-results tbody tr td:nth-child(${n + 1})`);
const column = (n) => [...cells(n)].map((cell) => cell.textContent);
const place = heads.findIndex((head) => head.textContent.startsWith("mIoU"));
const found = { place, before: column(place) };
heads[place].click(); found.descending = column(place);
heads[place].click(); found.ascending = column(place);
heads[0].click(); found.names = column(0);
document.querySelectorAll("details").forEach((part) => part.open = true);
const drawings = [...document.querySelectorAll("figure.drawing > svg")];
found.figures = drawings.filter((s) => !s.parentElement.hidden).map((s) => {
  const box = s.getBoundingClientRect();
  return [s.parentElement.id, box.width, box.height, s.querySelectorAll("path, use, rect").length];
});
found.plots = document.querySelectorAll(".plot canvas").length;
const over = document.querySelector("#chart-loss .u-over"), area = over.getBoundingClientRect();
over.dispatchEvent(new MouseEvent("mousemove", { clientX: area.left + 2, clientY: area.top + 20, bubbles: true }));
found.images = [...document.images].map((image) => image.naturalWidth);
const select = document.querySelector(".choice select");
select.value = "confusion-2-kd"; select.dispatchEvent(new Event("change"));
found.chosen = [...document.querySelectorAll(".choice figure")].filter((f) => !f.hidden).map((f) => f.id);
const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
found.requests = loaded.filter((name) => !name.startsWith("data:"));
found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const controls = document.querySelector(".controls"), slider = controls.querySelector(".opacity");
slider.value = 50; slider.dispatchEvent(new Event("input", { bubbles: true }));
found.faded = document.querySelector(".labels img").style.opacity;
const box = controls.querySelector("input[data-row=kd]");
box.checked = false; box.dispatchEvent(new Event("input", { bubbles: true }));
found.hidden = document.querySelectorAll(".cells figure[hidden]").length;
document.querySelector(".cells img").click();
found.enlarged = document.querySelector("dialog.large").open;
document.querySelector("dialog.large").close();
found.legend = [...document.querySelectorAll("#chart-loss .u-value")].slice(0, 2).map((value) => value.textContent);
const out = document.createElement("output"); out.textContent = JSON.stringify(found); document.body.append(out);
"""


def browse(page: Path, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    return subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([comparison], tmp_path_factory.mktemp("browser"), formats=("svg",)).page


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_works(page: Path, tmp_path: Path, width: int) -> None:
    # The probe is a script of its own, so this copy allows it.
    text = re.sub(r'script-src [^"]*', "script-src 'unsafe-inline'", page.read_text(encoding="utf-8"))
    probed = tmp_path / "index.html"
    probed.write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    done = browse(probed, tmp_path, "--dump-dom", f"--window-size={width},900")
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    match = re.search(r"<output>(.*?)</output>", done.stdout, re.DOTALL)
    assert match is not None, done.stderr[-500:]
    found = json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["requests"] == []
    assert found["wide"] <= 0
    numbers = [float(text) for text in found["before"]]
    assert [float(text) for text in found["descending"]] == sorted(numbers, reverse=True)
    assert [float(text) for text in found["ascending"]] == sorted(numbers)
    assert found["names"][-1] == "Teacher"
    assert found["chosen"] == ["confusion-2-kd"]
    assert {figure[0] for figure in found["figures"]} >= {"pareto", "loss", "val-miou", "class-delta", "class-radar"}
    assert found["plots"] == 4
    assert found["legend"] == ["1", "4"]
    assert found["faded"] == "0.5"
    assert found["hidden"] == 3
    assert found["enlarged"]
    for name, wide, high, parts in found["figures"]:
        assert min(wide, high) > 60, name
        assert parts > 10, name
    assert found["images"]
    assert min(found["images"]) > 0


def test_the_pages_own_policy_complains_of_nothing(page: Path, tmp_path: Path) -> None:
    done = browse(page, tmp_path, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "Refused" not in done.stderr
    # The script ran: of the confusion matrices only the chosen one is shown.
    assert len(re.findall(r'<figure class="drawing" id="confusion[^>]*hidden', done.stdout)) == 3


@pytest.mark.parametrize(("scheme", "background"), [("light", (254, 254, 253)), ("dark", (20, 23, 26))])
def test_both_colour_schemes(page: Path, tmp_path: Path, scheme: str, background: tuple[int, int, int]) -> None:
    picture = tmp_path / "page.png"
    preferred = {"dark": "0", "light": "1"}[scheme]
    browse(
        page,
        tmp_path,
        f"--screenshot={picture}",
        "--window-size=900,2400",
        f"--blink-settings=preferredColorScheme={preferred}",
    )
    with Image.open(picture) as image:
        pixels = image.convert("RGB")
        assert pixels.getpixel((2, 2)) == background
        darkest, brightest = pixels.convert("L").getextrema()
    # Text and figures stand out of it.
    assert darkest < 40
    assert brightest > 215
