"""Where the seconds of a job went: its event log, and what the job published of itself (submit/runtime/leaving.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from submit.eventlog import JobHistory
from submit.runtime import daly

CATEGORIES = ("queued", "transfer", "starting", "useful", "leaving", "lost")


@dataclass(frozen=True, kw_only=True)
class SlotTime:
    """Seconds by category; they add up to the time from condor_submit to the end.

    queued     no machine; from the log
    transfer   files on their way, before the job starts and when it ends; from the log
    starting   on a machine, before the first step: the job's own measurement, for each start
    useful     work that is in the result: the job's own measurement; None where it published nothing
    leaving    exits with 85 and what follows until the next step: their number times the job's own measurement
    lost       what is left of the machines' time: work done again, and all that is in no other category

    `slots`: seconds that machines were the job's; `leave_s`, `start_s`: what one leaving and one start cost it.
    """

    queued: float
    transfer: float
    starting: float | None
    useful: float | None
    leaving: float | None
    lost: float | None
    slots: float
    evictions: int
    leave_s: float | None
    start_s: float | None

    @property
    def seconds(self) -> dict[str, float | None]:
        """Category -> seconds, to a tenth."""
        values = {name: getattr(self, name) for name in CATEGORIES}
        return {name: None if value is None else round(value, 1) for name, value in values.items()}

    @property
    def goodput(self) -> float | None:
        """Share of the machines' time that is work in the result."""
        return self.useful / self.slots if self.useful is not None and self.slots else None

    @property
    def between_evictions(self) -> float | None:
        """Mean seconds of a machine between two evictions; None where there was none."""
        return self.slots / self.evictions if self.evictions and self.slots else None

    @property
    def interval(self) -> float | None:
        """Seconds of work between two leaves that would have been the best; None where costs or spacing are unknown."""
        spacing = self.between_evictions
        return None if spacing is None or self.leave_s is None else daly.optimal_interval(self.leave_s, spacing)

    @property
    def optimum(self) -> float | None:
        """The goodput that the best interval gives, with the costs measured; None where they are unknown."""
        spacing, interval = self.between_evictions, self.interval
        if spacing is None or interval is None or self.leave_s is None or self.start_s is None:
            return None
        return daly.goodput(interval, self.leave_s, self.start_s, spacing)


def of_job(history: JobHistory, ad: Mapping[str, Any], until: int) -> SlotTime:
    """`ad`: the job's, from the queue or the history. `until`: seconds since the epoch where it has not ended."""
    last = history.ended if history.ended is not None else until
    ends = [start.until if start.until is not None else last for start in history.starts]
    slots = float(sum(end - start.claimed for start, end in zip(history.starts, ends, strict=True)))
    if history.hold_code and ends:
        last = ends[-1]
    ingoing = sum(start.input_s for start in history.starts)
    outgoing = history.starts[-1].output_s if history.ended is not None and history.starts else 0
    useful, leave_s, start_s = (_number(ad, f"ChirpOsgdl{name}") for name in ("Useful", "Leave", "Start"))
    starting = leaving = lost = None
    if useful is not None:
        # what the job calls its start begins with the transfer
        starting = sum(
            min(end - start.time, max(0.0, (start_s or 0.0) - start.input_s))
            for start, end in zip(history.starts, ends, strict=True)
        )
        leaving = (int(ad.get("CheckpointNumber", -1)) + 1) * (leave_s or 0.0)
        rest = slots - ingoing - outgoing - useful
        starting = min(starting, max(0.0, rest))
        leaving = min(leaving, max(0.0, rest - starting))
        lost = rest - starting - leaving
    return SlotTime(
        queued=last - history.submitted - slots,
        transfer=float(ingoing + outgoing),
        starting=starting,
        useful=useful,
        leaving=leaving,
        lost=lost,
        slots=slots,
        evictions=history.evictions,
        leave_s=leave_s,
        start_s=start_s,
    )


def total(parts: Iterable[SlotTime]) -> SlotTime:
    """Of many jobs: sums, and the mean costs; what one of them does not know is unknown."""
    parts = list(parts)

    def summed(name: str) -> float | None:
        values = [getattr(part, name) for part in parts]
        return None if None in values or not values else float(sum(values))

    def mean(name: str) -> float | None:
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        return sum(values) / len(values) if values else None

    return SlotTime(
        queued=summed("queued") or 0.0,
        transfer=summed("transfer") or 0.0,
        starting=summed("starting"),
        useful=summed("useful"),
        leaving=summed("leaving"),
        lost=summed("lost"),
        slots=summed("slots") or 0.0,
        evictions=sum(part.evictions for part in parts),
        leave_s=mean("leave_s"),
        start_s=mean("start_s"),
    )


def _number(ad: Mapping[str, Any], name: str) -> float | None:
    value = ad.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
