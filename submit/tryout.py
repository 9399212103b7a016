"""Runs a submit file unchanged on the local pool while machines are taken away at random and faults happen to it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from submit import bars, eventlog, follow, harm, harm_setup, pool, units
from submit.description import Description
from submit.errors import KitError, PoolError, wrong
from submit.faults import Fault
from submit.job_history import JobHistory
from submit.tryout_outcome import Done, Name, Outcome

POLL_S = 0.5
PROGRESS_S = 3.0  # between two looks into the ads
# A fault hits a job that has run for so long, at least and at most
SETTLED_S = (3.0, 8.0)
ATTRIBUTES = (
    "ClusterId,ProcId,JobStatus,UserLog,CheckpointNumber,ChirpOsgdlStep,ChirpOsgdlSteps,"
    "ChirpOsgdlUseful,ChirpOsgdlLeave,ChirpOsgdlStart,ChirpOsgdlInterval"
)


class Tryout:
    """One submit file, until all of its jobs are done or held.

    Args:
        submit_file, assignments: for condor_submit, as a user would give them.
        evict_every: mean seconds of running between two evictions of a job; None: none.
        faults: done one after the other.
        seed: of the moments of evictions and faults.
        limit: seconds after which it is given up.
    """

    def __init__(
        self,
        submit_file: Path,
        assignments: list[str],
        evict_every: float | None,
        faults: list[Fault],
        seed: int,
        limit: float,
    ) -> None:
        self.file, self.assignments = submit_file, assignments
        self.evict_every, self.faults, self.limit = evict_every, faults, limit
        self._random = random.Random(seed)  # noqa: S311 - chance, no secret
        self._seed = seed
        self._waiting = [fault for fault in faults if not fault.before]
        self._active: ExitStack | None = None
        self._active_until = self._calm = 0.0
        self._settled = self._random.uniform(*SETTLED_S)
        self._next: dict[tuple[Name, int], float] = {}  # (job, start) -> the moment of its eviction
        self._logs: set[Path] = set()
        self._ad: dict[str, Any] = {}
        self._done: list[Done] = []
        self._ads: dict[Name, Mapping[str, Any]] = {}

    def run(self) -> Outcome:
        """Raises PoolError when condor_submit refuses the file, KitError when a fault does not fit or on Ctrl-C."""
        self._ad = follow.first_ad(self.file, *self.assignments)
        with harm_setup.prepared(self.faults, self._ad) as lines:
            if not Description.read(self.file).get("log"):
                lines = [*lines, "log = osgdl-try.$(Cluster).log"]
            appended = [word for line in lines for word in ("-append", line)]
            cluster = follow.submit(self.file, *self.assignments, *appended)
            self._done += [Done(fault, str(cluster), "", 0.0) for fault in self.faults if fault.before]
            finished = False
            try:
                outcome = self._follow(cluster)
                finished = not outcome.why
                return outcome
            except KeyboardInterrupt:
                raise KitError(
                    f"interrupted: job {cluster} is removed, faults are ended; what came home so far lies in "
                    f"{self.file.parent}, the pool is still up: osgdl pool down"
                ) from None
            finally:
                if self._active:
                    self._active.close()
                if not finished:
                    pool.run(["condor_rm", str(cluster)], cwd=Path("/"))

    def _follow(self, cluster: int) -> Outcome:
        began = busy = time.time()
        looked = 0.0
        why = ""
        with bars.of_steps(f"job {cluster}") as bar:
            while True:
                now = time.time()
                if now - looked >= PROGRESS_S:
                    looked = now
                    self._look(cluster, past=not self._logs)
                jobs = self._histories(cluster)
                going = {name: job for name, job in jobs.items() if job.state in ("idle", "running")}
                if jobs and not going and not self._active and self._all_there(cluster, jobs):
                    break
                if any(job.state == "running" for job in going.values()):
                    busy = now
                elif now - busy > follow.IDLE_SECONDS and not self._active:
                    why = follow.why_idle(cluster)
                    busy = now
                if now - began > self.limit:
                    why = f"not done after {self.limit:g} s (--limit)"
                if why:
                    break
                self._harm(going, began, bool(jobs) and not going)
                self._evict(going)
                bar(self._line(jobs), *self._steps())
                time.sleep(POLL_S)
        if self._active:
            self._active.close()
            self._active = None
        self._look(cluster, past=True)
        jobs = self._histories(cluster)
        for done in self._done:
            done.then = _then(done, jobs, began)
        return Outcome(cluster, jobs, self._ads, self._done, self._waiting, time.time(), why)

    def _look(self, cluster: int, past: bool = False) -> None:
        """The jobs' ads as they are now; `past`: of those that have left the queue too."""
        for command in ("condor_q", "condor_history") if past else ("condor_q",):
            done = pool.run([command, str(cluster), "-json", "-attributes", ATTRIBUTES], cwd=Path("/"))
            ads: list[dict[str, Any]] = []
            with suppress(json.JSONDecodeError):  # a schedd that starts again
                ads = json.loads(done.stdout) if done.stdout.strip() else []
            for ad in ads:
                self._ads[ad["ClusterId"], ad["ProcId"]] = ad
                if ad.get("UserLog"):
                    self._logs.add(Path(ad["UserLog"]))

    def _histories(self, cluster: int) -> dict[Name, JobHistory]:
        found: dict[Name, JobHistory] = {}
        for log in sorted(self._logs):
            with suppress(ValueError, RuntimeError, OSError):  # an event that is being written
                found |= eventlog.read(log)
        return {name: job for name, job in sorted(found.items()) if name[0] == cluster}

    def _all_there(self, cluster: int, jobs: Mapping[Name, JobHistory]) -> bool:
        """Whether no job is to come: HTCondor may materialise them one after the other."""
        done = pool.run(["condor_q", str(cluster), "-json", "-attributes", "ClusterId,ProcId,JobStatus"], cwd=Path("/"))
        with suppress(json.JSONDecodeError):
            ads = json.loads(done.stdout) if done.stdout.strip() else []
            return done.returncode == 0 and all(
                (ad["ClusterId"], ad["ProcId"]) in jobs and ad.get("JobStatus") == 5 for ad in ads
            )
        return False

    def _running_for(self, job: JobHistory, now: float) -> float:
        """Seconds; 0 while its machine is out of reach, for a fault would hit nothing there."""
        return now - job.starts[-1].time if job.state == "running" and job.reachable else 0.0

    def _harm(self, going: Mapping[Name, JobHistory], began: float, over: bool) -> None:
        """Ends the fault that is there once its time is over, and does the next one when a job has settled.

        `over`: no job is left that it could harm; a hold by hand is ended at its time all the same.
        """
        now = time.time()
        if self._active and (now >= self._active_until or (over and self._done[-1].fault.name != "held-and-released")):
            self._active.close()
            self._active = None
            self._settled, self._calm = self._random.uniform(*SETTLED_S), now
        settled = [name for name, job in going.items() if self._running_for(job, now) >= self._settled]
        if self._active or not self._waiting or not settled or now - self._calm < self._settled:
            return
        name = self._random.choice(settled)
        fault, start = self._waiting[0], going[name].starts[-1]
        target = harm.Target(*name, start, self._ad)
        if not harm.ready(fault, target):
            return
        stack = ExitStack()
        try:
            stack.enter_context(harm.on_job(fault, target))
        except PoolError:  # the job ended or moved meanwhile
            stack.close()
            return
        self._active, self._active_until = stack, now + fault.seconds
        self._waiting.pop(0)
        self._done.append(Done(fault, target.job, start.site, now - began))

    def _evict(self, going: Mapping[Name, JobHistory]) -> None:
        """Takes the machines away whose time has come; not in the middle of a fault, which is a trial of its own."""
        if self.evict_every is None or self._active:
            return
        now = time.time()
        for name, job in going.items():
            if job.state != "running":
                continue
            count = len(job.starts)
            if (name, count) not in self._next:
                chance = random.Random(f"{self._seed}.{name[1]}.{count}")  # noqa: S311 - chance, no secret
                self._next[name, count] = job.starts[-1].time + chance.expovariate(1 / self.evict_every)
            if now >= self._next[name, count]:
                self._next[name, count] = now + 10.0  # should HTCondor not have heard
                with suppress(PoolError):
                    harm.evict(f"{name[0]}.{name[1]}")

    def _steps(self) -> tuple[int, int]:
        ads = self._ads.values()
        return sum(int(ad.get("ChirpOsgdlStep", 0)) for ad in ads), sum(int(ad.get("ChirpOsgdlSteps", 0)) for ad in ads)

    def _line(self, jobs: Mapping[Name, JobHistory]) -> str:
        evictions = sum(job.evictions for job in jobs.values())
        lost = f", {evictions} evictions" if evictions else ""
        fault = f", {self._done[-1].fault.name}" if self._active else ""
        if len(jobs) == 1:
            (job,) = jobs.values()
            where = f"{job.starts[-1].site or job.starts[-1].machine}" if job.state == "running" else job.state
            return f"{where}{fault}{lost}"
        states = [job.state for job in jobs.values()]
        counts = (f"{states.count(state)} {state}" for state in ("running", "idle", "held", "done") if state in states)
        return f"{' '.join(counts)}{fault}{lost}"


