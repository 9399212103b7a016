"""Links lead somewhere, each page is in the navigation, a quoted line of a submit file passes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from submit import check
from tests.docs.commands import DOCS, PAGES, ROOT

# made pages have the same links each
LINKED = (*PAGES, *sorted((DOCS / "rules").glob("*.md"))[:1])
# quoted because they are wrong, and said so there
WRONG = {"gpus_minimum_memory = 40GB"}


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The addresses of the headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_each_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^- \[.+?\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert sorted([*listed, "index.md"]) == sorted(page.name for page in DOCS.glob("*.md"))


def quoted() -> list[tuple[str, str]]:
    """NAME = VALUE in the text of a page, where NAME is a submit command or an attribute of the job, and the page."""
    known = set(tomllib.loads((ROOT / "submit" / "data" / "commands.toml").read_text())["commands"])
    found = [(page, line) for page in PAGES for line in re.findall(r"`(\+?\w+ = [^`]+)`", prose(page))]
    return [(page.name, line) for page, line in found if line.split(" = ")[0].lower() in known or line.startswith("+")]


@pytest.mark.parametrize(("page", "line"), quoted())
def test_a_quoted_line_of_a_submit_file_passes_check(page: str, line: str, tmp_path: Path) -> None:
    name = line.split(" = ")[0]
    base = (ROOT / "tests" / "submit" / "check" / "correct" / "any-gpu.sub").read_text().splitlines()
    kept = [old for old in base if old.split("=")[0].strip().lower() != name.lower()]
    file = tmp_path / "job.sub"
    file.write_text("\n".join([*kept[:-1], line, kept[-1]]) + "\n")
    at = len(kept)
    said = [one.message for one in check.check([file]) if one.line == at]
    assert bool(said) == (line in WRONG), f"{page}: {line}: {said}"
