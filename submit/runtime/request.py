"""What this job asked for, as its ad says: the bounds that a GPU must keep, and what the host must have."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from submit.runtime import classad

_BOUND = re.compile(r"\b(Capability|GlobalMemoryMb|MaxSupportedVersion)\s*(>=?|<=?)\s*([0-9]+(?:\.[0-9]+)?)\b", re.I)
_SETS_VISIBLE = re.compile(r"(?:^|[\s;\"'])CUDA_VISIBLE_DEVICES=")


@dataclass(frozen=True)
class Request:
    """Bounds that were not asked for are 0, an upper one infinite.

    Attributes:
        gpus: RequestGPUs; 0 outside a job.
        min_capability, max_capability: GPUsMinCapability, GPUsMaxCapability.
        min_memory_mb: GPUsMinMemory, in MiB.
        min_runtime: GPUsMinRuntime; 12040 is CUDA 12.4.
        disk_kb: RequestDisk, in KiB.
        input_kb: size of the input that is already in the scratch folder, TransferInputSizeMB, in KiB.
        sets_visible: the job's own environment sets CUDA_VISIBLE_DEVICES.
        min_glibc: OsgdlMinGlibc, such as `2.28`, which a submit file may ask for.
        min_shm_mb: OsgdlMinShmMb, the same for /dev/shm, in MiB.
    """

    gpus: int = 0
    min_capability: float = 0.0
    max_capability: float = math.inf
    min_memory_mb: float = 0.0
    min_runtime: float = 0.0
    disk_kb: float = 0.0
    input_kb: float = 0.0
    sets_visible: bool = False
    min_glibc: str = ""
    min_shm_mb: float = 0.0


def read(job: classad.Ad) -> Request:
    """The request in a job's ad."""
    require = str(job.get("RequireGPUs", ""))

    def bound(name: str, default: float = 0.0) -> float:
        # A user's own require_gpus takes the clause of a bound away (facts/ospool.md 1.1): the attribute is still
        # in the ad, and no machine ever promised to keep it
        return default if require and name.lower() not in require.lower() else job.number(name, default)

    low = {
        "capability": bound("GPUsMinCapability"),
        "globalmemorymb": bound("GPUsMinMemory"),
        "maxsupportedversion": bound("GPUsMinRuntime"),
    }
    high = {"capability": bound("GPUsMaxCapability", math.inf)}
    if not re.search(r"\|\||!(?!=)|\?", require):  # only what is surely asked for: no `or`, no `not`
        for name, operator, text in _BOUND.findall(require):
            name = name.lower()
            if operator[0] == ">":
                low[name] = max(low[name], float(text))
            else:
                high[name] = min(high.get(name, math.inf), float(text))
    return Request(
        gpus=int(job.number("RequestGPUs")),
        min_capability=low["capability"],
        max_capability=high["capability"],
        min_memory_mb=low["globalmemorymb"],
        min_runtime=low["maxsupportedversion"],
        disk_kb=job.number("RequestDisk"),
        input_kb=job.number("TransferInputSizeMB") * 1024,
        sets_visible=bool(_SETS_VISIBLE.search(job.text("Environment") + ";" + job.text("Env"))),
        min_glibc=job.text("OsgdlMinGlibc"),
        min_shm_mb=job.number("OsgdlMinShmMb"),
    )
