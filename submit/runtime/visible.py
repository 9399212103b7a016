"""CUDA_VISIBLE_DEVICES: which GPUs a process may see, in the forms that HTCondor, sites and users write.

GPU-ddc1c098                        short, up to HTCondor 24.0.13
GPU-ddc1c098-3c4a-...               long; several short ones fail with newer CUDA (HTCONDOR-3350)
MIG-ddc1c098-3c4a-...               a slice of a GPU
MIG-GPU-ddc1c098-3c4a-.../7/0       the same, for drivers before R470
0,1                                 indices, which count differently inside a container
10000                               HTCondor's word for none; so are an empty value, -1 and NoDevFiles
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from submit.runtime.findings import Finding, found
from submit.runtime.request import Request

VARIABLE = "CUDA_VISIBLE_DEVICES"
UNSET, HIDDEN, INDICES, UUIDS, ODD = "unset", "hidden", "indices", "uuids", "odd"
MOST_INDEX = 1024  # no machine has so many GPUs: 10000 hides them

_UUID = re.compile(r"(GPU|MIG(?:-GPU)?)-([0-9a-f][0-9a-f-]*)(/[0-9]+/[0-9]+)?", re.IGNORECASE)
_NONE = {"", "-1", "none", "void", "nodevfiles"}


@dataclass(frozen=True)
class Visible:
    """The variable's value: one of the five kinds above, and the names in it."""

    kind: str
    names: tuple[str, ...] = ()


def parse(text: Optional[str]) -> Visible:
    """Never raises; what no form fits is `odd`."""
    if text is None:
        return Visible(UNSET)
    names = tuple(name.strip() for name in text.split(","))
    if names[0].lower() in _NONE or (_index(names[0]) or 0) > MOST_INDEX:
        return Visible(HIDDEN)
    names = tuple(name for name in names if name)
    if all(_UUID.fullmatch(name) for name in names):
        return Visible(UUIDS, names)
    if all(_index(name) is not None for name in names):
        return Visible(INDICES, names)
    return Visible(ODD, names)


def same(one: str, other: str) -> bool:
    """True if two names may mean one GPU or slice: HTCondor shortens them, and a slice's old form names its GPU."""
    first, second = _UUID.fullmatch(one), _UUID.fullmatch(other)
    if not first or not second:
        return one.lower() == other.lower()
    shorter, longer = sorted((first.group(2).lower(), second.group(2).lower()), key=len)
    return longer.startswith(shorter)


def check(text: Optional[str], assigned: Sequence[str], request: Request) -> list[Finding]:
    """What is wrong with the variable of a job that asked for a GPU.

    Args:
        text: the variable.
        assigned: the GPUs that HTCondor gave to the job; empty if unknown.
    """
    visible = parse(text)
    strangers = [name for name in visible.names if not any(same(name, known) for known in assigned)]
    if visible.kind == HIDDEN:
        row = "visible-hidden"
    elif visible.kind == UUIDS and assigned and strangers:
        row = "visible-not-assigned"
    elif visible.kind in (INDICES, ODD):
        row = "visible-indices"
    else:
        return []
    if request.sets_visible:
        row = "visible-edited"
    return [found(row, f"{text!r}", f"{', '.join(assigned)}, which HTCondor assigned" if assigned else "")]


def _index(name: str) -> Optional[int]:
    return int(name) if re.fullmatch(r"[0-9]{1,9}", name) else None
