"""Who is held out: folds and hold-outs of whole persons, with the same share of each grade, and the file that says so.

Several time points of one person resemble each other: a network that was trained on one of them has seen the others.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from unet_segmentation.config import DataConfig
from unet_segmentation.patients import Patient

FORMAT = 1
Folds = tuple[tuple[str, ...], ...]  # names of the patients held out in each


def folds(patients: Sequence[Patient], count: int, seed: int) -> Folds:
    """Cuts the patients into folds: each is held out in one, all of a person in the same, the grades and sizes even.

    Persons are dealt grade after grade, those with most patients first, else at random, each to the fold that has
    fewest patients, and of those to the one with fewest of that grade. So no two folds differ in size by more than the
    patients of one person.

    Args:
        patients: of one data set.
        count: of folds, 2 or more.
        seed: the same patients and seed make the same folds, whatever the order of the patients.

    Raises:
        BadInput: fewer than two folds, or fewer persons than folds.
    """
    people = _people(patients)
    if not 2 <= count <= len(people):
        wanted = f"2 to {len(people)}: every fold holds out one person or more"
        raise BadInput("folds", str(count), wanted, "choose another number, or add patients")
    held: list[list[Patient]] = [[] for _ in range(count)]
    for person in _dealt(people, seed):
        grade = _grade(person)
        alike = [sum(patient.grade == grade for patient in fold) for fold in held]
        loads = [(len(fold), same, index) for index, (fold, same) in enumerate(zip(held, alike, strict=True))]
        held[min(loads)[2]].extend(person)
    return tuple(tuple(sorted(patient.name for patient in fold)) for fold in held)


def hold_out(patients: Sequence[Patient], share: float, seed: int) -> tuple[str, ...]:
    """The names of about `share` of the patients (above 0, below 1) drawn to be held out, whole persons, of each grade
    its share; at least one, and at least one person is left.

    Raises:
        BadInput: a single person.
    """
    people = _people(patients)
    if len(people) < 2:
        held = f"{_count(len(patients), 'patient')} of {_count(len(people), 'person')}"
        mend = "add patients, or make the folders train and validation"
        raise BadInput("data", held, "2 persons or more: one is held out", mend)
    chosen: list[list[Patient]] = []
    seen = held_out = 0.0
    by_grade: defaultdict[str, list[list[Patient]]] = defaultdict(list)
    for person in _dealt(people, seed):
        by_grade[_grade(person)].append(person)
    for group in by_grade.values():
        seen += share * sum(map(len, group))
        for person in group:
            if held_out + len(person) / 2 <= seen and len(chosen) < len(people) - 1:
                chosen.append(person)
                held_out += len(person)
    chosen = chosen or [min(_dealt(people, seed), key=len)]
    return tuple(sorted(patient.name for person in chosen for patient in person))


def drawn(patients: Sequence[Patient], config: DataConfig, seed: int) -> frozenset[str]:
    """The names of those held out: a fold of `data.splits`, else fold `data.fold` of `data.folds` drawn with `seed`,
    else a hold-out drawn so.

    Raises:
        BadInput: as `read`, `folds` and `hold_out`; no such fold.
    """
    if config.splits:
        held = read(Path(config.splits), patients)
    elif config.folds:
        held = folds(patients, config.folds, seed)
    else:
        held = (hold_out(patients, config.validation_fraction, seed),)
    if config.fold >= len(held):
        where = config.splits or ("data.folds" if config.folds else "")
        wanted = f"0 to {len(held) - 1}, as {where} has" if where else "0, as there are no folds"
        mend = "--set data.fold=0" if where else "set data.folds or data.splits"
        raise BadInput("data.fold", str(config.fold), wanted, mend)
    return frozenset(held[config.fold])


def shared(training: Iterable[Patient], validation: Iterable[Patient]) -> tuple[Patient, Patient] | None:
    """A patient to train on and one to score that are one person; None where there are none."""
    people = {patient.subject: patient for patient in training}
    return next(((people[one.subject], one) for one in validation if one.subject in people), None)


def write(path: Path, patients: Sequence[Patient], held: Folds, seed: int) -> None:
    """Writes the folds, atomically: {"format", "seed", "folds": [{"validation": [name, ...]}, ...], "patients": {name:
    {"subject", "grade"}}}.
    """
    people = {p.name: {"subject": p.subject, "grade": p.grade} for p in sorted(patients, key=lambda p: p.name)}
    write_json(
        path,
        {"format": FORMAT, "seed": seed, "folds": [{"validation": list(names)} for names in held], "patients": people},
    )


def read(path: Path, patients: Sequence[Patient]) -> Folds:
    """The folds of a file, which must fit the patients of the data.

    Raises:
        BadInput: no file of folds; a patient that is not in the data, in no fold or in two; a person in two folds.
    """
    mend = f"write it again: python -m unet_segmentation split --data DIR --out {path}"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(tuple(fold["validation"]) for fold in held["folds"])
        people = {name: entry["subject"] for name, entry in held.get("patients", {}).items()}
        known = held["format"] == FORMAT and len(names) > 1 and all(names)
        texts = (*(name for fold in names for name in fold), *people.values())
        if not known or not all(isinstance(text, str) for text in texts):
            raise ValueError('not of the form {"format": 1, "folds": [{"validation": ["name"]}, ...]}')
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise BadInput(path, f"no folds ({type(fault).__name__}: {fault})", "splits.json", mend) from fault
    data = {patient.name: patient.subject for patient in patients}
    listed = Counter(name for fold in names for name in fold)
    unknown = sorted(set(listed) - set(data))
    if unknown:
        raise BadInput(path, f"{unknown[0]}{_more(unknown)}, not in the data", "patients of the data", mend)
    missing = sorted(set(data) - set(listed))
    if missing:
        raise BadInput(path, f"{missing[0]}{_more(missing)} of the data in no fold", "every patient in one", mend)
    twice = sorted(name for name, times in listed.items() if times > 1)
    if twice:
        raise BadInput(path, f"{twice[0]}{_more(twice)} more than once", "every patient in one fold", mend)
    for subjects in (data, people):
        first: dict[str, tuple[int, str]] = {}
        for number, fold in enumerate(names):
            for name in fold:
                other = first.setdefault(subjects.get(name, name), (number, name))
                if other[0] != number:
                    said = f"{other[1]} in fold {other[0]} and {name} in fold {number}, one person"
                    raise BadInput(path, said, "all patients of a person in one fold", mend)
    return names


def describe(patients: Sequence[Patient], held: Folds) -> list[str]:
    """A line of each fold: its patients, persons and grades."""
    known = {patient.name: patient for patient in patients}
    lines = []
    for number, names in enumerate(held):
        grades = Counter(known[name].grade for name in names)
        persons = len({known[name].subject for name in names})
        said = ", ".join(f"{count} {grade or 'of unknown grade'}" for grade, count in sorted(grades.items()))
        lines.append(f"fold {number:<5} {_count(len(names), 'patient')} of {_count(persons, 'person')}: {said}")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _people(patients: Sequence[Patient]) -> Mapping[str, list[Patient]]:
    """The patients of each person, in an order of their own."""
    people: dict[str, list[Patient]] = {}
    for patient in sorted(patients, key=lambda patient: (patient.subject, patient.name)):
        people.setdefault(patient.subject, []).append(patient)
    return people


def _grade(person: Sequence[Patient]) -> str:
    """Of most of a person's patients; HGG before LGG where they are as many: tumours progress."""
    return min(Counter(patient.grade for patient in person).items(), key=lambda item: (-item[1], item[0]))[0]


def _dealt(people: Mapping[str, list[Patient]], seed: int) -> list[list[Patient]]:
    """Grade after grade, in each those with most patients first, else at random."""
    order = np.random.default_rng([seed, 0]).permutation(len(people)).tolist()
    persons = [list(people.values())[index] for index in order]
    return sorted(persons, key=lambda person: (_grade(person), -len(person)))
