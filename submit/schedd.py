"""The queue that jobs go to: this access point's, or the local pool's where HTCondor is not here, or with --local."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import pool
from submit.errors import KitError, PoolError, ToolMissing

_TERSE = re.compile(r"^(\d+)\.(\d+) - (\d+)\.(\d+)$", re.MULTILINE)  # condor_submit -terse
_TYPED = re.compile(r"\bcondor_\w+(?= \d)")  # a command about a job, in a sentence
_DAG = re.compile(r"submitted to cluster (\d+)")
LONGEST_WORDS = 400  # characters of HTCondor's own, from their end


@dataclass(frozen=True)
class Submitted:
    """What condor_submit did: the cluster, how many jobs it has, and what it warned of."""

    cluster: int
    jobs: int
    warnings: tuple[str, ...] = ()


def is_local(local: bool) -> bool:
    """Whether the local pool is meant."""
    return local or not shutil.which("condor_submit")


def name(local: bool) -> str:
    """Of the pool, for people and for records."""
    if is_local(local):
        return f"local pool {pool.name()}"
    for setting in ("SCHEDD_NAME", "FULL_HOSTNAME"):
        with suppress(KitError):
            said = run(["condor_config_val", setting], Path.cwd(), local)
            if said.returncode == 0 and said.stdout.strip():
                return said.stdout.strip()
    return ""


def in_local_pool(words: str) -> str:
    """What to type about a job, in front of each command that the local pool's queue is to get."""
    return _TYPED.sub(r"osgdl pool exec -- \g<0>", words)


def run(command: Sequence[str], cwd: Path, local: bool, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs one of HTCondor's commands where the queue is, and captures what it prints.

    Raises:
        ToolMissing: it is not installed here, and the local pool is down.
        PoolError: no answer in `timeout` seconds.
    """
    try:
        if not is_local(local):
            return subprocess.run(
                command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=timeout,
            )  # fmt: skip
        if pool.init_pid() is None:
            raise ToolMissing(
                f"{command[0]}: not here, and the local pool is down; want one of them. Start it: `osgdl pool up`."
            )
        return pool.run(command, cwd=cwd.resolve(), timeout=timeout)
    except FileNotFoundError:
        raise ToolMissing(
            f"{command[0]}: not here, though condor_submit is; want all of HTCondor's. Install it"
        ) from None
    except subprocess.TimeoutExpired:
        raise PoolError(
            f"{command[0]}: no answer in {timeout:g} s; want one. Try again: the access point is busy"
        ) from None


def ads(command: Sequence[str], local: bool, timeout: float) -> list[dict[str, Any]] | None:
    """What condor_q or condor_history answers with -json; None where neither is here, or no answer comes."""
    try:
        done = run(command, Path("/"), local, timeout)
        answer = json.loads(done.stdout or "[]") if done.returncode == 0 else None
    except (KitError, OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, list) and all(isinstance(ad, dict) for ad in answer) else None


def submit(file: Path, words: Sequence[str], local: bool) -> Submitted:
    """condor_submit, or condor_submit_dag for a .dag, in the file's folder.

    Raises:
        KitError: HTCondor refuses the file, with its own words.
    """
    dag = file.suffix == ".dag"
    command = ["condor_submit_dag", *words, file.name] if dag else ["condor_submit", "-terse", *words, file.name]
    done = run(command, file.parent, local)
    match = (_DAG if dag else _TERSE).search(done.stdout)
    if done.returncode or not match:
        said = " ".join((done.stderr + done.stdout).split())
        raise KitError(f"{file}: {command[0]} refused it: {said[-LONGEST_WORDS:]}")
    if dag:
        return Submitted(int(match[1]), 1)
    warnings = tuple(line.strip() for line in done.stderr.splitlines() if line.strip())
    return Submitted(int(match[1]), int(match[4]) - int(match[2]) + 1, warnings)
