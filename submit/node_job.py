"""A project's submit file, as what writes many jobs needs it: one job, which takes what each of them says."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from submit.description import Description
from submit.errors import KitError
from submit.submission import Submission
from submit.transfers import unfillable

TRAIN, PREDICT, EVALUATE = "train.sub", "predict.sub", "evaluate.sub"
SETTINGS = "settings"
_ONE_JOB = re.compile(r"\s*queue(?:\s+1)?\s*", re.IGNORECASE)


def read(path: Path, said: Sequence[str], one: bool = True) -> Submission:
    """A submit file that takes what a node of a workflow, or a row of a queue, says.

    Args:
        path: of the file.
        said: the names; each has to stand in the file's `if ! defined`, or, for `settings`, in its arguments.
        one: refuse a file that queues more than one job.

    Raises:
        KitError: it is not there, or a line of it would win.
    """
    if not path.is_file():
        raise KitError(f"{path}: not there; a project made by `osgdl new` is wanted. Change into its folder.")
    job = Submission(Description.read(path))
    for name in said:
        if name == SETTINGS:
            if f"$({SETTINGS}" not in job.raw("arguments"):
                raise KitError(
                    f"{path}:{job.line('arguments')}: arguments have no $({SETTINGS}:), by which each job says its own "
                    "to the trainer. Write it at their end, and take run.sh from a new project."
                )
            continue
        command = job.command(name)
        if command is None or command.unless.lower() != name:
            line = command.first if command else job.queue_line
            raise KitError(
                f"{path}:{line}: {name} is {'set for every job' if command else 'not set'}; each job has its own. "
                f"Write `if ! defined {name}`, `{name} = ...`, `endif`, and use $({name}), as new projects do."
            )
    if one and not _ONE_JOB.fullmatch(job.description.queue()):
        statement = job.description.queue().strip() or "no queue"
        raise KitError(f"{path}:{job.queue_line}: {statement}; want `queue 1`, one job each. Write that there.")
    return job


def require_fillable(job: Submission) -> None:
    """Nothing, where every folder that a submit file sends can be filled on a machine.

    Raises:
        KitError: one cannot; each of many jobs would be held for it.
    """
    for entry in job.inputs:
        folder = unfillable(entry.path) if entry.path else None
        if folder:
            raise KitError(
                f"{job.path}:{job.line('transfer_input_files')}: {os.path.relpath(folder, job.folder)}: may not be "
                "written by its owner, and HTCondor makes it so on the machine: every job would be held (13); write "
                f"permission is wanted. Run chmod -R u+w {shlex.quote(entry.text)}"
            )
