"""Checks of the GPUs: are they there, are they what was asked for, do they compute rightly.

The driver is asked by another process (`probe`), because a broken one hangs or crashes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from submit.runtime import visible
from submit.runtime.findings import Finding, found
from submit.runtime.request import Request

DEVICES_VARIABLE = "OSGDL_DEV"  # for tests alone: a folder in the place of /dev
DEVICE_FILES = ("nvidia[0-9]*", "dxg")  # dxg: the Windows subsystem for Linux
TIME_LIMIT_S = 20.0  # a busy GPU takes seconds for a context and for compiling PTX; a sick one takes for ever
KILL_S = 2.0  # a process in an uninterruptible call cannot be killed: it is left behind
# A context takes 200 to 500 MB of a GPU's memory itself
FREE_SHARE = 0.9
NO_REQUEST_SHARE = 0.5  # of the memory, where the job named no bound


@dataclass
class Probed:
    """What the process that asked the driver said."""

    driver: dict[str, Any] = field(default_factory=dict)
    devices: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[int, int] = field(default_factory=dict)  # device to free MiB
    wrong: dict[int, str] = field(default_factory=dict)  # device to what was wrong with its answers, or ""
    photon_ns: dict[int, float] = field(default_factory=dict)  # device to its time for a photon, of OpenCL
    errors: list[dict[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # a stage
    stage: str = "start"
    ended: bool = False
    died: str = ""  # of which signal or with which code
    hung: bool = False


def files() -> list[str]:
    """The device files of GPUs in this container."""
    folder = Path(os.environ.get(DEVICES_VARIABLE) or "/dev")
    return sorted(str(path) for pattern in DEVICE_FILES for path in folder.glob(pattern))


def check_files(assigned: Sequence[str]) -> Iterator[Finding]:
    """Is there a device file at all?"""
    if not files():
        slices = [name for name in assigned if name.upper().startswith("MIG-")]
        yield found("no-nv-mig" if slices else "no-device-files", "no device file of a GPU in the container")


def ask(with_answer: bool, time_limit_s: float = TIME_LIMIT_S, module: str = "probe", *words: str) -> Probed:
    """Runs `probe`, or what else speaks to a driver so, with these words; whatever the driver does to it, this returns
    within the time limit and two seconds.
    """
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # the compiled code of two tiny kernels is not worth a cache in the job's folder
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_CACHE_DISABLE": "1"}
    told = [] if with_answer else ["--no-known-answer"]
    command = [sys.executable, "-m", f"submit.runtime.{module}", *words, *told]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    lines: list[bytes] = []
    reader = threading.Thread(target=_collect, args=(process.stdout, lines), daemon=True)
    reader.start()
    reader.join(time_limit_s)
    hung = reader.is_alive()
    if hung:
        process.kill()
    code: Optional[int] = None
    try:
        code = process.wait(KILL_S)
        reader.join(KILL_S)
    except subprocess.TimeoutExpired:
        pass
    probed = _read([line.decode(errors="replace") for line in list(lines)])
    probed.hung = hung
    if not hung and code:
        probed.died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return probed


def _collect(stream: Any, lines: list[bytes]) -> None:
    with stream:
        lines.extend(stream)


def judge(probed: Probed, request: Request, assigned: Sequence[str]) -> Iterator[Finding]:
    """What the answers mean, the most telling first: what the driver itself refused, then facts against the request,
    then how the process ended, then the known answer.
    """
    seen = visible.parse(os.environ.get(visible.VARIABLE))
    count = int(probed.driver.get("count", 0))
    for error in probed.errors:
        if error["row"] == "no-device" and seen.kind == visible.UUIDS:
            yield found("visible-absent", f"{', '.join(seen.names)}: {error['held']}")
        else:
            yield found(error["row"], error["held"])
    if probed.driver and count < request.gpus:
        if seen.kind == visible.UUIDS and not count:
            yield found("visible-absent", ", ".join(seen.names))
        else:
            yield found(
                "too-few-devices" if count else "no-device", f"{count} visible", f"{request.gpus} (request_gpus)"
            )
    if probed.driver and probed.driver["runtime"] < request.min_runtime:
        held, wanted = _version(probed.driver["runtime"]), _version(request.min_runtime)
        yield found("driver-below", f"CUDA {held}", f"{wanted} or newer (gpus_minimum_runtime)")
    for device in probed.devices:
        yield from _device(device, probed.memory.get(device["index"]), request, assigned)
    yield from ended(probed)
    for index, wrong in sorted(probed.wrong.items()):
        if wrong:
            yield found("wrong-answer", f"GPU {index}: {wrong}")


def ended(probed: Probed) -> Iterator[Finding]:
    """What it means that the process hung or died."""
    answering = probed.stage == "answer"
    if probed.hung:
        yield found("answer-hung" if answering else "driver-hung", f"no answer from {_named(probed.stage)} in time")
    elif probed.died or not (probed.ended or probed.errors):
        died = probed.died or "an early end"
        yield found("answer-crashed" if answering else "driver-crashed", f"{died} in {_named(probed.stage)}")


def _device(
    device: dict[str, Any], free_mb: Optional[int], request: Request, assigned: Sequence[str]
) -> Iterator[Finding]:
    name, total = device["name"], device["memory_mb"]
    uuids = [given for given in assigned if given.upper().startswith(("GPU-", "MIG-")) and "/" not in given]
    if device["uuid"] and uuids and not any(visible.same(f"GPU-{device['uuid']}", given) for given in uuids):
        yield found(
            "visible-not-assigned", f"{name} GPU-{device['uuid']}", f"{', '.join(uuids)}, which HTCondor assigned"
        )
    # rounded: 8.6 is 8 + 6 / 10 here and a decimal in the ad
    if round(device["capability"], 1) < round(request.min_capability, 1):
        yield found(
            "capability-below", f"{name} has {device['capability']:.1f}", f"{request.min_capability:.1f} or more"
        )
    if round(device["capability"], 1) > round(request.max_capability, 1):
        yield found(
            "capability-above", f"{name} has {device['capability']:.1f}", f"{request.max_capability:.1f} or less"
        )
    if total < int(request.min_memory_mb):
        yield found("memory-below", f"{name} has {total} MiB", f"{request.min_memory_mb:.0f} MiB (gpus_minimum_memory)")
    elif free_mb is not None and free_mb < FREE_SHARE * total:
        enough = FREE_SHARE * request.min_memory_mb if request.min_memory_mb else NO_REQUEST_SHARE * total
        yield found(
            "memory-shared" if free_mb >= enough else "memory-taken", f"{free_mb} of {total} MiB free on {name}"
        )
    if device.get("ecc_errors"):
        yield found("ecc-counted", f"{device['ecc_errors']} uncorrectable errors on {name}")
    if device.get("slow"):
        yield found("throttled", f"{', '.join(device['slow'])} on {name}")


def _read(lines: Sequence[str]) -> Probed:
    """The lines of `probe`; what is not one of them is passed over (a driver may print)."""
    probed, before = Probed(), 0.0
    for line in lines:
        try:
            said = json.loads(line)
            at = float(said["at"])
        except (ValueError, KeyError, TypeError):
            continue
        probed.seconds[probed.stage] = probed.seconds.get(probed.stage, 0.0) + at - before
        before = at
        probed.stage = said.get("stage", probed.stage)
        probed.driver = said.get("driver", probed.driver)
        probed.ended = probed.ended or "end" in said
        probed.devices += [said["device"]] if "device" in said else []
        probed.errors += [said["error"]] if "error" in said else []
        if "memory" in said:
            probed.memory[said["memory"]["index"]] = said["memory"]["free_mb"]
        if "answer" in said:
            probed.wrong[said["answer"]["index"]] = said["answer"]["wrong"]
            if "photon_ns" in said["answer"]:
                probed.photon_ns[said["answer"]["index"]] = said["answer"]["photon_ns"]
    return probed


def _version(runtime: float) -> str:
    return f"{int(runtime) // 1000}.{int(runtime) % 1000 // 10}"


def _named(stage: str) -> str:
    named = {"answer": "the known answer", "query": "the driver's queries", "context": "cuCtxCreate"}
    return {**named, "build": "OpenCL's compiler"}.get(stage, stage)
