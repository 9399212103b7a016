"""What HTCondor advertises about one GPU of this job's slot.

A slot's ad has one nested ad for each GPU (`GPUs_GPU_<id> = [ Capability = 9.0; ... ]`), and copies of their attributes
(`GPUs_Capability`) only where all the slot's GPUs agree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Union

from submit.runtime import classad

Value = Union[str, float, bool]

_PAIR = re.compile(r'\b([A-Za-z]\w*)\s*=\s*("[^"]*"|[^;\]]+)')
# facts of the failure table by their names in the ad
FACTS = {"capability": "Capability", "runtime": "MaxSupportedVersion", "memory_mb": "GlobalMemoryMb"}


def assigned() -> list[str]:
    """Identities of the GPUs given to this job, `GPU-<uuid>` or `MIG-<uuid>`: never indices, which count differently
    inside a container.
    """
    named = re.split(r"[,\s]+", os.environ.get("_CONDOR_AssignedGPUs", ""))  # noqa: SIM112 - HTCondor's spelling
    return [name for name in named if name and name.lower() != "undefined"]


def properties(machine: classad.Ad, gpu: str = "") -> Mapping[str, Value]:
    """Attributes of a GPU by their unprefixed names, such as `Capability`, `DeviceName`, `GlobalMemoryMb`.

    Args:
        machine: the slot's ad.
        gpu: the assigned name, such as `GPU-ddc1c098`; the first nested ad if it is empty or not there.
    """
    found: dict[str, Value] = {}
    for name, value in machine.items():
        if name.lower().startswith("gpus_") and not isinstance(value, classad.Expression):
            found[name[5:]] = value
    nested = {name.lower(): str(machine[name]) for name in machine if _is_nested(machine, name)}
    wanted = "gpus_" + gpu.replace("-", "_").lower()
    text = nested.get(wanted) or next(iter(nested.values()), "")
    found.update((name, _value(value.strip())) for name, value in _PAIR.findall(text))
    return found


def facts(machine: classad.Ad, gpus: Sequence[str] = ()) -> dict[str, float]:
    """What the failure table's conditions ask for, as advertised; what is not advertised is left out."""
    known = properties(machine, gpus[0] if gpus else "")
    return {
        fact: float(known[name])
        for fact, name in FACTS.items()
        if isinstance(known.get(name), (int, float)) and not isinstance(known.get(name), bool)
    }


def _is_nested(machine: classad.Ad, name: str) -> bool:
    return name.lower().startswith(("gpus_gpu_", "gpus_mig_")) and str(machine[name]).startswith("[")


def _value(text: str) -> Value:
    if text.startswith('"'):
        return text.strip('"')
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text
