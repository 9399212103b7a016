"""The report: one whole file, foreign text escaped, its numbers those of the result; and its box plots."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmentation import box_plot, lesions, metrics, report_html, summary
from unet_segmentation.metrics import Measured as Voxels
from unet_segmentation.summary import Measured, Options

EVIL = '<img src=x onerror="alert(1)"></td><script>alert(2)</script>&amp;$body'
REGIONS = ("whole", "core")
PNG = b"\x89PNG not really"
VOID = {"meta", "br", "img"}


class Outline(HTMLParser):
    """Every tag with its attributes; complains about tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    assert not found.open
    return found


def patient(common: int, size: int = 100, found: int = 1) -> Measured:
    voxels = {region: Voxels(common, size, size, 10_000, 3.0 if common else 5.0) for region in REGIONS}
    seen = lesions.Lesions((common / size,), (3.0,), found, 1 - found, 0, 0)
    return Measured(voxels, dict.fromkeys(REGIONS, seen), 1.0, {"prediction": "ab", "truth": "cd"})


def result(names: list[str], options: Options | None = None) -> dict[str, Any]:
    measured = {name: patient(10 + 90 * number // len(names)) for number, name in enumerate(names)}
    made = summary.summarise(measured, REGIONS, options or Options(lesion_wise="glioma"))
    return {**made, "provenance": {"scored": "today", "versions": {"numpy": "2"}, "models": ["abc"], "gpu": None}}


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    names = ["a", "b", "c", EVIL, "e"]
    (tmp_path / "overlays").mkdir()
    drawn = {name: f"overlays/{number}.png" for number, name in enumerate(names)}
    for picture in drawn.values():
        (tmp_path / picture).write_bytes(PNG)
    return drawn


def test_it_is_whole_and_needs_nothing_else(tmp_path: Path, pictures: dict[str, str]) -> None:
    page = report_html.page(result(list(pictures)), tmp_path, pictures)
    found = outline(page)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "base", "form", "object"), tag
        assert not {"href", "srcset", "action"} & set(attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(|https?://", page)
    assert page.count(base64.b64encode(PNG).decode()) == 3  # best, median, worst
    for text in ("Best: e", "Median: c", "Worst: a", "overlays/1.png", "what empty regions count", "bootstrap"):
        assert text.lower() in page.lower()


def test_only_its_own_script_may_run(tmp_path: Path, pictures: dict[str, str]) -> None:
    page = report_html.page(result(list(pictures)), tmp_path, pictures)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in outline(page).tags if a.get("http-equiv"))
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_names_are_text(tmp_path: Path, pictures: dict[str, str]) -> None:
    made = {**result([*pictures]), "against": {"file": EVIL, "patients": 1, "difference": {}}}
    made["provenance"][EVIL] = {EVIL: [EVIL]}
    page = report_html.page(made, tmp_path, {EVIL: pictures[EVIL]})
    plain = report_html.page(result(["a", "b", "c", "d", "e"]), tmp_path, {})
    scripts = [sum(tag == "script" for tag, _ in outline(text).tags) for text in (page, plain)]
    assert scripts == [1, 1]
    assert EVIL not in page and EVIL in unescape(page)
    assert "alert(1)" in page  # as text


def test_numbers_of_the_table_are_those_of_the_result(tmp_path: Path) -> None:
    made = result(["a", "b", "c"])
    page = report_html.page(made, tmp_path, {})
    body = page[page.index('<table class="patients">') :]
    rows = re.findall(r"<tr><th scope=\"row\" data-v=\"(\w)\">\w</th>(.*?)</tr>", body)
    assert [name for name, _ in rows] == made["worst_to_best"]
    for name, cells in rows:
        values = [float(value) for value in re.findall(r'data-v="([^"]*)"', cells)]
        assert values == [made["scores"][name][region][m] for region in REGIONS for m in made["metrics"]]
    cell = made["summary"]["dice"]["whole"]
    assert f"{cell['mean']:.3f}<small>[{cell['low']:.3f}, {cell['high']:.3f}], n = 3</small>" in page
    assert "a rough guess" in page


def test_one_patient_and_nothing_that_counts(tmp_path: Path) -> None:
    empty = Voxels(0, 0, 0, 100, None)
    measured = {"a": Measured({"whole": empty}, {}, 1.0, {})}
    made = {**summary.summarise(measured, ("whole",), Options(empty="ignore")), "provenance": {}}
    page = report_html.page(made, tmp_path, {"a": "overlays/a.png"})
    outline(page)
    assert "Scores of 1 patient<" in page and "n = 0" in page and "<img" not in page


def test_difference_to_another(tmp_path: Path) -> None:
    made = result(["a", "b"])
    made["against"] = {"file": "other.json", **summary.compare(made["scores"], made["scores"], made["metrics"])}
    page = report_html.page(made, tmp_path, {})
    assert "Difference to another evaluation" in page and "2 patients that both have" in page


# Box plots


def drawing(columns: dict[str, dict[str, float | None]], **more: Any) -> ElementTree.Element:
    limits = more.pop("limits", (None, None))
    return ElementTree.fromstring(box_plot.draw("Dice", columns, limits, **more))  # noqa: S314 - our own text


def numbers(svg: ElementTree.Element, kind: str, name: str) -> list[float]:
    return [float(node.attrib[name]) for node in svg.iter() if node.attrib.get("class") == kind]


def test_a_box_by_hand() -> None:
    """0, 0.25, 0.5, 0.75 and 1 of an axis from 0 to 1: quartiles at a quarter of its height, the median in the
    middle.
    """
    svg = drawing({"x": {str(v): v for v in (0, 0.25, 0.5, 0.75, 1)}}, limits=(0.0, 1.0))
    top, bottom = box_plot.TOP, box_plot.HEIGHT - box_plot.BOTTOM
    height = bottom - top
    assert numbers(svg, "box", "y") == [pytest.approx(top + height / 4, abs=0.1)]
    assert numbers(svg, "box", "height") == [pytest.approx(height / 2, abs=0.1)]
    assert numbers(svg, "median", "y1") == [pytest.approx(top + height / 2, abs=0.1)]
    assert sorted(numbers(svg, "whisker", "y2")) == pytest.approx([top, bottom], abs=0.1)
    assert len(numbers(svg, "point", "cy")) == 5


def test_a_penalty_does_not_flatten_the_rest() -> None:
    svg = drawing({"x": {"a": 1.0, "b": 2.0, "c": 3.0, "d": 374.0}}, limits=(0.0, None), penalty=374.0)
    heights = sorted(numbers(svg, "point", "cy"))
    assert heights[1] - heights[0] > 12 and heights[3] - heights[1] > 60
    assert "374" in "".join(svg.itertext())


VALUES = st.one_of(st.none(), st.floats(0, 1), st.just(374.0), st.floats(0, 500))


@given(
    st.dictionaries(st.text(min_size=1, max_size=30), st.lists(VALUES, max_size=8), max_size=5),
    st.sampled_from([(0.0, 1.0), (0.0, None), (None, 1.0), (None, None)]),
)
def test_any_values_stay_inside_the_picture(columns: dict[str, list[float | None]], limits: Any) -> None:
    if limits[1] == 1.0:
        columns = {n: [v if v is None or v <= 1 else 1.0 for v in values] for n, values in columns.items()}
    points = {name: {str(i): value for i, value in enumerate(values)} for name, values in columns.items()}
    text = box_plot.draw("t", points, limits, 374.0)
    for place in re.findall(r'c?y[12]?="(-?[\d.]+)"', text):
        assert 0 <= float(place) <= box_plot.HEIGHT
    for place in re.findall(r'c?x[12]?="(-?[\d.]+)"', text):
        assert 0 <= float(place) <= box_plot.WIDTH
    assert "nan" not in text and "inf" not in text


def test_titles_cover_every_metric() -> None:
    assert set(report_html.DEFINITIONS) == {*metrics.METRICS, *lesions.METRICS}
