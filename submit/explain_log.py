"""What an event log says of one job beyond its history: each end, the resources used and asked for, who removed it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submit import events
from submit.errors import KitError
from submit.job_history import IN_STARTED, Name

_CODE = re.compile(r"Code (\d+) Subcode (-?\d+)")
_NODE = re.compile(r'DAGNodeName = "([^"]*)"|DAG Node: (.*)')  # the job's own log, DAGMan's
_MEASURED = re.compile(r"^\t(\d+)  -  MemoryUsage of job \(MB\)", re.MULTILINE)
_FACTS = {"GPUs_Capability": "capability", "GPUs_GlobalMemoryMb": "memory_mb"}


@dataclass
class Evidence:
    """Of one job.

    Attributes:
        holds: each hold: (code, subcode, reason), in HTCondor's words.
        removed: the reason of the removal.
        gpu: facts of the last GPU, as the failure table asks for them.
        gpus: how many were given at the last start.
        used, asked: of Memory (MB), Disk (KB), GPUs: the largest that was measured, and the request.
        provisioned: memory of the slot, MB.
        codes: the exit code or signal of every end: ("exit code 75", site).
        errors: what starters and shadows complained of, last ones last.
        node: of the workflow that it belongs to.
        sending: since when its input is on the way to a machine; None where it is not.
        silent: since when the machine is out of reach, and the reason; None where it is not.
    """

    holds: list[tuple[int, int, str]] = field(default_factory=list)
    removed: str = ""
    gpu: dict[str, float] = field(default_factory=dict)
    gpus: int = 0
    used: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    provisioned: float = 0
    codes: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    silent: tuple[int, str] | None = None
    sending: int | None = None
    node: str = ""
    _site: str = ""

    def add(self, event: events.Event) -> None:
        """Take in an event of this job."""
        if event.type != events.TRANSFER:
            self.sending = None
        if event.type == events.SUBMIT:
            self.node = next((own or dagman for own, dagman in _NODE.findall(event.text)), "").strip()
        elif event.type == events.EXECUTE:
            self._execute(event.get("ExecuteProps") or {})
        elif event.type == events.IMAGE_SIZE:
            if found := _MEASURED.search(event.text):
                self._most("Memory", float(found[1]))
        elif event.type in (events.EVICTED, events.TERMINATED):
            self.silent = None
            self._end(event)
        elif event.type == events.TRANSFER:
            self.sending = event.timestamp if event.get("Type") == IN_STARTED else None
        elif event.type == events.HELD:
            code = _CODE.search(event.text.rpartition("\n")[2])
            self.holds.append((int(code[1]) if code else 0, int(code[2]) if code else 0, str(event.get("HoldReason"))))
        elif event.type == events.ABORTED:
            self.removed = str(event.get("Reason", ""))
        elif event.type in (events.REMOTE_ERROR, events.SHADOW_EXCEPTION):
            self.errors.append(str(event.get("ErrorMsg") or event.get("Message") or ""))
        elif event.type == events.DISCONNECTED:
            self.silent = event.timestamp, str(event.get("DisconnectReason", ""))
        elif event.type in (events.RECONNECTED, events.RECONNECT_FAILED):
            self.silent = None

    def _execute(self, properties: dict[str, Any]) -> None:
        self.silent = None
        self._site = str(properties.get("GLIDEIN_Site", ""))
        self.gpu = {
            fact: float(properties[name])
            for name, fact in _FACTS.items()
            if isinstance(properties.get(name), (int, float))
        }
        given, memory = properties.get("GPUs", 0), properties.get("Memory", 0)
        self.gpus = int(given) if isinstance(given, (int, float)) else 0
        self.provisioned = float(memory) if isinstance(memory, (int, float)) else 0.0

    def _end(self, event: events.Event) -> None:
        for name in ("Memory", "Disk", "GPUs"):
            if (used := event.get(f"{name}Usage")) is not None:
                self._most(name, float(used))
            if (asked := event.get(f"Request{name}")) is not None:
                self.asked[name] = float(asked)
        if event.get("TerminatedNormally"):
            self.codes.append((f"exit code {event.get('ReturnValue')}", self._site))
        elif event.get("TerminatedBySignal"):
            self.codes.append((f"signal {event.get('TerminatedBySignal')}", self._site))

    def _most(self, name: str, value: float) -> None:
        self.used[name] = max(value, self.used.get(name, 0.0))


def read(log: Path, names: Collection[Name]) -> dict[Name, Evidence]:
    """The evidence on each of these jobs of a log.

    Raises:
        KitError: it cannot be read.
    """
    try:
        found, _ = events.parse(log.read_bytes())
    except OSError as fault:
        raise KitError(f"{log}: {fault.strerror}; want an event log, the file of `log =`") from None
    evidence = {name: Evidence() for name in names}
    for event in found:
        if one := evidence.get((event.cluster, event.proc)):
            if event.type == events.SUBMIT:
                one = evidence[event.cluster, event.proc] = Evidence()
            one.add(event)
    return evidence
