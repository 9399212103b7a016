"""Sizes and lengths of time that users write. Sizes as HTCondor's submit files write them: `10GB` is 10 x 1024 MiB.

HTCondor's suffixes are binary and a bare number changes its unit with the command (MiB for memory, KiB for disk;
condor_submit(1), `request_memory`); an access point may refuse it (`SUBMIT_REQUEST_MISSING_UNITS`). So a size without
a unit is a mistake here. Runs at render time: standard library, Python 3.9.
"""

from __future__ import annotations

import re

_MEBIBYTES = {"M": 1, "G": 1024, "T": 1024 * 1024}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|)", re.ASCII)
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}
_SIZE = re.compile(r"([1-9][0-9]{0,6}) ?([MGT])i?B?", re.IGNORECASE | re.ASCII)


def mebibytes(size: str) -> int:
    """`10GB` -> 10240.

    Raises:
        ValueError: not a whole number above 0 with a unit; the message says what is wrong and what is wanted.
    """
    match = _SIZE.fullmatch(size)
    if not match:
        wrong = "has no unit" if re.fullmatch(r"[0-9]+", size, re.ASCII) else "is not a size"
        raise ValueError(f"{wrong}; want a whole number above 0 and a unit, MB, GB or TB, such as 10GB")
    return int(match.group(1)) * _MEBIBYTES[match.group(2).upper()]


def size(mebibytes: int) -> str:
    """10240 -> `10GB`: the shortest form that is exact."""
    return f"{mebibytes // 1024}GB" if mebibytes % 1024 == 0 else f"{mebibytes}MB"


def duration(text: str) -> float:
    """Seconds of `60s`, `30min`, `1.5h` or `60`. Raises ValueError, which says why, for anything else and for 0."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise ValueError("no length of time; want a number above 0 with s, min or h, such as 60s")
    return seconds


def span(seconds: float) -> str:
    """A length of time for a person: `50 s`, `12.5 min`, `3.25 h`, `1,200 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"
