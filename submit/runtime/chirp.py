"""Publishes attributes of the running job into its own ad, from inside the job (HTCondor's chirp protocol).

The starter writes host, port and a cookie into the file named by `_CONDOR_CHIRP_CONFIG` (HTCondor 25 moved it out of
the scratch directory, so the variable is the only safe way to find it). Delayed updates, the kind used here, need no
`+WantIOProxy`, must have names that begin with `Chirp`, and reach the queue even when the job ends within a second.
Protocol: HTCondor's `chirp_protocol` notes and `src/condor_chirp`.
"""

from __future__ import annotations

import math
import os
import re
import socket
from pathlib import Path
from typing import Union

CONFIG_VARIABLE = "_CONDOR_CHIRP_CONFIG"
TIMEOUT_S = 2.0  # the starter listens on the same machine: one that takes longer is gone
LONGEST_STRING = 500  # characters; a hold reason is one line, and long ads slow the schedd down

_ESCAPED = re.compile(r"([\\ \t\r\n])")

Literal = Union[str, bool, int, float]


def quote(value: Literal) -> str:
    """The ClassAd literal of a value: `say "no"` becomes `"say \\"no\\""`.

    Strings lose control characters and line ends (an attribute is one line) and are cut at `LONGEST_STRING` characters.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'real("{value}")'
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if len(line) > LONGEST_STRING:
        line = line[: LONGEST_STRING - 1] + "…"
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'


def publish(name: str, value: Literal) -> bool:
    """Sets `name` in the job's ad. False outside a job or when the starter does not answer; never raises for either.

    Raises ValueError for a name HTCondor would refuse: delayed updates must begin with `Chirp`.
    """
    if not re.fullmatch(r"Chirp[A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r}: a job may only set attributes that begin with Chirp")
    config = os.environ.get(CONFIG_VARIABLE)
    if not config:
        return False
    try:
        host, port, cookie = Path(config).read_text(encoding="ascii").split()[:3]
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            with connection.makefile("rwb") as wire:
                return _ask(wire, f"cookie {_escape(cookie)}") and _ask(
                    wire, f"set_job_attr_delayed {_escape(name)} {_escape(quote(value))}"
                )
    except (OSError, ValueError):
        return False


def _escape(word: str) -> str:
    return _ESCAPED.sub(r"\\\1", word)


def _ask(wire: object, line: str) -> bool:
    """One request line out, one status line in: 0 or more is success."""
    wire.write(line.encode() + b"\n")  # type: ignore[attr-defined]
    wire.flush()  # type: ignore[attr-defined]
    return int(wire.readline(64)) >= 0  # type: ignore[attr-defined]
