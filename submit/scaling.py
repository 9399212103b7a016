"""One job on several GPUs: what train.sub asks for, and what config.toml trains with.

The request grows with the GPUs: cores and memory, so that a request within what a machine of the OSPool keeps for each
GPU stays within it. Disk does not: the data are there once. The batch grows too, each GPU's share of it staying what it
was, and what follows from the batch:

    learning rate  by the square root of the batch: the rule for Adam, the trainer's optimiser (Malladi et al. 2022,
                   arXiv 2205.10287; Krizhevsky 2014, arXiv 1404.5997, for its other reason, the variance of the
                   gradient). The linear rule of Goyal et al. 2017 (arXiv 1706.02677) is for SGD with momentum
    warm-up        a twentieth of all steps, without the limit of 100 that is enough for one GPU's batch (Goyal et al.:
                   5 of 90 epochs)
    steps          where they are set and not the epochs: fewer, the same number of images

The values of before stand in osgdl.json beside, and every scaling starts from them: back at the first number of GPUs
both files are what they were, byte for byte.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import trainer
from submit.description import Description
from submit.errors import KitError, wrong
from submit.gpus import MOST_GPUS
from submit.rendering import RECORD
from submit.runtime.files import write_json
from submit.toml_lines import TomlLines
from submit.units import mebibytes, size

KEY = "scale"  # in osgdl.json: {"gpus": now, "base": before, "values": {file: {name: [before, now]}}}
CONFIG = "config.toml"
BATCHES = ("scaled", "fixed")
WARM_UP = "0.05"
REQUEST = ("request_gpus", "request_cpus", "request_memory", "retry_request_memory")
TRAINING = ("train.batch_size", "train.learning_rate", "train.warm_up", "train.steps")
Values = dict[str, str | None]  # as written, by name; None: not set
_WHOLE = re.compile(r"[1-9][0-9]{0,8}")
_ADVICE = (
    "most machines of the OSPool offer one GPU at a time: a job of {} waits longer, often longer than they save",
    "as many jobs of one GPU start sooner and finish more: osgdl folds, osgdl sweep",
    "what the GPUs bring together is measured at the start of the job: `scaling` in metrics.json",
)


@dataclass(frozen=True)
class Change:
    """A value in a file; None: it is not set."""

    file: Path
    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        if self.now is None:
            return f"{self.file.name}: {self.name} is taken out (was {self.before})"
        return f"{self.file.name}: {self.name} = {self.now}" + (f" (was {self.before})" if self.before else " (new)")


@dataclass(frozen=True)
class Scaled:
    """What was written, and what its user should know."""

    gpus: int
    changes: list[Change]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        changes = [{"file": str(c.file), "name": c.name, "from": c.before, "to": c.now} for c in self.changes]
        return {"gpus": self.gpus, "changes": changes, "notes": self.notes}


class _Files:
    """train.sub and config.toml, their values by `train.sub: request_gpus` and `config.toml: train.batch_size`."""

    def __init__(self, submit_file: Path) -> None:
        self.submit = Description.read(submit_file)
        config = submit_file.with_name(CONFIG)
        if not config.is_file():
            raise KitError(
                f"{config}: not there; the U-Net's settings are wanted, to be scaled with the request. For a script of "
                f"your own write request_gpus, request_cpus and request_memory in {submit_file.name} by hand."
            )
        self.config = TomlLines.read(config)

    def path(self, name: str) -> Path:
        return self.config.path if "." in name else self.submit.path

    def get(self, name: str) -> str | None:
        section, dot, key = name.partition(".")
        return self.config.get(section, key) if dot else self.submit.get(name)

    def set(self, name: str, value: str | None) -> None:
        section, dot, key = name.partition(".")
        if dot and value is None:
            self.config.remove(section, key)
        elif dot:
            self.config.set(section, key, str(value))
        elif value is not None:
            self.submit.set(name, value)


def scale(submit_file: Path, gpus: int, batch: str = "scaled") -> Scaled:
    """Makes the training of a submit file one of so many GPUs. Nothing is written where anything is refused.

    Args:
        submit_file: train.sub; config.toml and osgdl.json lie beside it.
        gpus: of one job.
        batch: `scaled`: each GPU's share stays, and with it what a step costs; `fixed`: the whole stays, and with it
            the training.

    Raises:
        KitError: a wish or a value that cannot be scaled, or one changed by hand since the last time.
    """
    if not 1 <= gpus <= MOST_GPUS:
        raise KitError(wrong("--gpus", gpus, "no machine has so many", f"1 to {MOST_GPUS}", "E.g. --gpus 2"))
    if batch not in BATCHES:
        raise KitError(wrong("--batch", batch, "unknown", " or ".join(BATCHES), "Leave it out for scaled"))
    files, record = _Files(submit_file), submit_file.with_name(RECORD)
    notebook = _read(record)
    there = {name: files.get(name) for name in (*REQUEST, *TRAINING)}
    base, origin = _base(notebook, files, there)
    wanted = dict(origin)
    if gpus != base:
        wanted |= _request(files, origin, base, gpus)
        wanted |= _training(files, origin, base, gpus, batch == "fixed")
    for name, value in wanted.items():
        if value != there[name]:
            files.set(name, value)
    _ask_trainer(submit_file.parent, files.config.text)
    changes = [Change(files.path(name), name, there[name], now) for name, now in wanted.items() if now != there[name]]
    values = {name: [origin[name], now] for name, now in wanted.items() if now != origin[name]}
    notebook.pop(KEY, None)
    if values:
        notebook[KEY] = {"gpus": gpus, "base": base, "values": values}
    if changes:
        write_json(record, notebook)
        files.submit.write()
        files.config.write()
    return Scaled(gpus, changes, [_ADVICE[0].format(gpus), *_ADVICE[1:]] if gpus > 1 else [])


def _base(notebook: dict[str, Any], files: _Files, there: Values) -> tuple[int, Values]:
    """How many GPUs every scaling starts from, and the values of then."""
    held, origin = notebook.get(KEY), dict(there)
    if held is None:
        gpus = _whole(files, there, "request_gpus")
        return gpus, origin
    for name, (before, now) in held["values"].items():
        if there.get(name) not in (before, now):
            raise KitError(
                f"{files.path(name)}: {name} = {there.get(name)}: changed since osgdl scale; {now} is wanted, which it "
                f"wrote. Write that again, or take {KEY!r} out of {RECORD}: then it starts from what stands there now."
            )
        origin[name] = before
    return int(held["base"]), origin


def _request(files: _Files, origin: Values, base: int, gpus: int) -> Values:
    """What the file asks for already, for each GPU; what it leaves out stays out."""
    wanted: Values = {"request_gpus": str(gpus)}
    if origin["request_cpus"] is not None:
        wanted["request_cpus"] = str(math.ceil(_whole(files, origin, "request_cpus") * gpus / base))
    for name in ("request_memory", "retry_request_memory"):
        value = origin[name]
        if value is not None:
            try:
                wanted[name] = size(math.ceil(mebibytes(value) * gpus / base))
            except ValueError as fault:
                raise KitError(f"{files.submit.path}: {name} = {value}: {fault}. Write it so.") from None
    return wanted


def _training(files: _Files, origin: Values, base: int, gpus: int, fixed: bool) -> Values:
    """The batch, and what follows from it."""
    path, settings = files.config.path, files.submit.get("settings") or ""
    for name in TRAINING:
        if name in settings:
            raise KitError(f"{files.submit.path}: settings = {settings}: wins over {CONFIG}. Move {name} there.")
    images, split = _whole(files, origin, "train.batch_size"), files.config.value("train", "split") or 1
    shares = (gpus if fixed else base) * split
    if images % shares:
        raise KitError(
            f"{path}: train.batch_size = {images}: not the same for each GPU; a multiple of {shares} is wanted"
            f"{f' (train.split = {split})' if split > 1 else ''}. Write {math.ceil(images / shares) * shares} there."
        )
    if fixed:
        return {}
    rate = _number(files, origin, "train.learning_rate") * math.sqrt(gpus / base)
    wanted: Values = {"train.batch_size": str(images // base * gpus), "train.learning_rate": f"{rate:.4g}"}
    if origin["train.warm_up"] is None or not _number(files, origin, "train.warm_up"):
        wanted["train.warm_up"] = WARM_UP
    if origin["train.steps"] not in (None, "0"):
        wanted["train.steps"] = str(math.ceil(_whole(files, origin, "train.steps") * base / gpus))
    return wanted


def _whole(files: _Files, values: Values, name: str) -> int:
    value = values[name]
    if value is None or not _WHOLE.fullmatch(value):
        held = "is not set" if value is None else f"= {value}"
        raise KitError(f"{files.path(name)}: {name} {held}; a whole number above 0 is wanted. Write it there.")
    return int(value)


def _number(files: _Files, values: Values, name: str) -> float:
    try:
        return float(str(values[name]))
    except ValueError:
        held = "is not set" if values[name] is None else f"= {values[name]}"
        raise KitError(f"{files.path(name)}: {name} {held}; a number is wanted. Write it there.") from None


def _read(record: Path) -> dict[str, Any]:
    """osgdl.json; empty where a project has none."""
    try:
        held: dict[str, Any] = json.loads(record.read_bytes())
        if KEY in held:
            scaled = held[KEY]
            int(scaled["base"]), [(before, now) for before, now in scaled["values"].values()]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise KitError(
            f"{record}: cannot be read ({fault}); what osgdl new wrote is wanted. Mend or remove it."
        ) from None
    return held


def _ask_trainer(project: Path, settings: str) -> None:
    """Whether the project's trainer takes the settings.

    Raises:
        KitError: it refuses them.
    """
    if not (project / "job" / trainer.TRAINER / "settings.py").is_file():
        return  # another trainer
    with trainer.scratch() as folder:
        file = folder / CONFIG
        file.write_text(settings, encoding="utf-8")
        done = trainer.run(project, ["--config", str(file)], module=f"{trainer.TRAINER}.settings", given="[[]]")
    if done.returncode:
        said = done.stdout.replace(str(folder), str(project)).strip().splitlines()[-1:]
        raise KitError(f"{project / CONFIG}: {''.join(said)}: what the trainer says of it, scaled. Nothing is changed.")
