"""`osgdl stage plan` for people: what travels, what a job's time goes to, and what to change."""

from __future__ import annotations

import json
import math
import re

from submit.errors import StageError, wrong
from submit.origin import bytes_words
from submit.stage_plan import HALF, Plan, Row, span

_SECONDS = {"s": 1, "min": 60, "h": 3600}
_FACTORS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
_TIME = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(s|min|h)", re.ASCII)
_SPEED = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(kB|MB|GB)/s", re.ASCII)


def seconds(option: str, text: str) -> float:
    """`10min` -> 600.

    Raises:
        StageError: no time above 0.
    """
    return _number(option, text, _TIME, _SECONDS, "a time", "a number above 0 with s, min or h", "1.5h")


def speed(text: str) -> float:
    """`25MB/s` in bytes a second.

    Raises:
        StageError: no speed above 0.
    """
    return _number("--speed", text, _SPEED, _FACTORS, "a speed", "a number above 0 with kB/s, MB/s or GB/s", "25MB/s")


def _number(
    option: str, text: str, form: re.Pattern[str], units: dict[str, float] | dict[str, int], what: str, wanted: str,
    example: str,
) -> float:  # fmt: skip
    match = form.fullmatch(text.strip())
    value = float(match[1]) * units[match[2]] if match else 0.0
    if not value:
        raise StageError(wrong(option, text, f"not {what}", f"{wanted} is wanted", f"E.g. {option} {example}"))
    return value


def as_json(planned: Plan) -> str:
    """Bytes, seconds, and shares from 0 to 1."""
    return json.dumps(planned.as_dict(), indent=1)


def text(planned: Plan) -> str:
    """A line for each number, the shares, and the advice."""
    load, value = planned.load, planned.as_dict()
    count, largest = len(load.shards), bytes_words(max(load.shards))
    mean = bytes_words(round(sum(load.shards) / count))
    way = "from the OSDF" if load.route == "osdf" else "by HTCondor, from the access point"
    part = "" if load.share == 1 else f", {load.share:.0%} of them for a job"
    image = f" and {bytes_words(load.image_bytes)} of image" if load.image_bytes else ""
    per_job, all_jobs = bytes_words(value["bytes_per_job"]), bytes_words(value["bytes_of_all_jobs"])
    data = bytes_words(load.start_bytes - load.image_bytes)
    lines = [
        f"shards     {count} of {mean} on average, {largest} at most; {bytes_words(sum(load.shards))} in all{part}",
        f"each start {data} of data{image}, {way}",
        f"each job   {per_job} in {load.starts:g} starts: each on another machine fetches everything again "
        f"({load.sources.get('starts', 'as given')})",
        f"{f'{load.jobs} jobs':<10} {all_jobs}",
        f"speed      {bytes_words(round(load.speed))}/s for a job ({load.sources.get('speed', 'as given')})",
        "beside it  "
        + ", ".join(f"{name} {span(one)}" for name, one in load.seconds.items())
        + " (all starts; what they take but the transfer is assumed)",
        f"compute    {planned.compute_source}",
    ]
    for row in planned.rows:
        lines += ["", *_row(row)]
    lines += ["", *(f"policy: {line}" for line in planned.advice)] if planned.advice else []
    return "\n".join(lines)


def _row(row: Row) -> list[str]:
    transfer = span(row.slot_s - row.compute_s)
    share = math.floor(100 * row.useful)  # 49.9 % is under one half
    lines = [
        f"{span(row.compute_s)} of computing and {transfer} beside it: {share} % of the slot's time is useful work"
    ]
    if row.useful < HALF:
        lines.append("under one half. What to change, each alone, the most effective first:")
        lines += [f"  {math.floor(100 * one.useful):>3} %  {one.what}" for one in row.changes]
    return lines
