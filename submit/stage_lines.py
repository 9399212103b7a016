"""The lines about staged data in a project's submit files: what travels, its disk, and where large results go."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submit import disk
from submit.description import Description
from submit.errors import StageError, wrong
from submit.origin import bytes_words
from submit.runtime import manifest as manifests
from submit.runtime.files import write_atomic
from submit.runtime.manifest import Manifest
from submit.submission import Submission

DATA, OBJECTS = "data", "data_objects"
INPUTS, OUTPUTS, REMAPS = "transfer_input_files", "transfer_output_files", "transfer_output_remaps"
NEED_IMAGES = ("predict", "evaluate")  # tasks of run.sh that prepared patients are not enough for
ARCHIVE = "large.tar"  # of the results that go to the OSDF
LIMIT = "OSGDL_LARGER_THAN"  # what run.sh looks for
# Every start of every job has a name of its own: to one that is taken the upload fails, and the job is held (12/256).
# NumShadowStarts is undefined at the first start, and plain $$([NumShadowStarts]) would hold the job
START = "$(Cluster).$(Process)-$$([NumShadowStarts ?: 0])"

_ONE_JOB = re.compile(r"\s*queue(?:\s+1)?\s*", re.IGNORECASE)
_FOLDS = re.compile(r"\s*queue data, data_objects from \S*-folds-[0-9a-f]{12}\.txt\s*")
_DEST = re.compile(r"osdf://(?:/[A-Za-z0-9_~+@][A-Za-z0-9._~+@=-]*)+")
_SIZE = re.compile(r"[1-9][0-9]{0,6}(?:kB|MB|GB)")
# HTCondor's transfer of a job's files (OSPool guide, managing_data/overview)
_MOST_BY_TRANSFER = 10**9


@dataclass(frozen=True)
class Change:
    """What was written into one submit file, and what its user should know about it."""

    path: Path
    lines: tuple[str, ...]
    notes: tuple[str, ...]


def use(manifest: Path, files: Sequence[Path], image_bytes: int | None = None) -> list[Change]:
    """Makes submit files send one manifest and its shards, with disk enough; comments stay. Repeated, nothing changes.

    All files are worked out before the first is written.

    Args:
        image_bytes: of the image's file, where it cannot be seen from here.

    Raises:
        StageError: it is no manifest, or a file or place has a name that submit files cannot take.
        KitError: a file cannot be read, or sets one of the lines in a way that only a person can change.
    """
    held = _read(manifest)
    worked = []
    for path in files:
        file = _File(path)
        task = file.job.raw("arguments").lstrip('" ').partition(" ")[0]
        if held.kind == "prepared" and task in NEED_IMAGES:
            raise StageError(
                f"{path}: cannot {task} with {manifest.name}: prepared patients, and it needs their images. "
                "Name the manifest of the images, or leave this file out"
            )
        if _FOLDS.fullmatch(file.description.queue()):
            file.description.set_queue("queue 1")
        elif file.job.queue_variables & {DATA, OBJECTS}:
            statement = file.description.queue().strip()
            raise StageError(
                f"{path}:{file.job.queue_line}: {statement}; sets the data itself. Write `queue 1` there, "
                "or keep its list by hand"
            )
        file.set_plainly(DATA, file.relative(manifest))
        file.description.set(OBJECTS, ", ".join(_objects(held)), beside=DATA)
        file.finish([held], image_bytes)
        worked.append(file)
    return [file.written() for file in worked]


def use_folds(views: Sequence[Path], files: Sequence[Path], image_bytes: int | None = None) -> list[Change]:
    """Makes submit files queue a job for each manifest, which gets the shards of that one alone. Else as `use`, which
    takes it back.
    """
    held = [_read(view) for view in views]
    worked, lists = [], {}
    for path in files:
        file = _File(path)
        statement = file.description.queue()
        if not _ONE_JOB.fullmatch(statement) and not _FOLDS.fullmatch(statement):
            raise StageError(
                f"{path}:{file.job.queue_line}: {statement.strip() or 'no queue'}; want `queue 1`, which becomes a job "
                "for each fold. Change that line by hand"
            )
        rows = [
            f"{file.relative(view)} {', '.join(_objects(one))}\n" for view, one in zip(views, held, strict=True)
        ]  # the last variable of a row takes all that is left of it
        content = "".join(rows).encode()
        listed = views[0].parent / f"{held[0].name}-folds-{hashlib.sha256(content).hexdigest()[:12]}.txt"
        lists[listed] = content
        file.description.set_queue(f"queue {DATA}, {OBJECTS} from {file.relative(listed)}")
        file.finish(held, image_bytes)
        file.notes.append(
            f"a job for each of {len(views)} folds; their data win over data=... on the command line. "
            "`osgdl stage use MANIFEST` goes back to one job"
        )
        worked.append(file)
    for listed, content in lists.items():
        write_atomic(listed, content)
    return [file.written() for file in worked]


def results(dest: str, files: Sequence[Path], larger_than: str = "100MB") -> list[Change]:
    """Makes jobs put the results' large files into an archive on the OSDF, under a name that no other start of any job
    has: DEST/CLUSTER.PROCESS-START/large.tar. Else as `use`.

    Args:
        larger_than: such as 100MB; HTCondor's own transfer brings the smaller files home as before.

    Raises:
        StageError: `dest` or the size is none, or a file does not list what comes back.
    """
    dest = dest.rstrip("/")
    if not _DEST.fullmatch(dest):
        wanted = "a folder such as osdf:///ospool/AP/data/USER/results is wanted"
        raise StageError(wrong("DEST", dest, "no place on the OSDF", wanted, "Name one"))
    if not _SIZE.fullmatch(larger_than):
        wanted = "a whole number and kB, MB or GB is wanted"
        raise StageError(wrong("--larger-than", larger_than, "no size", wanted, "E.g. --larger-than 100MB"))
    worked = []
    for path in files:
        file = _File(path)
        file.add_archive(f"{ARCHIVE} = {dest}/{START}/{ARCHIVE}")
        file.set_limit(larger_than)
        if LIMIT not in file.job.script:
            file.notes.append(
                f"a job that leaves without {ARCHIVE} is held: let its script end with "
                f"`python3 -m submit.runtime.outputs RESULT {ARCHIVE} --larger-than {larger_than}`"
            )
        worked.append(file)
    return [file.written() for file in worked]


class _File:
    """A submit file on its way from what it says to what it is to say."""

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, list[str]()
        self.description = Description.read(path)
        self.before = self.description.text
        self.job = Submission(Description(self.before, path))  # as it was

    def relative(self, path: Path) -> str:
        """`path` as the submit file names it: from its folder on, where no other folder is said."""
        shown = str(path.resolve()) if self.job.has("initialdir") else os.path.relpath(path, self.path.parent)
        if re.search(r"[\s,;$\"'\\]", shown):
            raise StageError(
                wrong("manifest", shown, "no name for a submit file", "no blanks, commas or quotes", "Move it")
            )
        return shown

    def set_plainly(self, name: str, value: str) -> None:
        self.description.set(name, value)
        commands = self.description.commands()
        if not any(command.name.lower() == name and command.unless for command in commands):
            self.notes.append(
                "the job finds the manifest and its shards in its folder: let it begin with "
                "`python3 -m submit.runtime.inputs MANIFEST`, or give the trainer --data MANIFEST"
            )

    def finish(self, held: Sequence[Manifest], image_bytes: int | None) -> None:
        """What follows from the data for the other lines."""
        listed = self.description.get(INPUTS)
        wanted = [f"$({DATA})", f"$({OBJECTS}:)"]
        missing = [
            entry for name, entry in zip((DATA, OBJECTS), wanted, strict=True)
            if not re.search(rf"\$\(\s*{name}\s*[:)]", listed or "", re.IGNORECASE)
        ]  # fmt: skip
        if listed is None:
            self.description.set(INPUTS, ", ".join(missing))
        elif missing:
            separator = "" if not listed else " " if listed.endswith(",") else ", "
            self.description.append(INPUTS, separator + ", ".join(missing))
        need = disk.needed(held, self.job, image_bytes)
        value, notes = disk.request(need, self.job)
        if value:
            self.description.set("request_disk", value)
        self.notes += notes
        sent = max((one.bytes for one in held if "://" not in one.at), default=0)
        if sent > _MOST_BY_TRANSFER:
            self.notes.append(
                f"{bytes_words(sent)} leave the access point for each job: stage them to osdf:///ospool/..."
            )

    def add_archive(self, pair: str) -> None:
        """The archive among what comes back, and where it goes instead."""
        listed = self.description.get(OUTPUTS)
        if not listed:
            raise StageError(
                f"{self.path}: {OUTPUTS} is not set, so that all new files come home; want the results listed. "
                f"Write `{OUTPUTS} = results`, or what they are called"
            )
        if ARCHIVE not in [entry.strip() for entry in listed.split(",")]:
            self.description.append(OUTPUTS, f", {ARCHIVE}")
        remaps = self.description.get(REMAPS) or '""'
        if len(remaps) < 2 or not remaps[0] == remaps[-1] == '"':
            raise StageError(f"{self.path}: {REMAPS} = {remaps}; want it in double quotes. Put them there")
        others = [one.strip() for one in remaps[1:-1].split(";") if one.strip()]
        kept = [one for one in others if one.split("=")[0].strip() != ARCHIVE]
        self.description.set(REMAPS, f'"{"; ".join([*kept, pair])}"', beside=OUTPUTS)

    def set_limit(self, larger_than: str) -> None:
        """The size, in the job's environment."""
        name = "env" if self.description.get("env") is not None else "environment"
        value, setting = self.description.get(name) or '""', f"{LIMIT}={larger_than}"
        if LIMIT in value:
            value = re.sub(rf"{LIMIT}=[^\s;\"']*", setting, value)
        elif len(value) > 1 and value[0] == value[-1] == '"':
            value = f'"{f"{value[1:-1].rstrip()} {setting}".lstrip()}"'
        else:  # the old syntax
            value = f"{value.rstrip(';')};{setting}"
        self.description.set(name, value, beside=REMAPS)

    def written(self) -> Change:
        """Writes the file, where anything changed."""
        was = self.before.split("\n")
        lines = tuple(line.strip() for line in self.description.text.split("\n") if line not in was)
        if self.description.text != self.before:
            self.description.write()
        return Change(self.path, lines, tuple(self.notes))


def _read(path: Path) -> Manifest:
    try:
        return manifests.read(path)
    except manifests.Damaged as fault:
        raise StageError(f"{path}: {fault}; a manifest that `osgdl stage` wrote is wanted. See staged/") from None


def _objects(held: Manifest) -> list[str]:
    """Where the shards come from: URLs, or paths."""
    found = [f"{held.at.rstrip('/')}/{shard.name}" for shard in held.shards]
    for name in found:
        if re.search(r"[,$\"'\\\r\n]", name) or not name.isprintable():
            raise StageError(
                wrong("at", name, "no name for a submit file", "no commas, quotes or $ in it", "Stage it elsewhere")
            )
    return found
