"""Who uses what was staged: the submit files of a project, and the jobs in the queue."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from submit import pool
from submit.errors import PoolError, StageError
from submit.runtime import manifest as manifests
from submit.runtime.manifest import Manifest

STAGED = "staged"  # of a project: its manifests
OBJECT = re.compile(r".+-[0-9a-f]{12}\.tar(?:\.zst)?")  # the name of a shard
_FOLDS = re.compile(r".*-folds-[0-9a-f]{12}\.txt")
_BETWEEN = re.compile(r"[\s,;=\"'()]+")
# Only such jobs have anything that was staged; a queue may have 100,000 others
_CONSTRAINT = r'regexp("-[0-9a-f]{12}\.(json|tar)", TransferInput ?: "")'
_PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Use:
    """Somebody needs a manifest, or an object.

    Attributes:
        who: `train.sub`, or `job 12.0`.
        name: of the manifest's file, or of the object.
        held: what the manifest says, where it is in the project.
    """

    who: str
    name: str
    held: Manifest | None = None


def of_project(folder: Path) -> list[Use]:
    """What the submit files and workflows of a folder name, in whatever line, and the lists of folds that they name.

    Raises:
        StageError: one of them, or a manifest that it names, cannot be read: what is used is not known then.
    """
    found = []
    for path in sorted([*folder.glob("*.sub"), *folder.glob("*.dag")]):
        for word in _words(path):
            if _FOLDS.fullmatch(Path(word).name):
                listed = next((one for one in _places(folder, word) if one.is_file()), None)
                found += (
                    [_use(folder, f"{path.name}, by {listed.name}", one) for one in _words(listed)] if listed else []
                )
            else:
                found.append(_use(folder, path.name, word))
    return list({(one.who, one.name): one for one in found if one}.values())


def _words(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as fault:
        raise StageError(f"{path}: cannot be read ({fault}), so nobody knows what it uses; a text is wanted") from None
    for line in lines:
        if not line.lstrip().startswith("#"):
            yield from filter(None, _BETWEEN.split(line))


def _places(folder: Path, word: str) -> Sequence[Path]:
    return folder / word, folder / STAGED / Path(word).name


def _use(folder: Path, who: str, word: str) -> Use | None:
    """None for a word that names nothing staged."""
    name = word.partition("?")[0].rpartition("/")[2]
    if OBJECT.fullmatch(name):
        return Use(who, name)
    if not manifests.FILE_NAME.fullmatch(name):
        return None
    for path in _places(folder, word):
        if path.is_file():
            try:
                return Use(who, name, manifests.read(path))
            except manifests.Damaged as fault:
                raise StageError(
                    f"{path}: {fault}; {who} uses it, and nobody knows what it names. Stage the data again"
                ) from None
    return Use(who, name)


def of_queue() -> list[Use]:
    """What jobs in the queue get: everybody's, of condor_q where it is installed, else of the local pool if it is up.

    Raises:
        StageError: the queue does not answer.
    """
    command = ["condor_q", "-allusers", "-json", "-attributes", "ClusterId,ProcId,TransferInput"]
    command += ["-constraint", _CONSTRAINT]
    try:
        if shutil.which("condor_q"):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE)
        elif pool.init_pid() is not None:
            done = pool.run(command, cwd=Path("/"), timeout=_PATIENCE)
        else:
            return []
    except (OSError, subprocess.TimeoutExpired, PoolError) as fault:
        raise _silent(str(fault)) from None
    if done.returncode:
        raise _silent(done.stderr.strip() or f"exit code {done.returncode}")
    try:
        jobs = json.loads(done.stdout or "[]")
        return [use for job in jobs for use in _of_job(job)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _silent(f"no list of jobs but {done.stdout[:60]!r}") from None


def _of_job(job: dict[str, object]) -> Iterator[Use]:
    words = _BETWEEN.split(str(job.get("TransferInput", "")))
    for name in (word.partition("?")[0].rpartition("/")[2] for word in words):
        if OBJECT.fullmatch(name) or manifests.FILE_NAME.fullmatch(name):
            yield Use(f"job {job['ClusterId']}.{job['ProcId']}", name)


def _silent(told: str) -> StageError:
    last = told.splitlines()[-1][:200]
    return StageError(f"condor_q: {last}; an answer is wanted, or nobody knows what jobs use. Try again later")
