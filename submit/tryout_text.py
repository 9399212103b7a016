"""What a try came to: for a person, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from submit.slot_time import MEANING, SlotTime, total
from submit.tryout_outcome import Outcome

LONGEST_STORY = 40  # lines
UNKNOWN = "the job publishes no ChirpOsgdlUseful (submit.runtime.work does): all that came home counts as useful"


def as_json(outcome: Outcome) -> str:
    """`as_dict` as text."""
    return json.dumps(as_dict(outcome), indent=2)


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The report as JSON values; None: unknown."""
    parts = outcome.parts
    whole = total(parts.values())
    return {
        "cluster": outcome.cluster,
        "exit_code": outcome.exit_code,
        "state": outcome.state,
        "hold_reason": outcome.hold_reason or None,
        "reason": reason(outcome) or None,
        "evictions": whole.evictions,
        "goodput": _rounded(whole.goodput),
        "measured": whole.measured,
        "optimum": _rounded(whole.optimum),
        "between_evictions_s": _rounded(whole.between_evictions),
        "leave_s": _rounded(whole.leave_s),
        "start_s": _rounded(whole.start_s),
        "slot_s": whole.slots,
        "held_s": whole.held,
        "seconds": _seconds(whole),
        "lost": {cause: round(value, 1) for cause, value in whole.lost.items()},
        "starts": [
            {
                "job": f"{cluster}.{proc}",
                "site": start.site,
                "machine": start.machine,
                "gpu": start.gpu,
                "seconds": start.seconds,
                "ended_by": start.why,
            }
            for (cluster, proc), job in outcome.jobs.items()
            for start in job.starts
        ],
        "faults": [
            {"name": done.fault.name, "job": done.job, "site": done.site, "at_s": _rounded(done.at), "then": done.then}
            for done in outcome.faults
        ],
        "faults_not_reached": [fault.name for fault in outcome.not_reached],
        "jobs": [
            {"job": f"{name[0]}.{name[1]}", "state": job.state, "exit_code": job.exit_code, **_costs(parts[name])}
            for name, job in outcome.jobs.items()
        ],
    }


def _costs(part: SlotTime) -> dict[str, Any]:
    return {"evictions": part.evictions, "goodput": _rounded(part.goodput), "seconds": _seconds(part)}


def _seconds(part: SlotTime) -> dict[str, float]:
    return {name: round(value, 1) for name, value in {"queued": part.queued, **part.seconds}.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def reason(outcome: Outcome) -> str:
    """Why the try is not fine; empty where it is."""
    if outcome.why:
        return f"{outcome.why}; the jobs are removed"
    if outcome.hold_reason:
        return f"held: {outcome.hold_reason}"
    for (cluster, proc), job in outcome.jobs.items():
        if job.exit_code != 0:
            how = f"signal {job.signal}" if job.signal is not None else f"exit code {job.exit_code}"
            return f"job {cluster}.{proc}: {job.state}, {how}"
    if outcome.not_reached:
        return f"no moment came for: {', '.join(fault.name for fault in outcome.not_reached)}"
    return ""


def text(outcome: Outcome) -> str:
    """What happened, then the seconds by category."""
    parts = outcome.parts
    whole = total(parts.values())
    many = len(parts) > 1
    lines = [*_story(outcome, many), ""]
    for done in outcome.faults:
        where = f" at {done.site}" if done.site else ""
        lines.append(
            f"{done.fault.name}{where}: {done.fault.what}. Then: {'; '.join(done.then) or 'nothing in the log'}"
        )
    lines += [""] if outcome.faults else []
    sites = {start.site or start.machine for job in outcome.jobs.values() for start in job.starts}
    starts = sum(len(job.starts) for job in outcome.jobs.values())
    lines.append(
        f"{len(parts)} {'jobs' if many else 'job'}, {starts} starts at {len(sites)} sites, {whole.evictions} evictions"
    )
    seconds = {"queued": whole.queued, "held": whole.held, **whole.seconds}
    lines += [_row(name, value) for name, value in seconds.items() if value or name not in ("held", "running")]
    lines += [f"    {value:>8,.1f} s   {cause}" for cause, value in whole.lost.items()]
    lines += _verdict(whole)
    if problem := reason(outcome):
        lines.append(f"not fine: {problem}")
    if outcome.state == "held":
        lines.append(f"still in the queue: osgdl pool exec -- condor_rm {outcome.cluster}")
    return "\n".join(lines)


def _row(name: str, seconds: float) -> str:
    return f"  {name:<10}{seconds:>10,.1f} s   {MEANING[name]}"


def _verdict(whole: SlotTime) -> list[str]:
    if whole.goodput is None:
        return []
    lines = [f"goodput: {whole.goodput:.1%} of {whole.slots:,.0f} s of machines is work in the result"]
    if not whole.measured:
        return [*lines, UNKNOWN]
    if whole.optimum is not None:
        lines.append(
            f"the best that can be, with a loss every {whole.between_evictions:.0f} s, {whole.leave_s:.1f} s to leave, "
            f"{whole.start_s:.1f} s to start: {whole.optimum:.1%}, leaving after every {whole.interval:.0f} s of work "
            "(Young, Daly)"
        )
    elif whole.evictions and whole.leave_s is None:
        lines.append("what leaving costs is unknown, for the job never left with 85: no best to compare with")
    return lines


def _story(outcome: Outcome, many: bool) -> list[str]:
    began = min((job.submitted for job in outcome.jobs.values()), default=0)
    told = sorted(
        (
            (at - began, f"{name[0]}.{name[1]} " if many else "", words)
            for name, job in outcome.jobs.items()
            for at, words in job.said
        ),
        key=lambda row: row[0],
    )
    lines = [f"{at:>6} s  {who}{' '.join(words.split())[:150]}" for at, who, words in told]
    if len(lines) > LONGEST_STORY:
        half = LONGEST_STORY // 2
        lines = [*lines[:half], f"          ... {len(lines) - 2 * half} more", *lines[-half:]]
    return lines
