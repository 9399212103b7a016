"""`osgdl sweep`: many trainings with other settings, by one submit that HTCondor materialises as jobs leave the queue.

OUT.sub              train.sub as it is, with another queue
OUT/trials.csv       trial, its settings, its folder: all that is remembered
OUT/trials.txt       the rows of the queue: those without results
results/OUT/000017/  what the trial brought home
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submit import eventlog, named_files, node_job, trainer, trials
from submit.description import Description
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic
from submit.trials import Trial

MAX_IDLE = 2000  # OSPool's documented way past 10,000 jobs in the queue (policy.md)
CHECKED = 300  # trials that the trainer's configuration is asked about
FINISHED = "metrics.json"  # a trial writes it last


@dataclass(frozen=True)
class Sweep:
    """What is planned: keys of the settings, the trials by number, and the numbers of those without results."""

    file: Path
    keys: tuple[str, ...]
    trials: list[Trial]
    waiting: list[int]


def folder(number: int) -> str:
    """Of a trial, in results/OUT."""
    return f"{number:06}"


def write(project: Path, keys: Sequence[str], wanted: Sequence[Trial], out: str = "sweep") -> Sweep:
    """Writes the submit file and the lists. Trials that were written before stay, and are not queued again where their
    results are there.

    Args:
        keys: of the settings; empty: go on with the trials that were written before.
        wanted: the trials.

    Raises:
        KitError: no project, its data cannot be sent, a setting that the trainer refuses, OUT holds another sweep, jobs
            of it are in the queue.
    """
    named_files.require_name(out)
    description = _prepared(project, out)
    keys, listed = _merged(project, tuple(keys), list(wanted), out)
    done = finished(project, out)
    waiting = [number for number in range(len(listed)) if folder(number) not in done]
    if waiting:
        require_out_of_queue(project, out)
    ask_trainer(project, keys, [listed[number] for number in waiting])
    rows = "".join(f"{folder(at)} {trials.quoted(trials.settings(keys, listed[at]))}\n" for at in waiting)
    (project / out).mkdir(exist_ok=True)
    write_atomic(project / out / "trials.csv", table(keys, listed, out))
    write_atomic(project / out / "trials.txt", rows.encode())
    write_atomic(project / f"{out}.sub", description.text.encode("utf-8", "surrogateescape"))
    return Sweep(project / f"{out}.sub", keys, listed, waiting)


def table(keys: Sequence[str], listed: Sequence[Trial], out: str) -> bytes:
    """What OUT/trials.csv holds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *keys, "folder"])
    writer.writerows([folder(at), *trial, f"results/{out}/{folder(at)}"] for at, trial in enumerate(listed))
    return text.getvalue().encode()


def read(project: Path, out: str) -> tuple[tuple[str, ...], list[Trial]]:
    """The keys and trials of OUT/trials.csv.

    Raises:
        KitError: there is none.
    """
    path = project / out / "trials.csv"
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        if rows[0][0] != "trial" or rows[0][-1] != "folder" or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("not of the form trial,KEY...,folder")
        if [row[0] for row in rows[1:]] != [folder(number) for number in range(len(rows) - 1)]:
            raise ValueError("trials are missing")
    except (OSError, ValueError, IndexError, csv.Error) as fault:
        said = fault.strerror if isinstance(fault, OSError) else fault
        raise KitError(f"{path}: {said}; what `osgdl sweep SPACE.toml` writes is wanted. Run that.") from None
    return tuple(rows[0][1:-1]), [tuple(row[1:-1]) for row in rows[1:]]


def finished(project: Path, out: str) -> set[str]:
    """The folders of the trials that have results."""
    try:
        with os.scandir(project / "results" / out) as entries:
            return {entry.name for entry in entries if Path(entry.path, FINISHED).is_file()}
    except OSError:
        return set()


