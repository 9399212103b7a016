"""Patients: which of the files below a folder belongs to whom, by the names that a layout gives them."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from submit.runtime.exit_codes import BadInput
from unet_segmentation.naming import Layout

ABOVE = 2  # folders that may lie between the one named and the data set's own, as archives unpack

Parts = tuple[str, ...]  # a path; where it begins, a tree says


class Source(NamedTuple):
    """Where an image lies: a file, and which channel of a four-dimensional one (from 0), None in a file of its own."""

    path: Path
    channel: int | None = None


@dataclass(frozen=True)
class Patient:
    """One patient's files; what is not there is left out of `images`, or None.

    Attributes:
        name: unique in the data set.
        folder: where the files are, or below it.
        images: by modality.
        truth: the label file.
        mask: of the brain.
        expected: the name of each file, there or not, from `folder` on; for messages.
        subject: the person; several time points share it.
        grade: 'HGG', 'LGG' or ''.
        notes: what is unusual and accepted.
        faults: files that cannot be told apart.
    """

    name: str
    folder: Path
    images: Mapping[str, Source]
    truth: Path | None
    mask: Path | None
    expected: Mapping[str, str]
    subject: str
    grade: str
    notes: tuple[str, ...] = ()
    faults: tuple[BadInput, ...] = field(default=(), compare=False)


class _Match(NamedTuple):
    """A file that fits a template; the lowest is preferred."""

    template: int  # which of the alternatives
    ending: int
    parts: Parts


class _Key(NamedTuple):
    """What tells two patients of one layout apart."""

    above: Parts
    grade: str  # the folder's name
    patient: str


class Tree(NamedTuple):
    """The files below a folder.

    `names` are the last ones of the folder's own path: a layout may need to see that it is called HGG, or lies in
    Image_Data. Every file's path begins with them.
    """

    folder: Path
    names: Parts
    files: list[Parts]

    def path(self, parts: Parts) -> Path:
        """A path in the words in which the folder was named; a shorter one than `names` leads to a folder above it."""
        above = len(self.names) - len(parts)
        return (
            self.folder.joinpath(*parts[len(self.names) :]) if above <= 0 else _absolute(self.folder).parents[above - 1]
        )


def walk(folder: Path, depth: int) -> Tree:
    """Every file below a folder, as deep as one of `depth` parts can lie; names that begin with a dot are passed over.
    Links are followed: large data sets are often linked together. The depth ends a circle.
    """
    root = _absolute(folder)
    names = root.parts[1:][-depth:]
    files: list[Parts] = []
    for current, below, found in os.walk(root, followlinks=True):
        inside = Path(current).relative_to(root).parts
        below[:] = sorted(name for name in below if name[0] != "." and len(inside) + 1 < ABOVE + depth)
        files += [(*names, *inside, name) for name in sorted(found) if name[0] != "."]
    return Tree(folder, names, files)


def gather(tree: Tree, layout: Layout) -> tuple[Patient, ...]:
    """The patients that have an image, by name.

    Raises:
        BadInput: a table of grades that cannot be read.
    """
    found: defaultdict[_Key, defaultdict[str, list[_Match]]] = defaultdict(lambda: defaultdict(list))
    templates = [
        (kind, index, template)
        for kind, alternatives in layout.templates.items()
        for index, template in enumerate(alternatives)
    ]
    for parts in tree.files:
        if not parts[-1].endswith(layout.endings):
            continue
        for kind, index, template in templates:
            above = len(parts) - template.parts
            if not 0 <= above <= len(tree.names) + ABOVE:
                continue
            match = template.pattern.fullmatch("/".join(parts[above:]))
            if match and re.fullmatch(layout.patient, match["patient"]):
                key = _Key(parts[:above], match.groupdict().get("grade", ""), match["patient"])
                found[key][kind].append(_Match(index, layout.endings.index(match["ending"]), parts))
    tables = {above: _grades(tree.path(above), layout) for above in {key.above for key in found}}
    patients = [
        _patient(tree, layout, key, matches, tables[key.above].get(key.patient, ""))
        for key, matches in found.items()
        if any(modality in matches for modality in layout.modalities)
    ]
    return tuple(sorted(patients, key=lambda patient: (patient.name, str(patient.folder))))


def _patient(tree: Tree, layout: Layout, key: _Key, found: Mapping[str, list[_Match]], grade: str) -> Patient:
    name = layout.title.format(patient=key.patient, grade=key.grade)
    inside = len(key.above) + layout.folders
    ending = layout.endings[min(match.ending for matches in found.values() for match in matches)]
    expected = {
        kind: "/".join((templates[0].filled(key.patient, key.grade) + ending).split("/")[layout.folders :])
        for kind, templates in layout.templates.items()
        if templates
    }
    best, notes, faults = {}, [], []
    for kind, matches in found.items():
        first, *others = sorted(matches)
        best[kind] = tree.path(first.parts)
        short = "/".join(first.parts[inside:])
        if first.template:
            notes.append(f"{name}/{short}: taken as the {kind}; {expected[kind]} is not there")
        if others and others[0][:2] == first[:2]:
            held = f"a second {kind} file beside {'/'.join(others[0].parts[inside:])}"
            faults.append(BadInput(f"{name}/{short}", held, "one", "remove one of them"))
    return Patient(
        name=name,
        folder=tree.path(first.parts[:inside]),
        images={kind: Source(best[kind], layout.channels.get(kind)) for kind in layout.modalities if kind in best},
        truth=best.get("truth"),
        mask=best.get("mask"),
        expected=expected,
        subject=layout.title.format(patient=layout.person(key.patient), grade=key.grade),
        grade=layout.grades.get(key.grade, grade),
        notes=tuple(notes),
        faults=tuple(faults),
    )


def _absolute(folder: Path) -> Path:
    """Without `..`, and with links as they are: their names count, not those of what they point to."""
    return Path(os.path.abspath(folder))  # noqa: PTH100


def _grades(folder: Path, layout: Layout) -> Mapping[str, str]:
    """The grade of each patient from the layout's table; empty where there is none."""
    if not layout.grade_file:
        return {}
    path = folder / layout.grade_file["file"]
    patient, grade = layout.grade_file["patient"], layout.grade_file["grade"]
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in (patient, grade) if name not in (rows.fieldnames or ())]
            if missing:
                held = f"no column {missing[0]}"
                raise BadInput(path, held, f"columns {patient} and {grade}", "copy it again, or remove it")
            return {row[patient]: row[grade] or "" for row in rows if row[patient]}
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise BadInput(path, f"unreadable ({fault})", "a table in CSV", "copy it again, or remove it") from fault
