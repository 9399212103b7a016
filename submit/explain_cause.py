"""A cause of a job's failure: what happened, whose fault it is, whether waiting helps, what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CODE, INPUT, REQUEST, IMAGE, MACHINE = "code", "input", "request", "image", "machine"
SERVICE, ACCESS, PERSON, UNCLEAR, NOBODY = "service", "access", "person", "unclear", "nobody"
WHOSE = {
    CODE: "your code",
    INPUT: "your data or settings",
    REQUEST: "your request (the submit file)",
    IMAGE: "the image",
    MACHINE: "the machine, not you",
    SERVICE: "the data service, or the name that it was asked for",
    ACCESS: "the access point: its disk, your quota or your credentials there",
    PERSON: "nobody's: it was asked for by hand",
    UNCLEAR: "not clear from what is there",
    NOBODY: "nobody's",
}


@dataclass(frozen=True)
class Cause:
    """Why a job is where it is.

    Attributes:
        id: of the row of a table (holds, symptoms, failures) or of the rule that found it; jobs are grouped by it.
        fault: a key of WHOSE.
        waits: why waiting helps, or does not; `helps`: which of them.
        mend: the edit or command that mends it; empty where nothing is to be done.
        certain: False where the evidence has other readings, which `what` then says.
        sources: who says so.
    """

    id: str
    what: str
    fault: str
    helps: bool
    waits: str
    mend: str
    certain: bool = True
    sources: tuple[str, ...] = ()
    also: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "cause": self.id,
            "what": self.what,
            "fault": self.fault,
            "waiting_helps": self.helps,
            "waiting": self.waits,
            "mend": self.mend,
            "certain": self.certain,
            "sources": list(self.sources),
            "also": list(self.also),
        }


def filled(template: str, values: dict[str, str]) -> str:
    """`template` with its {names} replaced; a name without a value is left out with its braces."""
    text = template
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text
