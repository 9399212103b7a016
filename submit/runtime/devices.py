"""Where am I: the site, the machine and the GPU HTCondor gave this job, and whether the framework really sees that
GPU.
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from functools import lru_cache

from submit.runtime import classad, gpu_ad
from submit.runtime.exit_codes import BadMachine


@dataclass(frozen=True)
class Place:
    """What HTCondor says about the slot of this job. All fields are empty on a laptop, outside a job.

    Attributes:
        machine: name of the execution point, `Machine` in its ad.
        site: `GLIDEIN_Site`, the institution whose computer this is.
        gpu: model of the assigned GPU, such as `NVIDIA H100 80GB HBM3`.
        gpus: number of GPUs the job was given or asked for; 0 if none.
        simulated: True on a slot of the local test pool, whose GPUs exist only in its ad.
        in_job: False outside HTCondor.
        cpus: cores of the slot; 0 if unknown. The machine may have many more, which belong to others.
    """

    machine: str
    site: str
    gpu: str
    gpus: int
    simulated: bool
    in_job: bool
    cpus: int


def here() -> Place:
    """Reads `_CONDOR_MACHINE_AD`, `_CONDOR_JOB_AD` and the GPU variables of the environment."""
    machine, job = classad.machine_ad(), classad.job_ad()
    assigned = assigned_gpus()
    return Place(
        machine=machine.text("Machine"),
        site=machine.text("GLIDEIN_Site"),
        gpu=_device_name(machine, assigned),
        gpus=len(assigned) or int(job.number("RequestGPUs")),
        simulated=machine.get("OsgdlSimulatedGPU") is True,
        in_job=bool(machine or job),
        cpus=int(machine.number("Cpus")),
    )


def assigned_gpus() -> list[str]:
    """Identities of the GPUs given to this job, `GPU-<uuid>` or `MIG-<uuid>`."""
    return gpu_ad.assigned()


@lru_cache(maxsize=1)
def _lost_at() -> float:
    """When, by time.monotonic(), a bad site of the local pool loses its simulated GPU; infinite everywhere else."""
    machine = classad.machine_ad()
    lost = machine.get("OsgdlSimulatedGPU") is True and machine.text("OsgdlSimulatedFault") == "lost"
    return time.monotonic() + machine.number("OsgdlSimulatedLostAfter") if lost else math.inf


def still_there() -> None:
    """Called once a training step: loses the GPU of a bad site of the local pool, in the words of a real driver.

    Does nothing anywhere else: a real GPU that is lost makes the framework raise.

    Raises:
        RuntimeError: the simulated GPU is lost. `exit_codes.run` knows the words, as it knows a framework's.
    """
    if time.monotonic() > _lost_at():
        raise RuntimeError("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus. (simulated)")


def require_gpu(visible: int) -> str:
    """The device to record with the results, such as `gpu (NVIDIA A100-SXM4-40GB)`; says on stderr when it is the CPU.

    Args:
        visible: number of GPUs the framework can use.

    Raises:
        BadMachine: the job has a GPU and the framework does not see it. Training on the CPU of a GPU slot would waste
            both for days; only a slot of the local pool, which says `OsgdlSimulatedGPU = True`, may do that.
    """
    place = here()
    model = place.gpu or "unknown model"
    if visible and visible >= place.gpus:
        return f"gpu ({place.gpu})" if place.gpu else "gpu"
    if place.gpus and place.simulated:
        print(f"simulated GPU ({model}): computing on the CPU of the local pool", file=sys.stderr)
        return f"cpu (simulated GPU: {model})"
    if place.gpus:
        raise BadMachine(
            "GPU",
            f"{visible} visible, {place.gpus} assigned ({model}, "
            f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')})",
            "a GPU that the framework in this image can use",
            "the job is tried elsewhere; if no machine will do, raise gpus_minimum_runtime to the CUDA of the image",
        )
    print("no GPU asked for: computing on the CPU", file=sys.stderr)
    return "cpu"


def _device_name(machine: classad.Ad, assigned: list[str]) -> str:
    """The model: one attribute for all where a machine's GPUs are alike, else in a nested ad per GPU."""
    alike = machine.text("GPUs_DeviceName")
    return alike or str(gpu_ad.properties(machine, assigned[0] if assigned else "").get("DeviceName", ""))
