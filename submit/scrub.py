"""Clean copies of a data set: what the privacy gate finds is taken out, what a network learns from stays, bit for bit.

A file in which nothing was found is copied as it is. Of the others the voxels and the affine are proven by their
SHA-256 before and after, and the gate looks at the copy again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from submit import privacy, privacy_dicom, privacy_nifti, privacy_text, scrub_dicom, scrub_files
from submit.errors import StageError
from submit.privacy_words import Seen
from submit.runtime.files import sync_folder

NEUTRAL = "case-{:04d}"  # in place of what identifies in a name
SHOWN = 5  # files that a message names


@dataclass(frozen=True)
class Scrubbed:
    """`path`: the source's name, starred; `name`: the copy's, both relative. `was`: the source's own name, which a
    caller must not print or write into the copies. `cleaned`: something inside was taken out. `voxels`, `affine`:
    SHA-256 of their bytes, the same before and after; empty where there are none or the file was copied whole.
    """

    path: str
    name: str
    was: str = field(repr=False)
    cleaned: bool = False
    voxels: str = ""
    affine: str = ""


def scrub(
    root: Path, files: Sequence[Path], out: Path, bar: Callable[[int, int], None] = lambda done, total: None
) -> list[Scrubbed]:
    """Writes clean copies of all files into `out`, in the order of their names.

    Args:
        root: the data set's folder.
        files: relative to it, or absolute and below it.
        out: a new or an empty folder, outside of `root`.
        bar: told (done, total).

    Raises:
        StageError: `out` holds something or lies in `root`, a file cannot be cleaned (then nothing is written), or a
            copy is not what it should be (then that copy is not there).
    """
    _check_folder(root, out)
    names = sorted({privacy.relative(root, file) for file in files})
    total = 2 * len(names)
    seen: dict[str, list[Seen]] = {}
    for done, name in enumerate(names, 1):
        seen[name] = privacy.look(root / name)
        bar(done, total)
    _refuse(root, seen)
    codes = _codes(names)
    renamed = {name: "/".join(_neutral(part, codes) for part in PurePosixPath(name).parts) for name in names}
    _check_distinct(renamed)
    persons = scrub_dicom.Persons()
    written = []
    for done, name in enumerate(names, len(names) + 1):
        written.append(_copy(root, out, name, renamed[name], seen[name], codes, persons))
        bar(done, total)
    return written


def _check_folder(root: Path, out: Path) -> None:
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise StageError("--scrub: the folder lies in the data set or around it; a folder beside it. Name another one.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StageError(
            "--scrub: the folder is not empty; a new or an empty one. Where it holds all the copies, stage it: "
            "osgdl stage DIR DEST; else empty it, or name another one."
        )


def _refuse(root: Path, seen: Mapping[str, list[Seen]]) -> None:
    """Before anything is written: the files that only a person can clean."""
    refused = [
        f"{privacy.masked_path(name)} ({next(one for one in found if one.serious).what})"
        for name, found in seen.items()
        if any(one.serious for one in found) and not _can_be_cleaned(root / name, found)
    ]
    if refused:
        more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        raise StageError(
            f"--scrub: cannot be cleaned: {', '.join(refused[:SHOWN])}{more}; files without such findings. "
            "Clean them by hand or leave them out; nothing was written."
        )


def _can_be_cleaned(path: Path, found: list[Seen]) -> bool:
    never = {privacy.UNREADABLE, "says that writing is in the picture itself"}
    return scrub_files.cleaner(path) is not None and not any(one.what in never for one in found)


def _codes(names: Sequence[str]) -> dict[str, str]:
    """What identifies in the names, and what stands there instead: the same for the same text everywhere."""
    parts = sorted({part for name in names for part in PurePosixPath(name).parts})
    found = sorted({part[start:end] for part in parts for start, end in _spans(part)})
    # longest first: one may be a part of another
    return dict(sorted(((text, NEUTRAL.format(number)) for number, text in enumerate(found, 1)), key=_longest))


def _longest(item: tuple[str, str]) -> tuple[int, str]:
    return -len(item[0]), item[0]


def _spans(part: str) -> Iterator[tuple[int, int]]:
    """The places of hits, those that touch as one."""
    at: tuple[int, int] | None = None
    for hit in sorted(privacy.name_hits(part)):
        if at and hit.start <= at[1]:
            at = at[0], max(at[1], hit.end)
            continue
        if at:
            yield at
        at = hit.start, hit.end
    if at:
        yield at


def _neutral(part: str, codes: Mapping[str, str]) -> str:
    for start, end in reversed(list(_spans(part))):
        part = part[:start] + codes[part[start:end]] + part[end:]
    return part


def _check_distinct(renamed: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, new in renamed.items():
        if new in first:
            raise StageError(
                f"--scrub: {privacy.masked_path(first[new])} and {privacy.masked_path(name)} get the same name; names "
                "that differ in more than what identifies. Rename one of them."
            )
        first[new] = name


def _copy(
    root: Path,
    out: Path,
    name: str,
    new: str,
    found: list[Seen],
    codes: Mapping[str, str],
    persons: scrub_dicom.Persons,
) -> Scrubbed:
    source, target = root / name, out / new
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}.tmp.{target.name}")
    clean = scrub_files.cleaner(source)
    # the text of a header may name another file, which has a new name now
    needed = bool(clean) and (bool(found) or (bool(codes) and privacy.reader(source) is not privacy_nifti.examine))
    voxels = affine = ""
    try:
        if clean and needed:
            clean(source, temporary, codes, persons)
            before, after = scrub_files.proof(source), scrub_files.proof(temporary)
            if before != after:
                raise StageError(
                    f"--scrub: {privacy.masked_path(name)}: the copy's voxels or affine are not the source's; the same "
                    "bytes. The copy was not kept; please report this."
                )
            voxels, affine = before
        else:
            shutil.copyfile(source, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except (privacy_nifti.Unreadable, privacy_text.Unreadable, privacy_dicom.Unreadable, OSError, EOFError) as fault:
        words = f"{type(fault).__name__}" + (
            f", {fault.strerror}" if isinstance(fault, OSError) and fault.strerror else ""
        )
        raise StageError(
            f"--scrub: {privacy.masked_path(name)}: cannot be copied ({words}); a whole file, and room for its copy. "
            "Copy it again from where it came."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    left = [one for one in privacy.look(target) if one.serious]
    if left:
        target.unlink()
        raise StageError(
            f"--scrub: {privacy.masked_path(name)}: the copy still has something ({left[0].where}: {left[0].what}); "
            "nothing. The copy was not kept; clean the file by hand."
        )
    return Scrubbed(privacy.masked_path(name), new, name, bool(found) and needed, voxels, affine)
