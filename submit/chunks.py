"""The patients of a data set, dealt into chunks that jobs get apart: of a local folder by their files, of staged data
by their shards. Each chunk is there as what a job is to be sent.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from submit import fold_views, trainer
from submit.errors import KitError, wrong
from submit.fold_views import View
from submit.runtime.manifest import Shard

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_TAKEN = {"job", "models", "results", "patients"}  # names in a job's folder


def staged(project: Path, data: str) -> View | None:
    """The manifest, where the data are one.

    Raises:
        KitError: it is damaged, or lists what no network can be applied to.
    """
    path = project / data
    if path.suffix != ".json" or not path.is_file():
        return None
    view = fold_views.read(path)
    if view.held.kind == "prepared":
        mend = "Stage the patients' own files: osgdl stage SOURCE DEST"
        raise KitError(wrong("data", path.name, "prepared patients, without the images to predict from", "these", mend))
    return view


def patients_of(project: Path, data: str, models: Sequence[Path]) -> dict[str, list[str]]:
    """The files of each patient in a local folder, by their paths in it, as the project's trainer finds them.

    Raises:
        KitError: no such folder, or the networks cannot be applied to what is in it.
    """
    folder = project / data
    if "://" in data or not folder.is_dir():
        mend = "Unpack it here, or stage it (osgdl stage SOURCE DEST) and name the manifest in staged/"
        raise KitError(wrong("data", data, "neither a folder here nor a manifest", "one of the two", mend))
    with trainer.scratch() as scratch:
        made = scratch / "patients.json"
        words = [word for model in models for word in ("--model", str(model))]
        done = trainer.run(
            project, [*words, "--data", str(folder), "--out", str(made)], module="unet_segmentation.listing"
        )
        if done.returncode:
            raise KitError(
                "\n".join([*done.stdout.splitlines()[-3:], f"data={data!r}: cannot be predicted, see above"])
            )
        return dict(json.loads(made.read_bytes()))


def write_local(source: Path, found: Mapping[str, Sequence[str]], names: Sequence[str], chunk: Path) -> Path:
    """Links the files of some patients, or copies them to another file system; returns the folder that is sent. Its
    last name is that of the data: some layouts look at it.
    """
    last = source.resolve().name
    folder = chunk / (last if _PLAIN.fullmatch(last) and last not in _TAKEN else "patients")
    for name in names:
        for inside in found[name]:
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            link(source / inside, target)
    return folder


def dealt_shards(view: View, each: int) -> list[tuple[list[str], tuple[Shard, ...]]]:
    """Shards put together until they hold `each` patients, and these; a shard of nobody's files goes to all."""
    common = tuple(shard for shard in view.held.shards if not shard.patients)
    groups: list[tuple[list[str], tuple[Shard, ...]]] = []
    for shard in view.held.shards:
        if not shard.patients:
            continue
        if groups and len(groups[-1][0]) + len(shard.patients) <= each:
            groups[-1] = ([*groups[-1][0], *shard.patients], (*groups[-1][1], shard))
        else:
            groups.append((list(shard.patients), (*common, shard)))
    if not groups:
        mend = "Stage it with the project's trainer: osgdl stage SOURCE DEST"
        raise KitError(wrong("data", view.path.name, "does not say whose the files are", "patients", mend))
    return groups


def write_view(view: View, number: int, names: Sequence[str], needed: tuple[Shard, ...], chunk: Path) -> View:
    """A manifest of some shards alone."""
    of = view.held.view["of"] if view.held.view else view.held.sha256()
    about = {"of": of, "fold": number, "part": "validation"}
    held = replace(
        view.held, view=about, split={"training": [], "validation": sorted(names)}, shards=needed
    )  # fmt: skip
    path = chunk / held.file_name()
    chunk.mkdir(parents=True, exist_ok=True)
    path.write_bytes(held.encoded())
    return View(path, held)


def dealt(names: Sequence[str], each: int) -> list[list[str]]:
    """So many names at a time."""
    return [list(names[at : at + each]) for at in range(0, len(names), each)]


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no such thing."""
    if target.exists():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
