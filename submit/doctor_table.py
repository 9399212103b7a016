"""The doctor's findings as a person or a program reads them."""

from __future__ import annotations

import json
from dataclasses import asdict

from submit.doctor import Finding, usable

_MARKS = {"ok": "ok", "missing": "MISSING", "note": "note"}


def text(findings: list[Finding]) -> str:
    """A line for each finding, what to do below it, and at the end what this machine is good for."""
    lines = []
    for row in findings:
        lines.append(f"{_MARKS[row.state]:<8} {row.name:<16} {row.found}")
        if row.todo:
            lines.append(f"{'':<25} -> {row.todo}")
    can = usable(findings)
    lines.append("")
    for purpose, how in (("OSPool", "submit from here to the OSPool"), ("local pool", "run jobs on the local pool")):
        lines.append(f"You can {how}." if purpose in can else f"You cannot {how} yet: see MISSING above.")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    """{"usable": [...], "findings": [{"name", "state", "found", "todo", "purpose"}]}."""
    return json.dumps({"usable": usable(findings), "findings": [asdict(row) for row in findings]}, indent=2)
