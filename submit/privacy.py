"""The privacy gate: what in a data set looks as if it identified a person. Nothing leaves before it has passed.

A report says what and where, never the value; so do exceptions. What is looked for stands in data/privacy.toml, and for
people in docs/privacy.md.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from submit import privacy_dicom, privacy_nifti, privacy_skull, privacy_text
from submit.privacy_words import Hit, Seen, judge, masked

UNREADABLE = "cannot be read, so cannot be checked"
HEAD = "looks like a head that isn't skull-stripped: a face can be made of it"
ARCHIVES = re.compile(r".*\.(?:zip|tar|tgz|tar\.\w+|7z|rar|zst|bz2|xz)", re.IGNORECASE)
# what may have a name in it that nobody sees from outside
OPAQUE = re.compile(
    r".*\.(?:pdf|docx?|xls|pptx?|odt|ods|rtf|png|jpe?g|tiff?|bmp|gif|webp|heic|mp4|avi|mov|mat|pkl|pickle|pt|pth|h5|hdf5"
    r"|sqlite3?|db|par|rec|parquet|feather|rda|rds|sav|mgz|mgh|mnc|eml|msg)",
    re.IGNORECASE,
)
VERBS = ("looks", "says", "cannot", "may", "is", "holds")
HERE = "the file's name", "a folder's name"


@dataclass(frozen=True)
class Finding:
    """`path`: relative to the root, what identifies in it starred. `serious` False: a warning, which stops nothing."""

    path: str
    where: str
    what: str
    serious: bool = True


def _no_bar(done: int, total: int) -> None:
    pass


def examine(
    root: Path, files: Sequence[Path], bar: Callable[[int, int], None] = _no_bar, *, skulls: bool = True
) -> list[Finding]:
    """Every finding in the files, in the order of their names: names first, then what is inside.

    Args:
        root: the data set's folder; its own name does not travel.
        files: relative to it, or absolute and below it.
        bar: told (done, total).
        skulls: look at one volume of each patient too; headers alone otherwise.
    """
    names = sorted({relative(root, file) for file in files})
    groups = privacy_skull.candidates([Path(name) for name in names if (root / name).is_file()]) if skulls else []
    total, found = len(names) + len(groups), []
    folders: set[str] = set()
    for done, name in enumerate(names, 1):
        shown = masked_path(name)
        found += [Finding(shown, one.where, one.what, one.serious) for one in _name(name, folders)]
        found += [Finding(shown, one.where, one.what, one.serious) for one in look(root / name)]
        bar(done, total)
    for done, group in enumerate(groups, len(names) + 1):
        # label files and masks say nothing: the next one then
        for file in group[:4]:
            head = privacy_skull.shows_a_head(root / file)
            if head:
                found.append(Finding(masked_path(file.as_posix()), "the picture", HEAD, serious=False))
            if head is not None:
                break
        bar(done, total)
    return found


def relative(root: Path, file: Path) -> str:
    """A file's name below the root, with forward slashes."""
    return (file.relative_to(root) if file.is_absolute() else file).as_posix()


def name_hits(part: str) -> list[Hit]:
    """What identifies in the name of one file or folder."""
    return judge(part, "name")


def masked_path(name: str) -> str:
    """A relative path with what identifies in it starred."""
    return "/".join(masked(part, name_hits(part)) for part in PurePosixPath(name).parts)


def _name(name: str, folders: set[str]) -> Iterator[Seen]:
    """A folder's name is said once, however many files are in it."""
    *above, last = PurePosixPath(name).parts
    for depth, part in enumerate(above, 1):
        folder = "/".join(above[:depth])
        if folder not in folders:
            folders.add(folder)
            yield from dict.fromkeys(Seen(HERE[1], hit.what, hit.serious) for hit in name_hits(part))
    yield from dict.fromkeys(Seen(HERE[0], hit.what, hit.serious) for hit in name_hits(last))


