"""The picture of a terminal: what stood there when, at the end too; text is text in it."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("pyte", reason="pip install '.[docs]'")
from tools import cast

SVG = "{http://www.w3.org/2000/svg}"


def test_a_line_stands_from_when_it_came_to_when_another_took_its_place() -> None:
    said = [(0.0, "$ x\r\n"), (16.0, "\rone"), (32.0, "\r\x1b[2Ktwo"), (48.0, "\r\n\x1b[31mred\x1b[0m <&>")]
    shown, length = cast.lines(iter(said))
    stood = [("".join(text for text, *_ in line.spans).rstrip(), line.row, line.start, line.end) for line in shown]
    assert stood == [("one", 1, 1, 2), ("$ x", 0, 0, None), ("two", 1, 2, None), ("red <&>", 2, 3, None)]
    assert length == 3
    texts = ET.fromstring(cast.svg(shown, length, "x")).findall(f"{SVG}text")  # noqa: S314 - written a moment ago
    assert ["".join(text.itertext()).rstrip() for text in texts] == ["one", "$ x", "two", "red <&>"]
    assert [text.get("class") for text in texts] == ["gone", "last", "last", "last"]
    assert texts[3][0].get("fill") == cast.COLOURS["red"]


def test_a_command_finds_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    monkeypatch.setattr(sys, "argv", ["cast", str(tmp_path / "x.svg"), "--", sys.executable, "-c", code])
    cast.main()
    assert f"True {cast.COLUMNS}" in (tmp_path / "x.svg").read_text()


def test_a_command_that_fails_makes_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cast", str(tmp_path / "x.svg"), "--", "false"])
    with pytest.raises(SystemExit, match="false ended with 1"):
        cast.main()
    assert not (tmp_path / "x.svg").exists()
