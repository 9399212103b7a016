"""`osgdl stage` for people: what was asked as the code wants it, what was done, and what to type next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from submit import inventory, scrub, stage_lines, stage_store, units
from submit.description import Description
from submit.errors import StageError, wrong
from submit.origin import bytes_words
from submit.stage_lines import Change
from submit.staged import Staged


def size(text: str) -> int:
    """`500MB` in bytes.

    Raises:
        StageError: no size.
    """
    try:
        return units.mebibytes(text) << 20
    except ValueError as fault:
        what, _, wanted = str(fault).partition("; ")
        raise StageError(wrong("--shard-size", text, what, wanted, "E.g. --shard-size 500MB")) from None


def scrubbed(source: Path, out: Path, bar: Callable[[str], Any], say: Callable[[str], None]) -> Path:
    """Clean copies of the source's files, in `out`; says how many were cleaned and renamed, never what was in them.

    Raises:
        StageError: a file cannot be cleaned, or `out` is not empty.
    """
    found = inventory.take(source)
    with bar("writing clean copies") as told:
        done = scrub.scrub(source, [Path(entry.path) for entry in found.entries], out, told)
    cleaned, renamed = sum(one.cleaned for one in done), sum(one.name != one.was for one in done)
    say(f"{out}: {len(done)} copies, {cleaned} of them cleaned, {renamed} renamed; voxels and affines are the same")
    return out


def senders(project: Path) -> list[Path]:
    """The submit files of a folder that send `data`."""
    return [file for file in sorted(project.glob("*.sub")) if Description.read(file).get("data") is not None]


def takers(manifest: Path, files: Sequence[Path]) -> list[Path]:
    """Those that can work with a manifest's data: predicting and scoring need images; prepared patients are none."""
    if stage_store.read(manifest).kind != "prepared":
        return list(files)
    return [file for file in files if _task(file) not in stage_lines.NEED_IMAGES]


def _task(file: Path) -> str:
    """What run.sh is asked to do."""
    return (Description.read(file).get("arguments") or "").lstrip('" ').partition(" ")[0]


def edited(done: Staged, project: Path) -> list[Change]:
    """Writes the lines into the project's submit files: those that send `data`.

    Raises:
        KitError: one of them cannot be changed by a program.
    """
    files = senders(project)
    if not files:
        return []
    folds = [path for (_, part), path in done.views.items() if part != "validation"]
    if folds:  # who is held out is scored by a job of its own, with a model that there isn't yet
        return stage_lines.use_folds(folds, [file for file in files if _task(file) == "train"])
    return stage_lines.use(done.manifest, takers(done.manifest, files))


def text(done: Staged, changes: Sequence[Change]) -> str:
    """A line for each object, and the sums."""
    lines = []
    for one in done.objects:
        lines.append(f"{'uploaded' if one.uploaded else 'was there':<10}{bytes_words(one.bytes):>10}  {one.name}")
    sent = sum(one.bytes for one in done.objects if one.uploaded)
    total = sum(one.bytes for one in done.objects)
    if done.unchanged:
        lines.append(f"nothing changed since it was staged, nothing to do: {bytes_words(total)} are there")
    else:
        lines.append(f"{bytes_words(sent)} uploaded of {bytes_words(total)}")
    lines += [changed(changes)] if any(change.lines for change in changes) else []
    lines.append(f"manifest: {done.manifest}")
    lines += [f"fold {fold}, {part}: {path}" for (fold, part), path in done.views.items()]
    return "\n".join(lines)


def changed(changes: Sequence[Change]) -> str:
    """The lines that were written."""
    lines = [f"{change.path}: {line}" for change in changes for line in change.lines]
    return "\n".join(lines or ["the submit files here were so already"])


def changes_notes(changes: Sequence[Change]) -> list[str]:
    """What their users should know."""
    return [f"{change.path}: {note}" for change in changes for note in change.notes]


def notes(done: Staged, changes: Sequence[Change]) -> list[str]:
    """Warnings, and what to do next."""
    lines = [*done.findings, *changes_notes(changes)]
    if changes:
        files = " ".join(str(change.path) for change in changes if change.lines)
        lines.append(
            f"next: osgdl check && condor_submit {changes[-1].path}" + (f"   (changed: {files})" if files else "")
        )
    else:
        lines.append(f"next: osgdl stage use {done.manifest} FILE.sub, in a project's folder")
    return lines
