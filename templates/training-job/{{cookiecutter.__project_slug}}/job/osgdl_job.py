"""What a training script says at its beginning and at its end: its options, its data, what it was made from."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from submit.runtime import classad, devices, inputs
from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from submit.runtime.leaving import Intervals


class Parser(argparse.ArgumentParser):
    """A wrong option is wrong on every machine: exit code 65, not argparse's 2."""

    def error(self, message: str) -> NoReturn:
        raise BadInput("options", message, "options of train.py", "see PYTHONPATH=job python3 train.py --help")


def parser(description: str | None) -> Parser:
    """A parser with the options that every job needs; add your own."""
    found = Parser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    found.add_argument("--data", type=Path, default=Path("data"), help="folder, archive or manifest")
    found.add_argument("--out", type=Path, default=Path("results/try"), help="folder for the results")
    found.add_argument("--epochs", type=_whole, default=10, help="times through the data")
    found.add_argument("--seed", type=_whole, default=1, help="the same seed gives the same weights")
    found.add_argument("--save-minutes", type=float, default=10.0, help="save on the machine, against a crash")
    leave = "leave with exit code 85 at the latest after so long; only this survives a lost machine"
    found.add_argument("--leave-minutes", type=float, default=60.0, help=leave)
    found.add_argument("--leave-steps", type=int, default=0, help="leave after so many steps; 0: by the clock alone")
    evicted = "time between two evictions that is expected, from which the time to leave is worked out; 0: it is not"
    found.add_argument("--evicted-minutes", type=float, default=600.0, help=evicted)
    found.add_argument("--synthetic", action="store_true", help="made-up data are meant, on a real GPU too")
    return found


def intervals(options: argparse.Namespace) -> Intervals:
    """When to save and to leave, for the checkpoints."""
    return Intervals(
        save_s=60 * options.save_minutes,
        leave_s=60 * options.leave_minutes,
        leave_steps=options.leave_steps,
        evicted_s=60 * options.evicted_minutes,
    )


def data(options: argparse.Namespace) -> inputs.Input:
    """The data as a folder, unpacked and compared with their manifest where they came staged.

    Raises:
        BadInput, BadMachine: they are not what was sent.
    """
    given = inputs.opened(options.data)
    print(f"data       {given.folder}", flush=True)
    return given


def require_told(where: Path, about: str, options: argparse.Namespace) -> None:
    """Says that data are made up; a GPU of the OSPool trains on such only where that was meant.

    Raises:
        BadInput: it was not said, and this is no slot of the local pool.
    """
    print(f"synthetic  {about}: what is trained here knows nothing of the world", flush=True)
    place = devices.here()
    if place.gpus and not place.simulated and not options.synthetic:
        raise BadInput(where, about, "your own data", "name yours with data=..., or mean it: settings=--synthetic")


def record(options: argparse.Namespace, given: inputs.Input, device: str, weights: str, **results: Any) -> None:
    """Writes metrics.json into the folder of the results: the results, and what they were made from.

    Args:
        device: what trained, as `device` of the helper's Run or Checkpoints says.
        weights: `digest` of them.
    """
    job, place = classad.job_ad(), devices.here()
    made_from = {
        "options": {name: str(value) for name, value in sorted(vars(options).items())},
        "manifest_sha256": given.manifest_sha256,
        "image": job.text("SingularityImage") or job.text("ContainerImage"),
        "device": device,
        "site": place.site,
        "machine": place.machine,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "metrics.json", {**results, "weights_sha256": weights, "made_from": made_from})
    print(json.dumps(results))


def digest(arrays: Mapping[str, Any]) -> str:
    """SHA-256 over named NumPy arrays: equal weights, equal digest."""
    held = hashlib.sha256()
    for name, array in arrays.items():
        held.update(f"{name} {array.dtype} {array.shape}\n".encode())
        held.update(array.tobytes())
    return held.hexdigest()


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: want a whole number from 1 on")
    return int(text)
