"""Writes docs/rules.md, a table, and docs/rules/ID.md, a page for each rule: python -m tools.rules_page.

A page's example is the rule's own test case, and what `osgdl check` says to it is what it just said.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from submit import check
from submit.findings import Finding, Rule, rules

REPO = Path(__file__).resolve().parent.parent
DOCS = REPO / "docs"
CASES = REPO / "tests" / "submit" / "check" / "cases"
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
_NOTE = "<!-- Written by `make data` from submit/data/rules/ and the rules' test cases: edit it there. -->\n"
_HEAD = """
# The rules of `osgdl check`

An **error** is something with which the job cannot do what was meant; a **warning** may be fine. A comment above a line
silences a rule there: `# osgdl: ignore OSG104` (several with commas; without a number, all). `osgdl check --fix` makes
the mends that are certain. Each rule has a page: why, the mend, and a line that breaks it.
"""


def pages() -> dict[str, str]:
    """The text of every page by its path under docs/."""
    listed = list(rules().values())
    return {"rules.md": _table(listed)} | {f"rules/{rule.id}.md": _page(rule) for rule in listed}


def _table(listed: list[Rule]) -> str:
    parts = [_NOTE + _HEAD]
    for family, title in FAMILIES.items():
        rows = [
            f"| [{rule.id}](rules/{rule.id}.md) | {rule.name} | {rule.severity} |"
            for rule in listed
            if rule.family == family
        ]
        if rows:
            parts.append("\n".join([f"## {title}", "", "| rule | | severity |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _page(rule: Rule) -> str:
    parts = [
        f"{_NOTE}\n# {rule.id}: {rule.name}",
        f"{rule.severity.capitalize()}, {FAMILIES[rule.family].lower()} ([all rules](../rules.md))",
        f"**Why.** {rule.reason}",
        f"**Mend.** {rule.fix}",
        _example(rule),
        f"**Source.** {rule.source}",
    ]
    return "\n\n".join(parts) + "\n"


def _example(rule: Rule) -> str:
    name, line, said = example(rule.id)
    return f"**Example.** In `{name}`:\n\n```text\n{line}\n```\n\n`osgdl check` says:\n\n```text\n{said}\n```"


@cache
def example(rule: str) -> tuple[str, str, str]:
    """The file, the line that breaks `rule` in its test case, and the two lines that `osgdl check` prints for it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CASES / rule, Path(folder) / rule))
        if (copy / "sizes").exists():  # large files that hold nothing: NAME BYTES a line
            for row in (copy / "sizes").read_text(encoding="utf-8").splitlines():
                name, size = row.split()
                (copy / name).touch()
                os.truncate(copy / name, int(size))
        if (copy / "modes").exists():  # permissions, of which git keeps few: NAME MODE a line
            for row in (copy / "modes").read_text(encoding="utf-8").splitlines():
                name, mode = row.split()
                (copy / name).chmod(int(mode, 8))
        bad = next(copy.glob("bad.dag"), copy / "bad.sub")
        finding = next(one for one in check.check([bad]) if one.rule.id == rule)
        lines = finding.file.read_text(encoding="utf-8").splitlines()
        # what is missing at the end of a file is behind its last line
        return (
            finding.file.name,
            lines[min(finding.line, len(lines)) - 1].strip(),
            _said(finding).replace(f"{copy}/", ""),
        )


def _said(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}: {finding.message}\n    {finding.fix}"


def main() -> None:
    """Writes the pages, and takes away those of rules that are no more."""
    written = pages()
    (DOCS / "rules").mkdir(exist_ok=True)
    for name, text in written.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    for file in (DOCS / "rules").glob("*.md"):
        if f"rules/{file.name}" not in written:
            file.unlink()
    print(f"docs/rules.md and docs/rules/: {len(rules())} rules")


if __name__ == "__main__":
    main()
