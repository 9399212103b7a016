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
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submit import trainer, trials
from submit.description import Description
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic
from submit.submission import Submission
from submit.trials import Trial

MAX_IDLE = 2000  # OSPool's documented way past 10,000 jobs in the queue (policy.md)
CHECKED = 300  # trials that the trainer's configuration is asked about
FINISHED = "metrics.json"  # a trial writes it last
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ONE_JOB = re.compile(r"\s*queue(?:\s+1)?\s*", re.IGNORECASE)


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
    results are there; a job that is still in the queue is.

    Args:
        keys: of the settings; empty: go on with the trials that were written before.
        wanted: the trials.

    Raises:
        KitError: no project, a setting that the trainer refuses, or OUT holds another sweep.
    """
    if not _NAME.fullmatch(out):
        raise KitError(wrong("--out", out, "no name", "letters, digits and . _ - are wanted", "E.g. --out sweep"))
    description = _prepared(project / "train.sub", out)
    keys, listed = _merged(project, tuple(keys), list(wanted), out)
    done = finished(project, out)
    waiting = [number for number in range(len(listed)) if folder(number) not in done]
    _ask_trainer(project, keys, [listed[number] for number in waiting])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["trial", *keys, "folder"])
    writer.writerows([folder(at), *trial, f"results/{out}/{folder(at)}"] for at, trial in enumerate(listed))
    rows = "".join(f"{folder(at)} {trials.quoted(trials.settings(keys, listed[at]))}\n" for at in waiting)
    (project / out).mkdir(exist_ok=True)
    write_atomic(project / out / "trials.csv", table.getvalue().encode())
    write_atomic(project / out / "trials.txt", rows.encode())
    write_atomic(project / f"{out}.sub", description.text.encode("utf-8", "surrogateescape"))
    return Sweep(project / f"{out}.sub", keys, listed, waiting)


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


def _prepared(path: Path, out: str) -> Description:
    """train.sub with the sweep's queue.

    Raises:
        KitError: it is not there, queues several jobs, or takes no settings or result.
    """
    if not path.is_file():
        raise KitError(f"{path}: not there; a project made by `osgdl new` is wanted. Change into its folder.")
    job = Submission(Description.read(path))
    for name in ("settings", "result"):
        if f"$({name}" not in job.raw("arguments"):
            raise KitError(
                f"{path}:{job.line('arguments')}: arguments have no $({name}), which a trial sets. "
                "Write it there and take run.sh from a new project."
            )
    description = job.description
    if not _ONE_JOB.fullmatch(description.queue()):
        statement = description.queue().strip() or "no queue"
        raise KitError(f"{path}:{job.queue_line}: {statement}; want `queue 1`: a trial is one job. Write that there.")
    description.set("result", f"results/{out}/$(trial)")
    description.set("max_idle", str(MAX_IDLE))
    if description.get("batch_name") is not None:
        description.set("batch_name", f"{description.get('batch_name')}-{out}")
    description.set_queue(f"queue trial, settings from {out}/trials.txt")
    head = f"# Written by `osgdl sweep` from train.sub, anew each time: change that one.      condor_submit {out}.sub\n"
    return Description(head + description.text, path)


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


def _ask_trainer(project: Path, keys: Sequence[str], listed: Sequence[Trial]) -> None:
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
