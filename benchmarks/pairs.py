"""Ours and the peers measured side by side: each in a fresh process, in turn, again and again, on the same cores.

A machine's speed drifts, and a process keeps what it warmed up: so no two of a comparison share a process, every round
measures all of them, and each round begins with another one. What counts is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"  # what may be thrown away
SAMPLE = Path(os.environ.get("OSGDL_BRATS2015", ROOT.parent / "shared" / "brats2015"))
THREADS = 2
QUIET = 0.1  # share of the cores that others may keep busy
# PyTorch's threads wait for each other spinning, and where a process that loads data needs a core of them, a step takes
# many times as long; told to sleep instead, it does not
PASSIVE = ("env", "OMP_WAIT_POLICY=passive")


def worker(module: str, *words: object) -> list[str]:
    """The command of `python -m benchmarks.MODULE WORDS`, which prints one JSON object on its last line."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """This process's, with every library held to THREADS threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_CACHE_DIR": str(BUILD / "inductor")}
    return {**os.environ, **dict.fromkeys(names, str(THREADS)), **quiet, **more}


def measure(command: Sequence[str], **more: str) -> dict[str, Any]:
    """Runs one worker; what it found.

    Raises:
        SystemExit: it failed; what it wrote stands above.
    """
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        print(done.stdout[-2000:] + done.stderr[-4000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(command[1:])}: exit code {done.returncode}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def others(seconds: float = 0.5) -> float:
    """The share of the machine's cores that other processes keep busy, 0 to 1, while this one waits."""

    def ticks() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # all; idle and waiting for a disk

    if not Path("/proc/stat").exists():
        return 0.0
    (all_before, idle_before), _ = ticks(), time.sleep(seconds)
    all_after, idle_after = ticks()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def disturbed(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """The largest `others` before any worker of a comparison; to be kept beside its numbers."""
    return round(max(float(one["others"]) for rounds in found.values() for one in rounds), 2)


def alternate(sides: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Every side once a round, in an order that turns by one each round; what each found, round by round."""
    names = list(sides)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            share = others()
            found[name].append({**measure(sides[name]), "others": round(share, 2)})
            if share > QUIET:
                print(f"  not a quiet machine: others keep {share:.0%} of it busy", flush=True)
            print(f"  round {number + 1} of {rounds}  {name:34} {summary(found[name][-1])}", flush=True)
    return found


def medians(found: Mapping[str, Sequence[Mapping[str, Any]]], key: str = "images_per_s") -> dict[str, float]:
    """The median over the rounds of each side's `key`."""
    return {name: statistics.median(float(one[key]) for one in rounds) for name, rounds in found.items()}


def equal(found: Mapping[str, Sequence[Mapping[str, Any]]], key: str = "parameters") -> int:
    """The number that all sides must agree in.

    Raises:
        SystemExit: they do not; the comparison would be unfair.
    """
    numbers = {name: int(rounds[0][key]) for name, rounds in found.items()}
    if len(set(numbers.values())) != 1:
        raise SystemExit(f"not the same network: {key} {numbers}")
    return next(iter(numbers.values()))


def summary(one: Mapping[str, Any]) -> str:
    """One worker's numbers in a line."""
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in one.items()
    )


def network_options(parser: argparse.ArgumentParser) -> None:
    """What both sides of the GPU bench are told."""
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--levels", type=int, required=True)
    parser.add_argument("--normalisation", choices=("instance", "none"), required=True)
    parser.add_argument("--sides", type=int, nargs=2, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
