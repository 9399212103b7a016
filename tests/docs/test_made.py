"""The pages that are made are those that the code would make now."""

from __future__ import annotations

from submit.findings import rules
from tools import commands_page, rules_page

MEND = "run `make data`"


def test_the_pages_of_the_rules() -> None:
    on_disk = {str(file.relative_to(rules_page.DOCS)) for file in (rules_page.DOCS / "rules").glob("*.md")}
    pages = rules_page.pages()
    assert on_disk | {"rules.md"} == set(pages), MEND
    for name, text in pages.items():
        assert (rules_page.DOCS / name).read_text(encoding="utf-8") == text, MEND


def test_a_rule_is_shown_by_a_line_that_breaks_it() -> None:
    for rule in rules():
        name, line, said = rules_page.example(rule)
        assert line and said.startswith(f"{name}:"), rule


def test_the_page_of_commands() -> None:
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.page(), MEND
