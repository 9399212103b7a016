"""What running jobs publish about themselves, asked of the queue now and then, and never in the picture's way.

One `condor_q` for the running and held jobs of the clusters that are looked at, of the attributes below alone: every
two minutes on an access point, which is shared, and where HTCondor itself brings such news to the queue every 15
minutes (SHADOW_QUEUE_UPDATE_INTERVAL) and when a job changes its state; every 10 seconds in the local pool. An answer
that takes long makes the next question come later.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submit import published, schedd
from submit.errors import KitError
from submit.job_history import Name
from submit.published import Published

RUNNING, HELD = 2, 5  # JobStatus (HTCondor manual, job ClassAd attributes)
_OURS = ("ClusterId", "ProcId", "JobStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason")
EVERY_S, EVERY_LOCAL_S = 120.0, 10.0
PAUSE = 20  # at least so many times as long as the answer took
ANSWER_S = 60.0  # seconds
MOST_NAMED = 50  # clusters by their numbers in the question; of more, all from the first to the last


class Queue:
    """Asks in a thread of its own.

    Attributes:
        published: of each running job, as it was when last asked.
        held: code, subcode and reason of each held job; the log of one that was submitted on hold says nothing of it.
        answered: when that was, seconds since the epoch; None: never yet.
        trouble: why there was no answer; empty: there was.
        is_local: it is the local pool's.
    """

    def __init__(self, local: bool = False) -> None:
        self.published: dict[Name, Published] = {}
        self.held: dict[Name, tuple[int, int, str]] = {}
        self.answered: float | None = None
        self.trouble = ""
        self.is_local = schedd.is_local(local)
        self._local = local
        self._every = EVERY_LOCAL_S if self.is_local else EVERY_S
        self._next = 0.0
        self._thread: threading.Thread | None = None
        self._missing: dict[Name, int] = {}  # running jobs by their logs -> how many answers did not have them

    def look(self, running: Sequence[Name], idle: Sequence[Name] = ()) -> None:
        """Asks about these jobs, by their logs running or idle, where it is time; returns at once."""
        if (self._thread and self._thread.is_alive()) or time.monotonic() < self._next:
            return
        names, clusters = list(running), {cluster for cluster, _ in (*running, *idle)}
        if clusters:
            self._thread = threading.Thread(target=self._ask, args=(names, clusters), name="condor_q", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """For the answer that is on its way."""
        if self._thread:
            self._thread.join(seconds)

    def lost(self, name: Name) -> bool:
        """Whether the queue said twice that it has no such running job, whatever its log says."""
        return self._missing.get(name, 0) >= 2

    def _ask(self, names: list[Name], clusters: set[int]) -> None:
        began = time.monotonic()
        try:
            done = schedd.run(_question(clusters), Path.cwd(), self._local, ANSWER_S)
            ads = json.loads(done.stdout or "[]") if done.returncode == 0 else None
            by = {(int(ad["ClusterId"]), int(ad["ProcId"])): ad for ad in ads or () if "ProcId" in ad}
            self.trouble = "" if ads is not None else " ".join(done.stderr.split())[-200:] or "condor_q failed"
        except (KitError, OSError, ValueError, OverflowError, KeyError, TypeError) as fault:
            ads, self.trouble = None, str(fault)
        took = time.monotonic() - began
        self._next = time.monotonic() + max(self._every, PAUSE * took)
        if ads is not None:
            self.held = {name: _hold(ad) for name, ad in by.items() if ad.get("JobStatus") == HELD}
            self.published = {name: published.of_ad(ad) for name, ad in by.items() if name not in self.held}
            self._missing = {name: self._missing.get(name, 0) + 1 for name in names if name not in by}
            self.answered = time.time()


def _hold(ad: Mapping[str, Any]) -> tuple[int, int, str]:
    codes = (ad.get("HoldReasonCode"), ad.get("HoldReasonSubCode"))
    code, subcode = (value if type(value) is int else 0 for value in codes)
    return code, subcode, str(ad.get("HoldReason", ""))


def _question(clusters: set[int]) -> list[str]:
    """The command."""
    if len(clusters) <= MOST_NAMED:
        which = " || ".join(f"ClusterId == {cluster}" for cluster in sorted(clusters))
    else:
        which = f"ClusterId >= {min(clusters)} && ClusterId <= {max(clusters)}"
    attributes = ",".join([*_OURS, *published.ATTRIBUTES.values(), published.AVERAGE_USE])
    return [
        "condor_q",
        "-json",
        "-attributes",
        attributes,
        "-constraint",
        f"(JobStatus == {RUNNING} || JobStatus == {HELD}) && ({which})",
    ]
