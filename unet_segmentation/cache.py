"""A folder of prepared patients, which is all that training and prediction read: each is verified, prepared and
written once, and from then on only checked.

    FOLDER/<patient>/    an entry, see `entry`
    FOLDER/.new, .old    entries that are being written or replaced
    FOLDER/.lock         held by the process that prepares there

An entry counts as long as the settings are the same, the source files are (size and time of change; where the time
differs, their SHA-256), and its own checksums agree. Whatever else is found there is prepared anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from submit.runtime.exit_codes import BadInput
from submit.runtime.progress import Progress
from unet_segmentation import entry
from unet_segmentation.inspection import Report, inspect
from unet_segmentation.labels import Convention
from unet_segmentation.layouts import Dataset, Patient, Source
from unet_segmentation.prepare import CLIPPED, MASK_THRESHOLD, PLACES, Prepared
from unet_segmentation.prepare import prepare as normalised

# Raise it with every change to what preparing writes or verifying finds: entries made before it do not count
VERSION = 2
LOCK = ".lock"
# Each holds a patient: 9 million voxels times 4 bytes times all its images, about 0.3 GB of BraTS
MOST_WORKERS = 4


@dataclass(frozen=True)
class Result:
    """What `prepare` did.

    Attributes:
        prepared: the patients without fault, in the data set's order, memory-mapped.
        reports: of all patients, without their volumes.
        entries: what each prepared patient's about.json holds, for `fingerprint.write`.
        kept: how many of them were there already.
        bytes: of all entries.
        seconds: it took.
    """

    prepared: list[Prepared]
    reports: list[Report]
    entries: list[dict[str, Any]]
    kept: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        """`4 patients, 57 MB, 31 MB/s, 3 of them were there already`; the rate is of bytes written or checked."""
        count = len(self.prepared)
        rate = self.bytes / 1e6 / max(self.seconds, 1e-9)
        already = f", {self.kept} of them {'was' if self.kept == 1 else 'were'} there already" if self.kept else ""
        return f"{count} patient{'s' * (count != 1)}, {self.bytes / 1e6:.0f} MB, {rate:.0f} MB/s{already}"


class _Done(NamedTuple):
    report: Report
    about: dict[str, Any] | None  # None where there is a fault
    kept: bool
    again: str  # why an entry that was there did not count


def prepare(
    dataset: Dataset,
    modalities: Sequence[str],
    folder: Path,
    need_truth: bool,
    label: str = "preparing",
    workers: int | None = None,
) -> Result:
    """Verifies, prepares and writes every patient that is not in `folder` yet, several at a time; shows a progress
    bar, then one line on stderr for each entry that had to be made anew, and on stdout the size and rate.

    At most `workers` patients are in memory at once, however many there are. A kill at any moment loses those at
    work.

    Args:
        dataset: the patients.
        modalities: in channel order.
        folder: of the cache; made if it is missing.
        need_truth: whether a patient without truth is at fault.
        label: a word in front of the bar.
        workers: threads (decompression, hashing and arithmetic release the interpreter's lock); by default one for
            each core this process may use, at most MOST_WORKERS.

    Raises:
        BadInput: `folder` is a file.
        OSError: the disk is full, or the like.
    """
    convention = dataset.layout.convention
    work = partial(_one, folder=folder, convention=convention, modalities=modalities, need_truth=need_truth)
    done: list[_Done] = []
    with _locked(folder), ThreadPoolExecutor(workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)) as pool:
        entry.clean(folder)
        began, progress = time.perf_counter(), Progress(len(dataset.patients), label)
        for found in pool.map(work, dataset.patients):
            done.append(found)
            progress.update(len(done), found.report.patient.name)
        entry.clean(folder)
    progress.close(len(done))
    for found in done:
        if found.again:
            print(f"{folder / folder_name(found.report.patient.name)}: {found.again}; made anew", file=sys.stderr)
    entries = [found.about for found in done if found.about is not None]
    result = Result(
        prepared=[entry.Stored(folder / folder_name(about["name"]), about) for about in entries],
        reports=[found.report for found in done],
        entries=entries,
        kept=sum(found.kept for found in done),
        bytes=sum(entry.size(about) for about in entries),
        seconds=time.perf_counter() - began,
    )
    print(f"prepared   {result}")
    return result


def _one(patient: Patient, folder: Path, convention: Convention, modalities: Sequence[str], need_truth: bool) -> _Done:
    """One patient, from the cache or from its files."""
    try:
        place = folder / folder_name(patient.name)
        sources, settings = _sources(patient, modalities), settings_of(convention, modalities)
        again = ""
        try:
            if not patient.faults and ("truth" in sources or not need_truth):
                about = _valid(place, settings, sources)
                report = Report(patient, [], list(about["warnings"]), about["files"], about["facts"])
                return _Done(report, about, True, "")
        except FileNotFoundError:
            pass
        except entry.Damaged as fault:
            again = str(fault)
        before = {kind: _stat(source.path) for kind, source in sources.items()}
        report = inspect(patient, modalities, convention, need_truth)
        checked, report.checked = report.checked, None
        if checked is None:
            return _Done(report, None, False, "")
        made = normalised(patient.name, checked.images, checked.inside, checked.truth, convention)
        read = [*checked.images, *([checked.truth] if checked.truth else [])]
        digests = {volume.path: volume.sha256 for volume in read}
        about = entry.write(
            place,
            made,
            {
                "settings": settings,
                "sources": {
                    kind: {
                        "file": source.path.name,
                        "channel": source.channel,
                        "bytes": before[kind][0],
                        "mtime_ns": before[kind][1],
                        "sha256": digests.get(source.path) or _digest(source.path),
                    }
                    for kind, source in sources.items()
                },
                "files": report.files,
                "facts": report.facts,
                "warnings": list(report.warnings),
            },
        )
        return _Done(report, about, False, again)
    except Exception as fault:
        fault.add_note(f"while preparing {patient.name}")  # a pool of threads tells no one which patient it was
        raise


def settings_of(convention: Convention, modalities: Sequence[str]) -> dict[str, Any]:
    """All that an entry depends on but its files, as JSON values."""
    return {
        "version": VERSION,
        "modalities": list(modalities),
        "convention": convention.as_dict(),
        "mask_threshold": MASK_THRESHOLD,
        "clipped_std": CLIPPED,
        "places": PLACES,
    }


def _sources(patient: Patient, modalities: Sequence[str]) -> dict[str, Source]:
    """The files of a patient that are there, by what they are."""
    found = {name: patient.images[name] for name in modalities if name in patient.images}
    others = {"truth": patient.truth, "mask": patient.mask}
    return {**found, **{kind: Source(path, None) for kind, path in others.items() if path is not None}}


def _valid(place: Path, settings: dict[str, Any], sources: dict[str, Source]) -> dict[str, Any]:
    """What the entry in `place` holds, if it is whole and of these settings and files.

    Raises:
        FileNotFoundError: there is none.
        entry.Damaged: it does not count; says why.
    """
    about = entry.read(place)
    if about.get("settings") != settings:
        raise entry.Damaged("prepared with other settings")
    held = about["sources"]
    named = {kind: (source.path.name, source.channel) for kind, source in sources.items()}
    if {kind: (file["file"], file["channel"]) for kind, file in held.items()} != named:
        raise entry.Damaged("prepared from other files")
    touched = False
    for kind, source in sources.items():
        file = held[kind]
        size, changed = _stat(source.path)
        if size != file["bytes"] or (changed != file["mtime_ns"] and _digest(source.path) != file["sha256"]):
            raise entry.Damaged(f"{source.path.name} has changed")
        touched |= changed != file["mtime_ns"]
        file["mtime_ns"] = changed
    entry.check(place, about)
    if touched:  # copied or unpacked again: the next time need not read it
        entry.renew(place, about)
    return about


def _stat(path: Path) -> tuple[int, int]:
    """Bytes and the time of the last change in ns; nothing for a file that has just gone: whoever reads it will say."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_name(patient: str) -> str:
    """A patient's name as that of a folder, whatever characters it has; none begins with a dot."""
    name = quote(patient, safe=" +,=@")
    return name if not name.startswith(".") else f"%2E{name[1:]}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone in the cache: whoever comes second waits, and then finds everything there.

    Raises:
        BadInput: `folder` is a file, or below one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        raise BadInput(folder, "a file", "a folder for prepared patients", "name another, or remove it") from fault
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: another process prepares there; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems have no locks
            pass
        yield
