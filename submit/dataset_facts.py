"""What the data are: asked of the trainer, which runs in a process of its own, as it does in the job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submit import trainer
from submit.errors import KitError, StageError
from submit.runtime import dataset
from submit.trainer import TRAINER


def prepared(source: Path) -> dict[str, Any] | None:
    """The dataset.json of a folder that `python -m unet_segmentation prepare` made; None for another folder.

    Raises:
        StageError: it is such a folder, and the file is damaged.
    """
    file = source / dataset.FILE
    try:
        held = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(held, dict) or held.get("kind") != "prepared":
        return None
    return read(file)


def read(file: Path) -> dict[str, Any]:
    """A dataset.json.

    Raises:
        StageError: it is none.
    """
    try:
        return dataset.read(file)
    except dataset.Damaged as fault:
        mend = f"Write it again: python -m {TRAINER} verify --data SOURCE --out {file.name}"
        raise StageError(f"{file}: {fault}. {mend}") from None


def verified(source: Path, project: Path, layout: str) -> dict[str, Any]:
    """Lets the trainer read and check every file: the project's own trainer, where it has one, as the job will.

    Raises:
        StageError: it found faults (which it printed), or there is no trainer here.
    """
    with trainer.scratch() as folder:
        out = folder / dataset.FILE
        words = ["verify", "--data", str(source), "--out", str(out)]
        words += ["--set", f"data.layout={layout}"] if layout != "auto" else []
        try:
            done = trainer.run(project, words)
        except KitError as fault:
            raise StageError(f"{fault} Or leave the trainer's check out: --no-verify") from None
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            raise StageError(
                "\n".join(
                    [*lines[-20:], f"SOURCE={str(source)!r}: the trainer refuses it, as said above; nothing left."]
                )
                + " Mend that (its --set data.layout=NAME is --layout NAME here); data of another kind are staged with"
                " --no-verify"
            )
        return read(out)


def folds(file: Path, facts: Mapping[str, Any] | None) -> list[list[str]]:
    """The patients held out in each fold, of a splits.json that fits the data.

    Raises:
        StageError: it does not.
    """
    mend = f"Write it again: python -m {TRAINER} split --data SOURCE --out {file.name} --folds 5"
    if facts is None:
        raise StageError(f"splits={str(file)!r}: nobody said who the patients are; leave --no-verify out")
    try:
        held = [list(fold["validation"]) for fold in json.loads(file.read_bytes())["folds"]]
        names = [name for fold in held for name in fold]
        if len(held) < 2 or not all(held) or not all(isinstance(name, str) for name in names):
            raise ValueError('not of the form {"folds": [{"validation": ["name"]}, ...]}')
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise StageError(f"splits={str(file)!r}: no folds ({fault}). {mend}") from None
    known = set(facts["patients"])
    for name in names:
        if name not in known or names.count(name) > 1:
            what = "more than once" if name in known else "not in the data"
            raise StageError(f"splits={str(file)!r}: {name} is {what}; every patient in one fold is wanted. {mend}")
    missing = sorted(known - set(names))
    if missing:
        raise StageError(f"splits={str(file)!r}: {missing[0]} is in no fold; every patient in one is wanted. {mend}")
    return held
