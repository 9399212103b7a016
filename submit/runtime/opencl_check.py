"""Checks of OpenCL: is the way to the GPU whole (loader, file that names the driver, driver, compiler), is it this
job's GPU, does it compute rightly, and how long a photon takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from submit.runtime import gpu, visible
from submit.runtime.findings import Finding, found
from submit.runtime.request import Request

SHARED = 4  # times as long as a GPU may take a processor, which others use too: the local pool's, by all its sites


def ask(on_cpu: bool, with_answer: bool, time_limit_s: float) -> gpu.Probed:
    """Runs `opencl_probe` for the devices that this job computes on."""
    limit_s = time_limit_s * (SHARED if on_cpu else 1)
    return gpu.ask(with_answer, limit_s, "opencl_probe", "cpu" if on_cpu else "gpu")


def facts(probed: gpu.Probed) -> dict[str, Any]:
    """For the report: platforms, and each device with its time for a photon."""
    devices = [{**device, "photon_ns": probed.photon_ns.get(device["index"])} for device in probed.devices]
    return {"platforms": probed.driver.get("platforms", []), "devices": devices}


def judge(probed: gpu.Probed, request: Request, assigned: Sequence[str], on_cpu: bool) -> Iterator[Finding]:
    """What the answers mean, the most telling first."""
    for error in probed.errors:
        yield found(error["row"], error["held"])
    if probed.driver and not on_cpu and 0 < len(probed.devices) < request.gpus:
        yield found("opencl-no-device", f"{len(probed.devices)} visible", f"{request.gpus} (request_gpus)")
    known = [device["uuid"] for device in probed.devices if device["uuid"]]
    for uuid in known if assigned and not on_cpu else []:
        if not any(visible.same(f"{kind}-{uuid}", given) for given in assigned for kind in ("GPU", "MIG")):
            yield found("opencl-others-visible", f"GPU-{uuid}", ", ".join(assigned))
    if on_cpu and probed.died == "SIGABRT":  # as PoCL does where ld, or a library that it links with, is not there
        yield found("opencl-no-cpu", "PoCL gave up (SIGABRT) on the known answer")
    yield from gpu.ended(probed)
    for index, wrong in sorted(probed.wrong.items()):
        if wrong:
            yield found("opencl-wrong-answer", f"device {index}: {wrong}")