def log_of(out: str) -> str:
    """The event log of all jobs of a sweep: it says which of them are in the queue."""
    return f"logs/{out}.log"


def require_out_of_queue(project: Path, out: str) -> None:
    """Nothing, where no job of an earlier submit is left: what is queued twice would write the same results.

    Raises:
        KitError: there is one.
    """
    clusters = eventlog.in_queue(project / log_of(out))
    if clusters:
        named = " ".join(map(str, clusters))
        raise KitError(
            f"{project / log_of(out)}: cluster {named} is in the queue; what is left is queued when it is not. "
            f"Wait (condor_watch_q -clusters {named}), or remove it: condor_rm {named}"
        )


def queued(
    project: Path, file: str, out: str, values: Mapping[str, str], queue: str, first: str = ""
) -> Description:  # fmt: skip
    """A submit file of the project, one job, made into one that queues a row of a list each.

    Args:
        file: the submit file, checked by `node_job.read`.
        values: its commands that change.
        queue: its queue statement.
        first: lines above all others.
    """
    description = Description.read(project / file)
    for name, value in {**values, "log": log_of(out)}.items():
        description.set(name, value)
    if description.get("batch_name") is not None:
        description.set("batch_name", f"{description.get('batch_name')}-{out}")
    description.set_queue(queue)
    head = f"# Written by osgdl from {file}, anew each time: change that one\n"
    return Description(head + first + description.text, project / file)


def _prepared(project: Path, out: str) -> Description:
    """train.sub with the sweep's queue."""
    node_job.require_fillable(node_job.read(project / node_job.TRAIN, ("result", node_job.SETTINGS)))
    values = {"result": f"results/{out}/$(trial)", "max_idle": str(MAX_IDLE)}
    return queued(project, node_job.TRAIN, out, values, f"queue trial, settings from {out}/trials.txt")


def _merged(project: Path, keys: tuple[str, ...], wanted: list[Trial], out: str) -> tuple[tuple[str, ...], list[Trial]]:
    """The trials written before and those wanted; the one list begins with the other."""
    if not (project / out / "trials.csv").is_file() and keys:
        if (project / f"{out}.sub").exists() or (project / "results" / out).exists():
            raise KitError(wrong("--out", out, "files of that name are there", "a new name", "E.g. --out sweep2"))
        return keys, wanted
    known, before = read(project, out)
    if not keys:
        return known, before
    shared = min(len(before), len(wanted))
    if known != keys or before[:shared] != wanted[:shared]:
        raise KitError(wrong("--out", out, "holds other trials", "a new name", "E.g. --out sweep2, or remove it"))
    return keys, max(before, wanted, key=len)


def ask_trainer(project: Path, keys: Sequence[str], listed: Sequence[Trial]) -> None:
    """Whether the trainer's configuration takes these trials: the first ones, and for each key its first ones of each
    value, or the smallest and the largest of many.

    Raises:
        KitError: it refuses one.
    """
    if not listed or not (project / "job/unet_segmentation/settings.py").is_file():
        return  # another trainer
    chosen = dict.fromkeys(listed[: CHECKED // 3])
    for at in range(len(keys)):
        first: dict[str, Trial] = {}
        for trial in listed:
            first.setdefault(trial[at], trial)
        some = list(first.values())
        if len(some) > CHECKED // 10:
            some = [min(some, key=lambda trial: _number(trial[at])), max(some, key=lambda trial: _number(trial[at]))]
        chosen |= dict.fromkeys(some)
    words = ["--config", str((project / "config.toml").resolve())] if (project / "config.toml").is_file() else []
    asked = [trials.settings(keys, trial) for trial in list(chosen)[:CHECKED]]
    done = trainer.run(project, words, module="unet_segmentation.settings", given=json.dumps(asked))
    if done.returncode:
        raise KitError(
            "\n".join([*done.stdout.splitlines()[-3:], "the trainer refuses a trial, as said above; mend SPACE.toml"])
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
