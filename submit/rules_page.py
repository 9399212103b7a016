"""Writes docs/rules.md, the page that every finding points at: python -m submit.rules_page."""

from __future__ import annotations

from pathlib import Path

from submit.findings import DOCUMENTATION, Rule, rules

PAGE = Path(__file__).resolve().parent.parent / DOCUMENTATION
FAMILIES = {
    "syntax": "Syntax and units",
    "gpu": "GPU request",
    "container": "Container",
    "files": "Files",
    "checkpoint": "Checkpoint and retry",
    "policy": "Policy of the OSPool",
    "protection": "Data protection",
    "workflow": "Workflow",
}
_HEAD = """<!-- Written by `python -m submit.rules_page` from submit/data/rules/: edit it there. -->

# The rules of `osgdl check`

An **error** is something with which the job cannot do what was meant; a **warning** may be fine. A comment above a line
silences a rule there: `# osgdl: ignore OSG104` (several with commas; without a number, all). `osgdl check --fix` makes
the mends that are certain.
"""


def page() -> str:
    """The whole page: a table of contents by family, then a heading for each rule, whose anchor is its id."""
    listed = list(rules().values())
    parts = [_HEAD]
    for family, title in FAMILIES.items():
        rows = [f"| [{rule.id}](#{rule.id.lower()}) | {rule.name} | {rule.severity} |" for rule in _of(listed, family)]
        if rows:
            parts.append("\n".join([f"**{title}**", "", "| rule | | severity |", "|---|---|---|", *rows]) + "\n")
    for family in FAMILIES:
        parts += [_section(rule) for rule in _of(listed, family)]
    return "\n".join(parts)


def _of(listed: list[Rule], family: str) -> list[Rule]:
    return [rule for rule in listed if rule.family == family]


def _section(rule: Rule) -> str:
    lines = [
        f"## {rule.id}",
        f"**{rule.name}** ({rule.severity}, {FAMILIES[rule.family].lower()})",
        f"Why: {rule.reason}",
        f"Mend: {rule.fix}",
        f"Source: {rule.source}",
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{DOCUMENTATION}: {len(rules())} rules")


if __name__ == "__main__":
    main()
