"""What came of a try: the faults that were done, the jobs' histories and what they published, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from submit import slot_time
from submit.faults import Fault
from submit.job_history import JobHistory

Name = tuple[int, int]  # cluster and process


@dataclass
class Done:
    """A fault that was done: to which job, where, when (seconds after the submission), what came of it in its log."""

    fault: Fault
    job: str
    site: str
    at: float
    then: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What came of a try."""

    cluster: int
    jobs: dict[Name, JobHistory]
    ads: dict[Name, Mapping[str, Any]]
    faults: list[Done]
    not_reached: list[Fault]
    ended: float
    why: str = ""  # it was given up: the reason

    @property
    def parts(self) -> dict[Name, slot_time.SlotTime]:
        return {
            name: slot_time.of_job(history, self.ads.get(name, {}), int(self.ended))
            for name, history in self.jobs.items()
        }

    @property
    def state(self) -> str:
        """`done`, `held`, `removed`, `given up`: the worst of the jobs' states."""
        if self.why:
            return "given up"
        states = {history.state for history in self.jobs.values()}
        return next((state for state in ("held", "removed", "running", "idle") if state in states), "done")

    @property
    def exit_code(self) -> int | None:
        """0: all jobs ended with it; else that of the first that did not; None where it has none."""
        return next((job.exit_code for job in self.jobs.values() if job.exit_code != 0), 0)

    @property
    def hold_reason(self) -> str:
        return next((job.hold_reason for job in self.jobs.values() if job.state == "held"), "")

    @property
    def fine(self) -> bool:
        return self.state == "done" and self.exit_code == 0 and not self.not_reached
