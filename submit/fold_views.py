"""The folds of staged data: which manifests of staged/ belong to the data that a project's train.sub sends."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submit.errors import KitError, wrong
from submit.runtime import manifest as manifests
from submit.runtime.manifest import Manifest
from submit.submission import Submission

_LISTED = re.compile(r"\s*queue data, data_objects from (\S+)\s*", re.IGNORECASE)  # as `osgdl stage --splits` writes it
_STAGE = "Stage them: osgdl stage SOURCE DEST --splits splits.json"


@dataclass(frozen=True)
class View:
    """A manifest and where it lies."""

    path: Path
    held: Manifest


@dataclass(frozen=True)
class Views:
    """Of each fold what its training gets, and what scoring it needs; none where its training scores it itself."""

    whole: View
    trains: list[View]
    held_out: list[View]


def find(train: Submission) -> Views | None:
    """The folds of the data that a train.sub sends; None where it sends no manifest.

    Raises:
        KitError: the data were staged without folds, or some of their manifests are not there.
    """
    listed = _LISTED.fullmatch(train.description.queue())
    if listed:
        paths = [train.folder / line.split()[0] for line in _lines(train.folder / listed.group(1))]
    else:
        data = train.folder / train.value("data")
        if data.suffix != ".json" or not data.is_file():
            return None
        paths = [data]
    seeds = [read(path) for path in paths]
    where, one = seeds[0].path, seeds[0].held
    if one.kind == "prepared":
        raise KitError(wrong("data", where.name, "prepared patients, whose own files are not there to be scored",
                             "the patients' own files", _STAGE))  # fmt: skip
    of = one.view["of"] if one.view else one.sha256()
    near = [read(path) for path in sorted(where.parent.glob("*-manifest-*.json"))]
    whole = next((view for view in near if not view.held.view and view.held.sha256() == of), None)
    if whole is None:
        raise KitError(f"{where}: the manifest of the whole data is not beside it; all of staged/ is wanted. {_STAGE}.")
    family = [view for view in near if view.held.view and view.held.view["of"] == of]
    part = one.view["part"] if one.view and one.view["part"] != "validation" else ""
    kinds = {view.held.view["part"] for view in family if view.held.view}
    part = part or ("training" if "training" in kinds else "all")
    splits = {seed.held.view["fold"]: seed.held.split for seed in seeds if seed.held.view}
    trains = _ordered(family, part, splits, where)
    known = {number: view.held.split for number, view in enumerate(trains)}
    return Views(whole, trains, [] if part == "all" else _ordered(family, "validation", known, where))


def sent(view: View, project: Path) -> dict[str, str]:
    """What a node says of its data: the manifest, and where its shards come from."""
    objects = ", ".join(f"{view.held.at.rstrip('/')}/{shard.name}" for shard in view.held.shards)
    return {"data": os.path.relpath(view.path, project), "data_objects": objects}


def _ordered(family: Sequence[View], part: str, splits: Mapping[int, object], where: Path) -> list[View]:
    """The views of a part by fold: where staged/ has several stagings, those that hold out whom `splits` does."""
    found: dict[int, View] = {}
    for view in family:
        about = view.held.view or {}
        number = about["fold"]
        if about["part"] != part or (number in splits and view.held.split != splits[number]):
            continue
        if number in found and found[number].held.split != view.held.split:
            raise KitError(
                f"{where}: {where.parent.name}/ has two sets of folds of it; one is wanted. "
                "Move the older manifests away, or stage again."
            )
        found[number] = view
    if len(found) < 2 or sorted(found) != list(range(len(found))):
        have = f"has folds {', '.join(map(str, sorted(found)))}" if found else "was staged without folds"
        raise KitError(wrong("data", where.name, f"{have} ({part})", "manifests of every fold are wanted", _STAGE))
    return [found[number] for number in sorted(found)]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as fault:
        raise KitError(
            f"{path}: {fault.strerror}; the list that `osgdl stage --splits` wrote is wanted. {_STAGE}."
        ) from None


def read(path: Path) -> View:
    """A manifest in a project.

    Raises:
        KitError: it is none.
    """
    try:
        return View(path, manifests.read(path))
    except (manifests.Damaged, OSError) as fault:
        raise KitError(f"{path}: {fault}; a manifest that `osgdl stage` wrote is wanted. {_STAGE}.") from None
