"""The report's page in headless Chromium: its numbers, the keyboard, and the contrast of text and pictures, light and
dark.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import event_logs
from submit import account, jobs, report, report_page, slot_time, units

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

# Debian's; a browser of one's own by CHROMIUM. Without these flags it asks for Google's hosts at every start
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
TEXT, PICTURE = 4.5, 3.0  # least contrast, WCAG 2.2 AA, success criteria 1.4.3 and 1.4.11

# Contrast as WCAG 2.2 defines it, over the nearest ground that is not clear: of each element that has text of its own,
# and of each piece of a picture, but the thin lines that only lead the eye
CONTRASTS = """() => {
  const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const of = (rgb) => 0.2126 * light(rgb[0]) + 0.7152 * light(rgb[1]) + 0.0722 * light(rgb[2]);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const found = {text: [], picture: []};
  const add = (kind, e, colour) => {
    const own = (element) => read(getComputedStyle(element).backgroundColor);
    let at = kind === 'text' ? e : e.parentElement;
    while (own(at).length === 4 && own(at)[3] === 0 && at !== document.body) at = at.parentElement;
    const [a, b] = [of(read(colour)), of(own(at))].sort((x, y) => y - x);
    found[kind].push([(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 80)]);
  };
  for (const e of document.querySelectorAll('body *')) {
    const style = getComputedStyle(e);
    if (e.matches('svg rect:not(.wait)')) add('picture', e, style.fill);
    else if (e.matches('.key')) add('picture', e, style.backgroundColor);
    else if (!e.closest('svg, [hidden]') && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
      add('text', e, style.color);
  }
  return found;
}"""
FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [e.getAttribute('href') || e.getAttribute('aria-label'), style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    missing = "chromium" if not BROWSER else "" if importlib.util.find_spec("playwright") else "playwright"
    if missing:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"no {missing} here: make test installs it")
    from playwright import sync_api as api

    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> report.Report:
    """Sixty jobs of every fate, as of the last event; most of them publish what they do."""
    folder = tmp_path_factory.mktemp("logs")
    event_logs.write(folder, jobs=60, events=1800, logs=2)
    read = jobs.Jobs([folder])
    read.refresh()
    now = max(start.until or start.time for history in read.histories.values() for start in history.starts)
    accounts = []
    for name, history in sorted(read.histories.items()):
        kept = slot_time.of_job(history, {}, now).seconds["useful"]
        ad = {"ChirpOsgdlUseful": kept * 0.9, "ChirpOsgdlLeave": 9.0, "ChirpOsgdlStart": 50.0, "ChirpOsgdlRate": 80.0}
        ad |= {"ChirpOsgdlPreflightSeconds": 4.0, "RemoteWallClockTime": 9000.0}
        accounts.append(account.of_job(history, ad if name[1] % 9 else {}, "x.log", now))
    return report.Report(of=("brains",), now=now, accounts=tuple(accounts))


@pytest.fixture
def page(browser: Any, found: report.Report, tmp_path: Path, width: int, scheme: str) -> Iterator[Any]:
    """Open, with a watch on what it fetches and says."""
    file = tmp_path / "report.html"
    file.write_text(report_page.html(found))
    opened = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("request", lambda request: None if request.url == file.as_uri() else wrong.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert not wrong, wrong


everywhere = pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (1280, "light"), (390, "dark"), (1280, "dark")]
)
once = pytest.mark.parametrize(("width", "scheme"), [(1280, "light")])


@once
def test_its_numbers_are_those_of_the_json(page: Any, found: report.Report) -> None:
    said = found.as_dict()
    figures = page.locator(".figures b").all_inner_texts()
    assert figures[0] == f"{round(100 * said['goodput'])}%" and figures[1] == units.span(said["slot_s"])
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator("#categories .legend tr").all()]
    shown = {name: duration for name, duration, *_ in rows}
    assert shown == {name: units.span(seconds) for name, seconds in said["seconds"].items()}
    causes = [row.locator("th").inner_text() for row in page.locator("#lost tr").all()]
    assert causes == list(said["lost"])
    jobs_ = page.locator("#jobs tbody tr")
    assert jobs_.count() == 60
    heads = page.locator("#jobs thead th").all_inner_texts()
    for column, key in (("machines", "slot_s"), ("queued", "queued_s"), ("lost", "seconds")):
        cells = page.locator(f"#jobs tbody tr > :nth-child({heads.index(column) + 1})").all_inner_texts()
        whole = said["seconds"]["lost"] if key == "seconds" else said[key]
        assert sum(map(float, cells)) == pytest.approx(whole / 60, abs=60 * 0.05)


@once
def test_its_bars_are_as_long_as_what_they_show(page: Any, found: report.Report) -> None:
    said = found.as_dict()
    whole = page.locator("#categories svg").bounding_box()["width"]
    for name, seconds in said["seconds"].items():
        bar = page.locator(f"#categories rect.{name}")
        width = bar.bounding_box()["width"] if bar.count() else 0.0
        assert width == pytest.approx(whole * seconds / said["slot_s"], abs=1)
    lengths = [row.locator("rect.lost").bounding_box()["width"] for row in page.locator("#lost tr").all()]
    seconds = list(said["lost"].values())
    assert lengths == pytest.approx([lengths[0] * one / seconds[0] for one in seconds], abs=1)


@everywhere
def test_contrast(page: Any) -> None:
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts["text"]) > 100 and len(contrasts["picture"]) > 100
    assert not [one for one in contrasts["text"] if one[0] < TEXT]
    assert not [one for one in contrasts["picture"] if one[0] < PICTURE]


@everywhere
def test_nothing_sticks_out(page: Any, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@once
def test_the_keyboard_reaches_all_of_it(page: Any) -> None:
    reached = []
    while True:
        page.keyboard.press("Tab")
        name, outline, thick = page.evaluate(FOCUS)
        if name is None or name in reached:
            break
        assert outline == "solid" and thick >= 2, name
        reached.append(name)
    links = ["#change", "#categories", "#gpus", "#over-time", "#used", "#jobs"]
    assert reached == [*links, "Speeds by model", "Requests and use", "Jobs"]
    page.locator("[aria-label=Jobs]").focus()
    page.keyboard.press("End")
    deadline = time.monotonic() + 10  # wait_for_function would evaluate a string, which the page's policy forbids
    while not page.evaluate("document.querySelector('[aria-label=Jobs]').scrollTop"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@once
def test_each_picture_has_words(page: Any) -> None:
    for picture in page.locator("svg").all():
        assert picture.get_attribute("aria-hidden") == "true" or picture.get_attribute("aria-label")
    assert page.locator("html").get_attribute("lang") == "en" and page.locator("h1").count() == 1
    for table in page.locator("table").all():
        assert table.locator("caption, thead").count() >= 1
