"""Patients that never were, and that nobody trains on unawares: what phantoms are marked with, and where it matters."""

from __future__ import annotations

from collections.abc import Mapping

from submit.runtime import classad
from submit.runtime.exit_codes import BadInput

# At the head of what a file says about itself: NIfTI's `descrip` (80 bytes), MetaImage's Comment
MARK = "osgdl phantom"


def marked(note: str) -> bool:
    """Whether what a file says about itself says that it is a phantom's."""
    return note.startswith(MARK)


def describe(patients: Mapping[str, bool]) -> str:
    """`all 3 patients are phantoms`; empty where none is.

    Args:
        patients: by name, whether they are synthetic.
    """
    count = sum(patients.values())
    if count == len(patients) > 0:
        return f"all {count} patients are phantoms" if count > 1 else "the patient is a phantom"
    return f"{count} of {len(patients)} patients are phantoms" if count else ""


def require_unmixed(patients: Mapping[str, bool], allowed: bool) -> None:
    """Nothing, if all patients are real, all synthetic, or a mixture is meant.

    Raises:
        BadInput: some are and some are not.
    """
    fakes = [name for name, fake in patients.items() if fake]
    if fakes and len(fakes) < len(patients) and not allowed:
        real = next(name for name, fake in patients.items() if not fake)
        held = f"{describe(patients)}: {fakes[0]} is, {real} is not"
        raise BadInput("data", held, "real patients alone, or phantoms alone", _mend(f"remove {fakes[0]}"))


def require_place(patients: Mapping[str, bool], allowed: bool) -> None:
    """Nothing, if no patient is synthetic, or this is no machine of a real pool (but a laptop, or a slot of the local
    pool), or it is meant.

    Raises:
        BadInput: phantoms on a real pool's machine, where they are mostly a file that was not exchanged.
    """
    machine = classad.machine_ad()
    if not any(patients.values()) or allowed or not machine or machine.get("OsgdlSimulatedGPU") is True:
        return
    held = f"{describe(patients)}, on {machine.text('Machine') or 'a machine of the pool'}"
    raise BadInput("data", held, "real patients", _mend("name your own data in the submit file"))


def _mend(first: str) -> str:
    return f"{first}, or say that they are meant: data.synthetic = true in the configuration"
