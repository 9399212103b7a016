"""What HTCondor knows of jobs beside their event logs: ads from the queue and the history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from submit import schedd
from submit.errors import KitError

Name = tuple[int, int]  # cluster, process
AT_ONCE = 500  # clusters a command: a command line has its limits
ASK_S = 60  # a slow access point is not waited for


def read(file: Path) -> dict[Name, Mapping[str, Any]]:
    """What `condor_history -json` or `condor_q -json` printed into a file.

    Raises:
        KitError: it is not there, or no such list.
    """
    try:
        return _named(json.loads(file.read_text(encoding="utf-8", errors="replace") or "[]"))
    except OSError as fault:
        raise KitError(f"{file}: {fault.strerror}; want what condor_history -json printed") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KitError(f"{file}: no list of job ads; want what condor_history -json printed") from None


def ask(clusters: Iterable[int], attributes: Iterable[str], since: int, local: bool) -> dict[Name, Mapping[str, Any]]:
    """The ads of these clusters' jobs, from the history and the queue, of this access point or (`local`, or where there
    is no HTCondor) of the local pool; empty where neither answers.

    Args:
        since: the first of them was submitted then, in seconds since the epoch; the history, which on an access point
            has millions of jobs, is not read further back.
    """
    wanted = ",".join(sorted({"ClusterId", "ProcId", *attributes}))
    names = sorted(set(clusters))
    found: dict[Name, Mapping[str, Any]] = {}
    for first in range(0, len(names), AT_ONCE):
        some = [str(name) for name in names[first : first + AT_ONCE]]
        commands = (["condor_history", "-since", f"EnteredCurrentStatus < {since}"], ["condor_q"])
        told = [schedd.ads([*command, *some, "-json", "-attributes", wanted], local, ASK_S) for command in commands]
        for said in told:
            with suppress(ValueError, KeyError, TypeError):
                found.update(_named(said or []))
        if told == [None, None]:
            break
    return found


def _named(ads: Any) -> dict[Name, Mapping[str, Any]]:
    return {(int(ad["ClusterId"]), int(ad["ProcId"])): ad for ad in ads}
