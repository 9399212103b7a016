"""Explains jobs that failed: what happened, whose fault it is, whether waiting helps, what mends it.

    for told in explain.jobs(["12.0"], Path()):
        print(told.cause.what)

From the event logs, the jobs' stderr, and, for a few jobs, their ads, where a queue or a history is at hand.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from submit import explain_job, explain_log, explain_stderr, schedd
from submit.description import Description
from submit.errors import KitError
from submit.explain_job import Told
from submit.explain_stderr import Explanation
from submit.explain_waiting import IDLE_LONG_S
from submit.job_history import JobHistory, Name
from submit.jobs import DAGMAN_LOG, Jobs, is_event_log

_JOB = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))?")
_MACRO = re.compile(r"\$\((\w+)(?::[^()]*)?\)")
DESCRIPTIONS = (".sub", ".dag")  # what jobs are made from
MOST_ADS = 50  # jobs that the queue is asked about, in one call: an access point is shared
ASK_S = 20.0  # seconds for its answer
ATTRIBUTES = (
    "ClusterId,ProcId,UserLog,JobStatus,HoldReason,HoldReasonCode,HoldReasonSubCode,ChirpOsgdlReason,Err,Iwd,"
    "LastRejMatchReason"
)


def stderr_of(targets: Sequence[str]) -> Explanation | None:
    """The explanation of an error file alone, where that is what was named."""
    if len(targets) == 1 and not _JOB.fullmatch(targets[0]):
        path = Path(targets[0])
        if path.is_file() and path.suffix not in DESCRIPTIONS and (path.suffix == ".err" or not is_event_log(path)):
            return explain_stderr.read(path)
    return None


def jobs(
    targets: Sequence[str], here: Path, *, now: float | None = None, ask: bool = True, local: bool = False
) -> list[Told]:
    """The jobs that these words name, explained, oldest first.

    Args:
        targets: CLUSTER or CLUSTER.PROCESS, folders, event logs; a submit file or a workflow stands for its folder;
            none: the folder `here`. Jobs named by their numbers are told whatever their state, those of a folder or log
            only where they failed, are held or are idle for long.
        ask: the queue and the history too, where there are no more jobs than MOST_ADS.
        local: those of the local pool, though HTCondor is installed here.

    Raises:
        KitError: a place is not there, or no log has a job of that number.
    """
    moment = time.time() if now is None else now
    wanted = [match for target in targets if (match := _JOB.fullmatch(target)) and not Path(target).exists()]
    named = [Path(target) for target in targets if not _JOB.fullmatch(target) or Path(target).exists()]
    places = [path.parent if path.suffix in DESCRIPTIONS and path.is_file() else path for path in named]
    known = Jobs(places or [here])
    known.refresh()
    everyone = {**known.histories, **known.managers}
    if not everyone:
        raise KitError(
            f"{', '.join(str(place) for place in places or [here.resolve()])}: no job in its event logs; want one that "
            "was submitted (osgdl submit train.sub). Name its project's folder, or its log"
        )
    if wanted:
        names = sorted({name for match in wanted for name in _named(match, everyone, places or [here])})
    else:
        names = sorted(name for name, job in known.histories.items() if _told_of(job, moment))
        names += [name for name in known.stopped() if not names or everyone[name].state == "held"]
    ads = _ads(names, known.logs, local) if ask and len(names) <= MOST_ADS else {}
    told = _explained(names, known, moment, ads)
    if not schedd.is_local(local):
        return told
    known_there = {f"{cluster}.{proc}" for cluster, proc in ads}  # not the logs of jobs that ran elsewhere
    return [_in_local_pool(one) if one.job in known_there else one for one in told]


def _in_local_pool(told: Told) -> Told:
    return replace(told, cause=replace(told.cause, mend=schedd.in_local_pool(told.cause.mend)))


def _named(match: re.Match[str], known: Iterable[Name], places: Sequence[Path]) -> list[Name]:
    cluster, proc = int(match[1]), match[2]
    names = [name for name in known if name[0] == cluster and (proc is None or name[1] == int(proc))]
    if not names:
        clusters = sorted({name[0] for name in known})
        there = f"jobs of {clusters[0]} to {clusters[-1]} are there"
        where = ", ".join(str(place.resolve()) for place in places)
        raise KitError(
            f"{match[0]}: no event log of {where} has this job; {there}. Name its project's folder: osgdl explain "
            f"{match[0]} FOLDER"
        )
    return names


def _told_of(job: JobHistory, now: float) -> bool:
    if job.state == "idle":
        return now - (job.said[-1][0] if job.said else job.submitted) > IDLE_LONG_S
    if job.state == "done":
        return job.exit_code != 0
    return job.state in ("held", "removed")


def _explained(names: Sequence[Name], known: Jobs, now: float, ads: Mapping[Name, Mapping[str, Any]]) -> list[Told]:
    logs: dict[Path, list[Name]] = {}
    for name in names:
        logs.setdefault(known.logs[name], []).append(name)
    found: dict[Name, Told] = {}
    for log, those in logs.items():
        evidence = explain_log.read(log, those)
        patterns = _error_files(log)
        for name in those:
            ad = ads.get(name, {})
            err = _stderr(log, name, patterns, ad)
            found[name] = explain_job.told(
                known.histories.get(name) or known.managers[name],
                evidence[name],
                stderr=_read(err) if err else None,
                now=now,
                ad=ad,
                err=_short(err) if err else "",
                log=_short(log),
            )
            if name in known.managers:
                found[name] = explain_job.of_workflow(found[name], log.name.removesuffix(DAGMAN_LOG))
    return [found[name] for name in names]


def _read(err: Path) -> str | None:
    with suppress(OSError), err.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - explain_stderr.MOST_BYTES))
        return file.read().decode(errors="replace")
    return None


def _short(path: Path) -> str:
    with suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    return str(path)


# ---- where the error file lies


def _error_files(log: Path) -> list[tuple[Path, str]]:
    """`error` of the submit files whose `log` may be this one, with the folder that it is below."""
    found = []
    for folder in dict.fromkeys((log.parent, log.parent.parent)):
        for file in sorted(folder.glob("*.sub")):
            with suppress(KitError):
                written = Description.read(file)
                if error := written.get("error"):
                    found.append((folder, os.path.join(written.get("initialdir") or "", error)))  # noqa: PTH118 - macros
    return found


def _stderr(log: Path, name: Name, patterns: Iterable[tuple[Path, str]], ad: Mapping[str, Any]) -> Path | None:
    """The job's error file; None where none is there. Two jobs never share one: the name must hold the cluster."""
    cluster, proc = name
    candidates = []
    if ad.get("Err"):
        candidates.append(Path(str(ad.get("Iwd", ""))) / str(ad["Err"]))
    for folder, error in patterns:
        values = {"cluster": cluster, "clusterid": cluster, "process": proc, "procid": proc}
        path = _MACRO.sub(lambda match: str(values.get(match[1].lower(), match[0])), error)  # noqa: B023 - used at once
        if "$" not in path and str(cluster) in path:
            candidates.append(folder / path)
    candidates += [log.with_name(f"{cluster}.{proc}.err"), log.with_suffix(".err")]
    return next((path for path in candidates if path.is_file()), None)


# ---- ads


def _ads(names: Sequence[Name], logs: Mapping[Name, Path], local: bool) -> dict[Name, dict[str, Any]]:
    """Of these jobs, as far as a queue knows them whose job of that number has the same log; none without HTCondor."""
    found: dict[Name, dict[str, Any]] = {}
    for command in ("condor_q", "condor_history"):
        missing = [name for name in names if name not in found]
        if not missing:
            break
        limit = ["-limit", str(len(missing))] if command == "condor_history" else []
        words = [*(f"{cluster}.{proc}" for cluster, proc in missing), *limit, "-json", "-attributes", ATTRIBUTES]
        for ad in schedd.ads([command, *words], local, ASK_S) or []:
            with suppress(KeyError, TypeError, ValueError):
                name = (int(ad["ClusterId"]), int(ad["ProcId"]))
                if name in logs and Path(str(ad["UserLog"])).resolve() == logs[name].resolve():
                    found[name] = ad
    return found
