"""Photons a second on two cores: the kernel on PoCL, against C++ and OpenMP computing the same photons.

    make bench BENCH=photons         python -m benchmarks.photons [--rounds N] [--seconds S]

The peer is photons_openmp.cpp, the same loop by hand, built with -O3 -march=native -fopenmp. Both compute the same
photons of a cascade in layered ice in single precision; that they do is checked by what becomes of the first batch.
What is counted: from a batch's beginning to its hits in the host's memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pairs import BUILD, ROOT, alternate, disturbed, medians, worker
from benchmarks.results import Result, report

COMMAND = "make bench BENCH=photons"
GOAL = 0.8
PHOTONS = 100_000  # of a batch
SEED = 1
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp")
# rounding sends one photon in many another way; a loop that does less would show
AGREE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--side", choices=("kernel",), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(kernel(options.seconds)))
        return
    compiler = shutil.which("g++")
    if not compiler:
        raise SystemExit("g++: not found; the peer is C++: apt-get install g++")
    folder = BUILD / "photons"
    folder.mkdir(parents=True, exist_ok=True)
    peer = build(compiler, folder)
    sides = {
        "kernel on PoCL": worker("photons", "--side", "kernel", "--seconds", options.seconds),
        "C++ and OpenMP": [str(peer), str(folder / "tables"), str(PHOTONS), str(SEED), str(options.seconds)],
    }
    found = alternate(sides, options.rounds)
    same(*(rounds[0] for rounds in found.values()))
    speed = medians(found, "photons_per_s")
    ours, other = speed.values()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    details = {
        "rounds": [
            {name: round(float(one["photons_per_s"])) for name, one in zip(sides, pair, strict=True)}
            for pair in zip(*found.values(), strict=True)
        ],
        "others": disturbed(found),
        "device": found["kernel on PoCL"][0]["device"],
        "compiler": f"{version} {' '.join(FLAGS)}",
    }
    report(Result("photons: C++ and OpenMP", ours, other, ours / other, GOAL, "photons/s", COMMAND, details))


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Both did the same work.

    Raises:
        SystemExit: they did not; the comparison would be unfair.
    """
    for name in ("absorbed", "scatters", "hits"):
        if abs(one[name] - other[name]) > AGREE * max(one[name], 1) + 4 * max(one[name], 1) ** 0.5 * (name == "hits"):
            raise SystemExit(f"not the same photons: {one[name]} and {other[name]} {name}")


def setting() -> Any:
    """A cascade above the dust layer, in a small array."""
    from photon_propagation import settings, world

    return world.build(settings.load(None, ["source.kind=cascade", "source.zenith_deg=130", f"run.seed={SEED}"]))


def kernel(seconds: float) -> dict[str, Any]:
    """The kernel on PoCL; the first batch warms up."""
    from photon_propagation import opencl

    device, described = opencl.choose("cpu")
    propagator = opencl.Propagator(setting(), device)
    first = propagator.batch(0, PHOTONS)
    batches, took = 0, 0.0
    while took < seconds:
        batches += 1
        began = time.perf_counter()
        propagator.batch(batches * PHOTONS, PHOTONS)
        took += time.perf_counter() - began
    counts = {name: first.counts[name] for name in ("absorbed", "escaped", "scatters")}
    rate = batches * PHOTONS / took
    return {"photons_per_s": rate, "batches": batches, **counts, "hits": len(first.hits), "device": described}


def build(compiler: str, folder: Path) -> Path:
    """The peer, with the constants and the tables of the same world."""
    from photon_propagation import opencl

    here = setting()
    (folder / "numbers.h").write_text(opencl.header(here.numbers()))
    four = [np.pad(table, ((0, 0), (0, 1))).astype(np.float32).ravel() for table in (here.ice.layers, here.detectors)]
    tables = [table.astype(np.float32) for table in (here.wavelengths, here.profile, here.acceptance)]
    arrays = [four[0], *tables, here.grid.begins, here.grid.members, four[1]]
    with (folder / "tables").open("wb") as file:
        for array in arrays:
            file.write(np.uint64(len(array)).tobytes() + array.tobytes())
    code, peer = ROOT / "benchmarks" / "photons_openmp.cpp", folder / "peer"
    defines = f'-DDEFINES="{folder / "numbers.h"}"'
    done = subprocess.run([compiler, *FLAGS, defines, str(code), "-o", str(peer)], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        raise SystemExit(f"{code.name}: does not compile")
    return peer


if __name__ == "__main__":
    main()