def _then(done: Done, jobs: Mapping[Name, JobHistory], began: float) -> list[str]:
    """What the log of the job says from a fault on, up to where it goes on or ends; at most three things."""
    proc = int(done.job.partition(".")[2] or 0)
    job = next((job for name, job in jobs.items() if name[1] == proc), None)
    return [words for at, words in job.said if at >= int(began + done.at)][:3] if job else []


def _seconds(name: str, text: str) -> float:
    try:
        return units.duration(text)
    except ValueError as error:
        raise KitError(f"--{name} {text!r}: {error}") from None


def run(
    submit_file: Path,
    assignments: list[str],
    *,
    evict_every: str | None,
    faults: list[Fault],
    seed: int,
    limit: str,
    say: Callable[[str], None],
) -> Outcome:
    """A `Tryout`, with the pool started where it is down; times as users write them.

    Raises KitError for what is no submit file, no assignment or no length of time.
    """
    if submit_file.suffix == ".dag":
        raise KitError(
            f"{submit_file}: a workflow; a submit file is wanted. Try its nodes' submit files one by one, "
            "or: osgdl pool exec -- condor_submit_dag"
        )
    if not submit_file.is_file():
        raise KitError(f"{submit_file}: no such file; want a submit file, such as train.sub")
    for word in assignments:
        if "=" not in word:
            raise KitError(wrong("assignment", word, "no value", "NAME=VALUE is wanted", "E.g. data=patients"))
    every = _seconds("evict-every", evict_every) if evict_every else None
    longest = _seconds("limit", limit)
    pool.up(say)
    return Tryout(submit_file.resolve(), assignments, every, faults, seed, longest).run()
