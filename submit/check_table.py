"""`osgdl check` for people: the line, what is wrong there, the mend; worst things are not buried."""

from __future__ import annotations

import json
from collections.abc import Sequence

from submit.findings import ERROR, Finding


def text(found: Sequence[Finding], files: int) -> str:
    """Two lines for each finding, and the sum."""
    lines = []
    for finding in found:
        lines.append(f"{finding.file}:{finding.line}: {finding.rule.severity} {finding.rule.id}: {finding.message}")
        lines.append(f"    {finding.fix}  [{finding.doc}]")
    errors = sum(finding.rule.severity == ERROR for finding in found)
    mends = sum(bool(finding.edits) for finding in found)
    counts = {"file": files, "error": errors, "warning": len(found) - errors}
    one, two, three = (f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    total = f"{one}: {two}, {three}"
    return "\n".join([*lines, total + (f"; --fix mends {mends}" if mends else "")])


def as_json(found: Sequence[Finding]) -> str:
    """The list of findings."""
    return json.dumps([finding.as_json() for finding in found], indent=1)
