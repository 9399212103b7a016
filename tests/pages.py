"""The tests that a page of docs/ names, and those that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def named(page: str, section: str = "") -> list[list[str]]:
    """The tests in the last column of each row of the tables of docs/`page`, after the heading `section` if given."""
    text = (ROOT / "docs" / page).read_text()
    if section:
        _, mark, text = text.partition(f"\n## {section}\n")
        assert mark, f"{page} has no section {section}"
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1]) for row in rows]


def written() -> set[str]:
    """The names of all tests."""
    return {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
