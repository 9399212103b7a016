"""What is known of a data set, as `dataset.json` holds it: `submit.runtime.dataset` says how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from submit.runtime import dataset
from submit.runtime.exit_codes import BadInput
from unet_segmentation import cache, entry, verify
from unet_segmentation.inspection import Report
from unet_segmentation.layouts import Dataset, Layout
from unet_segmentation.patients import Patient

# Of a patient, whatever the modalities in use
ALWAYS = ("shape", "spacing_mm", "label_voxels", "synthetic")


def describe(
    reports: Sequence[Report],
    layout: Layout,
    modalities: Sequence[str],
    paths: Mapping[str, Sequence[str]],
    parts: tuple[Iterable[str], Iterable[str]] | None,
    kind: str = "files",
) -> dict[str, Any]:
    """What dataset.json is to hold.

    Args:
        reports: of all patients, without fault.
        layout: of the files, or of those that were prepared.
        modalities: in channel order.
        paths: of each patient, from the data's folder on.
        parts: names to train on and of those held out, where the data say so.
        kind: of `dataset.KINDS`.

    Raises:
        BadInput: two patients of one name.
    """
    names = [report.patient.name for report in reports]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise BadInput("data", f"{twice} in train/ and in validation/", "a name of its own for each", "remove one")
    patients = {
        report.patient.name: {
            "subject": report.patient.subject,
            "grade": report.patient.grade,
            **report.facts,
            "paths": list(paths[report.patient.name]),
            "files": report.files,
            "warnings": report.warnings,
        }
        for report in reports
    }
    return {
        "format": dataset.FORMAT,
        "kind": kind,
        "sha256": verify.dataset_hash(reports),
        "layout": layout.name,
        "layout_table": layout.as_dict(),
        "convention": layout.convention.as_dict(),
        "modalities": list(modalities),
        "synthetic": any(synthetic(patients).values()),
        "patients": patients,
        "parts": None if parts is None else dict(zip(dataset.PARTS, map(list, parts), strict=True)),
    }


def kind_of(path: Path) -> str:
    """What kind of data a dataset.json of ours describes; empty where it is another's, as in the Decathlon's data."""
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    kind = held.get("kind") if isinstance(held, dict) and "format" in held else None
    return kind if kind in dataset.KINDS else ""


def require_ours(path: Path) -> None:
    """Nothing, if a dataset.json may be written there.

    Raises:
        BadInput: a file is there that this program did not write.
    """
    if path.exists() and not kind_of(path):
        mend = "name another place with --out, or move it"
        raise BadInput(path, "there, and not written by verify or prepare", "a new file", mend)


def synthetic(patients: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Of each patient of a dataset.json, whether it never was."""
    return {name: bool(facts.get("synthetic")) for name, facts in patients.items()}


def parts_of(datasets: Sequence[Dataset]) -> tuple[list[str], list[str]] | None:
    """Names to train on and of those held out, where train/ and validation/ say so; else None."""
    if len(datasets) < 2:
        return None
    training, validation = ([patient.name for patient in one.patients] for one in datasets)
    return training, validation


def files_of(patients: Iterable[Patient], root: Path) -> dict[str, list[str]]:
    """Of each patient all files that the layout names, from `root` on."""
    found = {}
    for patient in patients:
        every = {source.path for source in patient.images.values()} | {patient.truth, patient.mask}
        found[patient.name] = sorted(path.relative_to(root).as_posix() for path in every if path is not None)
    return found


def entries_of(abouts: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Of each prepared patient the files of its entry, from the prepared folder on."""
    return {
        about["name"]: sorted(f"{cache.folder_name(about['name'])}/{file}" for file in (entry.ABOUT, *about["arrays"]))
        for about in abouts
    }


def require_same(found: Mapping[str, Any], staged: Mapping[str, Any], where: object) -> None:
    """Nothing, if every patient is what was staged.

    Args:
        found: what dataset.json is to hold here.
        staged: what it held where the data were staged; may have more patients.
        where: of the manifest, for messages.

    Raises:
        BadInput: a patient that was not staged, or one that is another.
    """
    mend = "stage the data again, or name another manifest"
    for key in ("layout", "convention"):
        if found[key] != staged[key]:
            held, wanted = (one["layout"] for one in (found, staged))
            raise BadInput(f"{where}: {key}", f"another than here: {wanted}", f"{held}, as data.layout says", mend)
    keys = (*ALWAYS, "brain_voxels") if found["modalities"] == staged["modalities"] else ALWAYS
    for name, facts in found["patients"].items():
        if name not in staged["patients"]:
            raise BadInput(f"{where}: {name}", "not among the staged patients", "patients of this data set", mend)
        other = staged["patients"][name]
        for key in keys:
            if facts.get(key) != other.get(key):
                raise BadInput(f"{where}: {name}", f"{key} {other.get(key)}", f"{facts.get(key)}, as found here", mend)
        for file in sorted(set(facts["files"]) & set(other["files"])):
            if facts["files"][file] != other["files"][file]:
                held, wanted = (one["files"][file][:12] for one in (other, facts))
                raise BadInput(f"{where}: {name}/{file}", f"SHA-256 {held}", f"{wanted}, as found here", mend)
