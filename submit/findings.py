"""What `osgdl check` finds: a rule of data/rules/ that a line of a file breaks."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

RULES = Path(__file__).parent / "data" / "rules"
DOCUMENTATION = "docs/rules"  # a page for each: tools/rules_page.py
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Rule:
    """A row of data/rules/FAMILY.toml; the fields are described in syntax.toml."""

    id: str
    name: str
    family: str
    severity: str
    reason: str
    fix: str
    source: str


@dataclass(frozen=True)
class Edit:
    """A change of the submit file that mends a finding for certain: `name` gets `value`, on the line of `replaces`
    where that is given; None takes the command out.
    """

    name: str
    value: str | None
    replaces: str | None = None


@dataclass(frozen=True)
class Hit:
    """What a rule's function yields: the line (from 1), what is wrong there, the mend in this file's own words where
    the rule's general one says less, and the certain edits. `file` where it is not the submit file itself.
    """

    line: int
    message: str
    fix: str = ""
    edits: tuple[Edit, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    file: Path
    line: int
    rule: Rule
    message: str
    fix: str
    edits: tuple[Edit, ...] = field(default=(), repr=False)

    @property
    def doc(self) -> str:
        """The rule's page."""
        return f"{DOCUMENTATION}/{self.rule.id}.md"

    def as_json(self) -> dict[str, Any]:
        """The fields of `osgdl check --json`."""
        return {
            "file": str(self.file),
            "line": self.line,
            "rule": self.rule.id,
            "severity": self.rule.severity,
            "message": self.message,
            "fix": self.fix,
            "doc": self.doc,
        }


@cache
def rules() -> dict[str, Rule]:
    """Every rule by its id, in the order of the ids."""
    rows = [
        Rule(family=file.stem, **row)
        for file in RULES.glob("*.toml")
        for row in tomllib.loads(file.read_text(encoding="utf-8"))["rule"]
    ]
    return {rule.id: rule for rule in sorted(rows, key=lambda rule: rule.id)}


# id of a rule -> the function that looks for it; filled by the modules of submit.rules
Look = Callable[[Any], Iterator[Hit]]
_LOOKS: dict[str, tuple[type, Look]] = {}


def looks_for(rule: str, what: type) -> Callable[[Look], Look]:
    """Registers a function as the one that looks for `rule` in a `what` (a Submission or a Workflow)."""

    def register(look: Look) -> Look:
        if rule in _LOOKS:
            raise ValueError(f"{rule} has two functions")
        _LOOKS[rule] = (what, look)
        return look

    return register


def look(subject: object, file: Path) -> Iterator[Finding]:
    """Every finding of every rule for this kind of subject, in the order of the rules."""
    for rule_id, rule in rules().items():
        what, function = _LOOKS[rule_id]
        if isinstance(subject, what):
            for hit in function(subject):
                yield Finding(hit.file or file, hit.line, rule, hit.message, hit.fix or rule.fix, hit.edits)
