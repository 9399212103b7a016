"""Photons a second on two cores: the kernel on PoCL, against C++ and OpenMP computing the same photons.

    make bench BENCH=photons         python -m benchmarks.photons [--rounds N] [--seconds S]

The peer is photons_openmp.cpp, the same loop by hand, built with -O3 -march=native -fopenmp. Both compute the same
photons of a cascade in layered ice in single precision; that they do is checked by what becomes of the first batch.
What is counted: from a batch's beginning to its hits in the host's memory.

Where OpenCL shows a GPU, a second row compares it with the CPU, the same photons again; its details hold the share of
what the arithmetic allows: all of the GPU's lanes at its highest clock, one of the operations below in each cycle.
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
ON_GPU = "photons by OpenCL on a GPU, photons/s: two cores of the CPU"
GPU_GOAL = 1.0
GPU_PHOTONS = 10_000_000  # of a batch: some seconds
# Instructions of kernel.cl from one scatter to the next, counted by hand, a multiply-add as one and a division as 8;
# looks at sensors are not counted: Philox 100, four numbers of it 16, the way through one layer 45, cells 45, the new
# direction 65
OPERATIONS = 271
# Lanes of a multiprocessor for 32-bit arithmetic by compute capability (CUDA C++ Programming Guide, arithmetic
# instructions); the newest below counts
LANES = {5.0: 128, 6.0: 64, 6.1: 128, 7.0: 64, 8.0: 64, 8.6: 128}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--side", choices=("cpu", "gpu"), help=argparse.SUPPRESS)
    parser.add_argument("--photons", type=int, default=PHOTONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(kernel(options.side, options.photons, options.seconds)))
        return
    against_peer(options.rounds, options.seconds)
    report(on_gpu(options.rounds, options.seconds) if has_gpu() else missing())


def against_peer(rounds: int, seconds: float) -> None:
    compiler = shutil.which("g++")
    if not compiler:
        raise SystemExit("g++: not found; the peer is C++: apt-get install g++")
    folder = BUILD / "photons"
    folder.mkdir(parents=True, exist_ok=True)
    peer = build(compiler, folder)
    sides = {
        "kernel on PoCL": worker("photons", "--side", "cpu", "--seconds", seconds),
        "C++ and OpenMP": [str(peer), str(folder / "tables"), str(PHOTONS), str(SEED), str(seconds)],
    }
    found = alternate(sides, rounds)
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


def has_gpu() -> bool:
    """Whether OpenCL shows one."""
    import pyopencl

    platforms = pyopencl.get_platforms()
    return any(device.type & pyopencl.device_type.GPU for one in platforms for device in one.get_devices())


def missing() -> Result:
    """The row of what could not be measured."""
    return Result(ON_GPU, None, None, None, GPU_GOAL, "photons/s", COMMAND, {"note": "not measured: no GPU"})


def on_gpu(rounds: int, seconds: float) -> Result:
    """The GPU beside the CPU, in turns."""
    words = {"gpu": ("--photons", GPU_PHOTONS), "cpu": ()}
    sides = {name: worker("photons", "--side", name, *more, "--seconds", seconds) for name, more in words.items()}
    found = alternate(sides, rounds)
    ours, other = medians(found, "photons_per_s").values()
    first = found["gpu"][0]
    most = first["lanes_hz"] / (first["scatters"] / GPU_PHOTONS * OPERATIONS)
    details = {
        "device": first["device"],
        "scatters_per_photon": round(first["scatters"] / GPU_PHOTONS, 1),
        "operations_per_scatter": OPERATIONS,
        "share_of_arithmetic": round(ours / most, 3) if most else None,
        "others": disturbed(found),
    }
    return Result(ON_GPU, ours, other, ours / other, GPU_GOAL, "photons/s", COMMAND, details)


def lanes_hz(device: Any) -> float:
    """Instructions a second, at most, of an NVIDIA GPU; 0 for others, whose lanes OpenCL does not say."""
    try:
        capability = device.compute_capability_major_nv + device.compute_capability_minor_nv / 10
    except Exception:  # pyopencl has several for what a device does not know
        return 0.0
    lanes = LANES[max((known for known in LANES if known <= capability), default=5.0)]
    return float(device.max_compute_units * lanes * device.max_clock_frequency * 1e6)


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


def kernel(name: str, photons: int, seconds: float) -> dict[str, Any]:
    """The kernel on the CPU or a GPU, in batches of so many photons; the first batch warms up."""
    from photon_propagation import opencl

    device, described = opencl.choose(name)
    propagator = opencl.Propagator(setting(), device)
    first = propagator.batch(0, photons)
    batches, took = 0, 0.0
    while took < seconds:
        batches += 1
        began = time.perf_counter()
        propagator.batch(batches * photons, photons)
        took += time.perf_counter() - began
    counts = {name: first.counts[name] for name in ("absorbed", "escaped", "scatters")}
    rate = batches * photons / took
    told = {"hits": len(first.hits), "device": described, "lanes_hz": lanes_hz(device)}
    return {"photons_per_s": rate, "batches": batches, **counts, **told}


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
