"""The report's page in headless Chromium: its numbers, the keyboard, and the contrast of its text, light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from submit import account, report, report_page
from submit.eventlog import JobHistory, Start

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

# Debian's; a browser of one's own by CHROMIUM. Without the network flags it asks for Google's hosts at every start
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
LEAST_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA), for text of this size

# Contrast as WCAG 2.2 defines it, of each element that has text of its own, over the nearest ground that is not clear
CONTRASTS = """() => {
  const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const of = (rgb) => 0.2126 * light(rgb[0]) + 0.7152 * light(rgb[1]) + 0.0722 * light(rgb[2]);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest('svg')) continue;
    const own = (element) => read(getComputedStyle(element).backgroundColor);
    let at = e;
    while (own(at).length === 4 && own(at)[3] === 0) at = at.parentElement;
    const [a, b] = [of(read(getComputedStyle(e).color)), of(own(at))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 80)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if not BROWSER:
        if os.environ.get("CI"):
            pytest.fail("no chromium: make test installs it", pytrace=False)
        pytest.skip("no chromium here: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


def of_jobs(count: int) -> report.Report:
    accounts = []
    for number in range(count):
        starts = [
            Start(
                time=5, claimed=0, until=4000, why="Job was evicted", site="UNL", gpu="NVIDIA L40S", gpus=1, input_s=5
            ),
            Start(time=5000, claimed=4990, until=9000 + number, site="UCSD", gpu="Tesla T4", gpus=1, input_s=10),
        ]
        job = JobHistory(
            cluster=number, proc=0, submitted=0, starts=starts, ended=9000 + number, exit_code=0, evictions=1
        )
        ad = {"ChirpOsgdlUseful": 5000.0, "ChirpOsgdlLeave": 4.0, "ChirpOsgdlStart": 9.0, "CheckpointNumber": 2}
        accounts.append(account.of_job(job, {**ad, "ChirpOsgdlRate": 20.0, "ChirpOsgdlUnit": "images"}, "x.log", 0))
    return report.Report(of=("brains",), now=20_000, accounts=tuple(accounts), wall={})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    found = of_jobs(30)
    file = tmp_path / "report.html"
    file.write_text(report_page.html(found))
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: None if request.url == file.as_uri() else wrong.append(request.url))
    page.goto(file.as_uri())

    figures = page.locator(".figures b").all_inner_texts()
    said = found.as_dict()
    assert figures[0] == f"{round(100 * said['goodput'])}%" and figures[1] == report_page.hours(said["slot_s"])
    assert page.locator("#jobs ~ .wide tbody tr").count() == 30
    cells = page.locator("#jobs ~ .wide tbody tr td:nth-child(4)").all_inner_texts()
    assert sum(map(float, cells)) == pytest.approx(said["slot_s"] / 60, abs=30 * 0.05)
    bar = page.locator("#categories + svg").bounding_box()
    parts = [box["width"] for box in map(lambda one: one.bounding_box(), page.locator("#categories + svg rect").all())]
    assert sum(parts) == pytest.approx(bar["width"], rel=0.01)

    low = [one for one in page.evaluate(CONTRASTS) if one[0] < LEAST_CONTRAST]
    assert not low, low
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"

    regions = page.locator("[tabindex='0']").count()
    reached = set()
    for _ in range(regions):
        page.keyboard.press("Tab")
        label, outline = page.evaluate(
            "[document.activeElement.getAttribute('aria-label'), getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(label)
        assert outline != "none"
    assert reached == {"Speeds by model", "Requests and use", "Jobs"}
    assert not wrong, wrong
    page.close()