def look(path: Path) -> list[Seen]:
    """Every finding inside one file, each kind and place once."""
    try:
        if not path.is_file():  # a pipe would wait for ever, a dangling link is nothing
            return [Seen("the file", UNREADABLE)]
        return list(dict.fromkeys(reader(path)(path)))
    except (
        privacy_nifti.Unreadable,
        privacy_dicom.Unreadable,
        privacy_text.Unreadable,
        OSError,
        EOFError,
        zlib.error,
        UnicodeError,
        RecursionError,
        MemoryError,
    ):
        return [Seen("the file", UNREADABLE)]


def reader(path: Path) -> Callable[[Path], list[Seen]]:
    """What looks into a file: by its ending, and by its first bytes where the ending says nothing."""
    name = path.name.lower()
    if privacy_dicom.is_dicom(path):
        return privacy_dicom.examine
    if name.endswith(privacy_nifti.ENDINGS):
        return privacy_nifti.examine
    if name.endswith((".mha", ".mhd")):
        return privacy_text.of_metaimage
    if name.endswith((".nrrd", ".nhdr")):
        return privacy_text.of_nrrd
    if name.endswith(".xlsx"):
        return privacy_text.of_workbook
    plain = name.removesuffix(".gz")
    if plain.endswith(".json"):
        return _packed(privacy_text.of_json)
    if plain.endswith(tuple(privacy_text.TABLES)):
        return _packed(privacy_text.of_table)
    if plain.endswith((".raw", ".zraw")):
        return _nothing  # voxels; the header beside it says what they are
    if plain.endswith((".npy", ".npz")):
        return _numbers
    if ARCHIVES.fullmatch(name):
        return _archive
    if OPAQUE.fullmatch(plain):
        return _opaque
    return _packed(_any)


def _packed(read: Callable[[Path], list[Seen]]) -> Callable[[Path], list[Seen]]:
    return lambda path: privacy_nifti.gzip_names(path) + read(path)


def _any(path: Path) -> list[Seen]:
    try:
        return privacy_text.of_text(path)
    except privacy_text.Unreadable:
        return _opaque(path)


def _nothing(path: Path) -> list[Seen]:
    return []


def _numbers(path: Path) -> list[Seen]:
    """NumPy's arrays: numbers have no names, pickled objects may have any."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        for name in getattr(array, "files", ()):
            if array[name].dtype.kind not in "biufc":
                return [Seen("an array", UNREADABLE)]
        if not hasattr(array, "files") and array.dtype.kind not in "biufc":
            return [Seen("an array", UNREADABLE)]
    except Exception:  # whatever NumPy's reader raises
        return [Seen("the file", UNREADABLE)]
    return []


def _archive(path: Path) -> list[Seen]:
    return [Seen("the file", "is an archive: what is in it cannot be checked; unpack it")]


def _opaque(path: Path) -> list[Seen]:
    return [Seen("the file", "is of a kind that the gate cannot look into", serious=False)]


def describe(findings: Sequence[Finding]) -> list[str]:
    """Lines for people: one for a finding, however many files have it, with a count and an example; then what to do."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for one in sorted(findings, key=lambda one: not one.serious):
        groups.setdefault((one.where, one.what, one.serious), []).append(one.path)
    lines = []
    for (where, what, serious), paths in groups.items():
        kind = "found" if serious else "warning"
        files = len(set(paths))
        count = paths[0] if files == 1 else f"{files} files, such as {paths[0]}"
        says = "" if what.split()[0] in VERBS else "looks like "
        lines.append(f"{kind}: {where}: {says}{what} ({count})")
    kinds = {one.what for one in findings if one.serious}
    if kinds == {UNREADABLE}:
        lines.append("Nothing was sent. Mend these files, or leave them out.")
    elif kinds:
        lines.append(
            "Nothing was sent. Clean copies: --scrub DIR. Where all of it may leave (codes, shifted dates):"
            ' --i-know-it-is-allowed "reason", which goes into the manifest.'
        )
    elif findings:
        lines.append("Warnings stop nothing; look at each. Skull-strip or deface heads before you share them.")
    return lines
