"""What a check of the preflight found: a row of the failure table, and what was there."""

from __future__ import annotations

from dataclasses import dataclass

from submit.runtime import failures
from submit.runtime.exit_codes import BadInput, BadMachine, Fault


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        failure: its row.
        held: what was there, in a few words.
        wanted: what is wanted instead; empty for the row's own words.
    """

    failure: failures.Failure
    held: str
    wanted: str = ""

    @property
    def fault(self) -> Fault:
        """The exception that carries it out of the job, in one line."""
        kind = BadInput if self.failure.verdict == failures.REQUEST else BadMachine
        return kind(self.failure.where, self.held, self.wanted or self.failure.wanted, self.failure.fix)

    @property
    def is_warning(self) -> bool:
        return self.failure.verdict == failures.WARNING


def found(row: str, held: str, wanted: str = "") -> Finding:
    """A finding of a check that the table knows by the name `row`."""
    return Finding(failures.by_check(row), held, wanted)
