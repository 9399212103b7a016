"""A project's record of what was submitted: runs.jsonl beside the submit file, a line of JSON for each submission."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from submit.errors import KitError
from submit.runtime.files import write_atomic
from submit.runtime.manifest import FILE_NAME
from submit.submission import Submission
from submit.transfers import Transfer

FILE = "runs.jsonl"
# An access point is shared: what is larger is known by its size and its date
MOST_HASHED = 256 << 20  # bytes of one entry of transfer_input_files
MOST_FILES = 10_000  # of a folder


@dataclass(frozen=True, kw_only=True)
class Input:
    """An entry of `transfer_input_files`, or the executable: of a folder all files together.

    Attributes:
        sha256: of a file; of a folder, of the lines `<sha256>  <path in it>`, in order of the paths; None for a URL
            and for what is too large.
        newest: modification time of its newest file, seconds since the epoch.
    """

    name: str
    bytes: int | None = None
    sha256: str | None = None
    newest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One submission.

    Attributes:
        time: seconds since the epoch; `jobs`: how many were queued.
        file: the submit file or the workflow, by its name; `sha256`: of it; `words`: NAME=VALUE of the command line.
        pool: `local NAME`, or the schedd's name.
        log: the event log as the submit file has it, from its folder.
        manifest: of staged data: its name, which carries its hash.
        overridden: errors of `osgdl check` that it was submitted with, and the reason somebody typed.
    """

    cluster: int
    jobs: int
    time: int
    file: str
    sha256: str
    words: list[str] = field(default_factory=list)
    pool: str = ""
    log: str = ""
    image: str = ""
    manifest: str = ""
    inputs: list[Input] = field(default_factory=list)
    kit: str = ""
    overridden: dict[str, Any] = field(default_factory=dict)


def read(folder: Path) -> list[Run]:
    """The runs of a folder, oldest first; none where there is no record. Lines that are no record are left out."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [run for line in text.split("\n") if (run := _run(line))]


def _run(line: str) -> Run | None:
    known = {one.name for one in fields(Run)}
    with suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
        found = {name: value for name, value in json.loads(line).items() if name in known}
        found["inputs"] = [Input(**one) for one in found.get("inputs", [])]
        if all(type(found[name]) is int for name in ("cluster", "jobs", "time")) and type(found["log"]) is str:
            return Run(**found)
    return None


def append(folder: Path, run: Run) -> None:
    """Adds a run to the record of `folder`: the file is whole before and after, whoever else writes to it.

    Raises:
        KitError: it cannot be written.
    """
    path = folder / FILE
    line = json.dumps(asdict(run), allow_nan=False).encode() + b"\n"
    try:
        with _alone(folder):
            before = path.read_bytes() if path.exists() else b""
            write_atomic(path, before + (b"" if before.endswith(b"\n") or not before else b"\n") + line)
    except OSError as fault:
        raise KitError(
            f"{path}: {fault.strerror}; job {run.cluster} is queued and not in this record. It goes on, and osgdl "
            "watch and osgdl report find it by its event log"
        ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def inputs(job: Submission) -> tuple[list[Input], str]:
    """What travels with the jobs of a submit file from here, and the name of the data manifest among it.

    Raises:
        KitError: a file cannot be read.
    """
    sent = [Transfer(job.executable.name, job.executable)] if job.executable else []
    found = [_input(one) for one in [*sent, *job.inputs]]
    return found, next((one.name for one in found if FILE_NAME.fullmatch(Path(one.name).name)), "")


def _input(sent: Transfer) -> Input:
    if sent.path is None or not sent.path.exists():  # condor_submit says that it is missing
        return Input(name=sent.text)
    try:
        files = _files(sent.path)
        sizes = [path.stat() for path in files]
        size = sum(one.st_size for one in sizes)
        newest = max((int(one.st_mtime) for one in sizes), default=None)
        small = size <= MOST_HASHED and len(files) <= MOST_FILES
        digest = _sha256(sent.path, files) if small else None
    except OSError as fault:
        raise KitError(f"{fault.filename}: {fault.strerror}; an input of the job has to be readable. Mend it") from None
    return Input(name=sent.text, bytes=size, sha256=digest, newest=newest)


def _files(path: Path) -> list[Path]:
    """The file, or all files of a folder by their paths, and no more than are needed to see that there are too many."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, _, names in os.walk(path):
        found += [Path(folder) / name for name in names if (Path(folder) / name).is_file()]
        if len(found) > MOST_FILES:
            break
    return sorted(found)


def _sha256(path: Path, files: Sequence[Path]) -> str:
    if not path.is_dir():
        return sha256(path)
    lines = (f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def sha256(path: Path) -> str:
    """Of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
