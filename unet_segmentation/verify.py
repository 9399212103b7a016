"""Checks the data before a GPU is asked for: every fault names the patient, the file and what mends it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.progress import Progress
from unet_segmentation import prepare, volumes
from unet_segmentation.labels import Convention
from unet_segmentation.layouts import Dataset, Patient
from unet_segmentation.volumes import Volume

WORKERS = 2  # decompression releases the interpreter's lock; a job of one GPU seldom has more than a few cores
AFFINE_TOLERANCE_MM = 1e-3  # registration tools write affines in float32
INTEGER_TOLERANCE = 1e-3  # of label values stored as float


@dataclass
class Report:
    """What was found about one patient. `prepared` is there only if nothing is wrong."""

    patient: Patient
    faults: list[BadInput] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # name -> SHA-256
    facts: dict[str, Any] = field(default_factory=dict)
    prepared: prepare.Prepared | None = None


def verify(
    dataset: Dataset, modalities: Sequence[str], need_truth: bool, label: str = "verifying", workers: int = WORKERS
) -> list[Report]:
    """Reads and checks every patient, in parallel, in order; shows a progress bar."""
    progress = Progress(len(dataset.patients), label)
    reports: list[Report] = []
    check = partial(inspect, modalities=modalities, convention=dataset.layout.convention, need_truth=need_truth)
    with ThreadPoolExecutor(workers) as pool:
        for report in pool.map(check, dataset.patients):
            reports.append(report)
            progress.update(len(reports), report.patient.name)
    progress.close(len(reports))
    return reports


def require(reports: Sequence[Report]) -> list[prepare.Prepared]:
    """The prepared patients.

    Raises:
        BadInput: the first fault of all reports, with the number of the others.
    """
    faults = [fault for report in reports for fault in report.faults]
    if faults:
        first = faults[0]
        more = f" ({len(faults) - 1} more: python -m unet_segmentation verify lists all)" if len(faults) > 1 else ""
        raise BadInput(first.where, first.held, first.wanted, first.mend + more)
    return [report.prepared for report in reports if report.prepared is not None]


def dataset_hash(reports: Sequence[Report]) -> str:
    """SHA-256 over the names and contents of all files of all patients."""
    digest = hashlib.sha256()
    for report in sorted(reports, key=lambda report: report.patient.name):
        for name, content in sorted(report.files.items()):
            digest.update(f"{report.patient.name}/{name} {content}\n".encode())
    return digest.hexdigest()


def as_dict(reports: Sequence[Report], modalities: Sequence[str]) -> dict[str, Any]:
    """The reports as JSON values."""
    return {
        "modalities": list(modalities),
        "sha256": dataset_hash(reports),
        "faults": [
            {"patient": r.patient.name, "file": f.where, "held": f.held, "wanted": f.wanted, "mend": f.mend}
            for r in reports
            for f in r.faults
        ],
        "warnings": [warning for report in reports for warning in report.warnings],
        "patients": {report.patient.name: report.facts for report in reports},
    }


def inspect(patient: Patient, modalities: Sequence[str], convention: Convention, need_truth: bool) -> Report:
    """Checks one patient and prepares it if nothing is wrong."""
    report = Report(patient)
    images = [_read(report, patient.images.get(name), name) for name in modalities]
    truth = _read(report, patient.truth, "truth") if patient.truth or need_truth else None
    mask = _read(report, patient.mask, "mask") if "mask" in patient.expected else None
    read = [volume for volume in (*images, truth, mask) if volume is not None]
    _check_grid(report, read)
    for volume in read:
        _check_numbers(report, volume)
    if truth is not None:
        _check_labels(report, truth, convention)
    if report.faults:
        return report
    whole = [image for image in images if image is not None]
    inside = prepare.brain(whole, mask)
    _check_brain(report, whole, inside, mask)
    if report.faults:
        return report
    report.prepared = prepare.prepare(patient.name, whole, inside, truth, convention)
    report.facts = _facts(whole[0], inside, truth, convention)
    return report


def _where(report: Report, path: Path) -> str:
    return f"{report.patient.name}/{path.name}"


def _read(report: Report, path: Path | None, kind: str) -> Volume | None:
    patient = report.patient
    if path is None:
        file = patient.expected.get(kind, kind)
        others = [name for name in patient.images if name != kind]
        mend = f"add {patient.folder / file}, or remove the patient"
        if kind not in ("truth", "mask") and others:
            mend += f""", or train without it: --set 'data.modalities={str(others).replace("'", '"')}'"""
        report.faults.append(BadInput(f"{patient.name}/{file}", "missing", f"the {kind} image", mend))
        return None
    try:
        volume = volumes.read(path)
    except BadInput as fault:
        report.faults.append(BadInput(_where(report, path), fault.held, fault.wanted, fault.mend))
        return None
    report.files[path.name] = volume.sha256
    return volume


def _check_grid(report: Report, read: Sequence[Volume]) -> None:
    for volume in read[1:]:
        first = read[0]
        if volume.values.shape != first.values.shape:
            held, wanted = ("x".join(map(str, v.values.shape)) for v in (volume, first))
            wanted = f"{wanted} as {first.path.name}"
            report.faults.append(
                BadInput(
                    _where(report, volume.path), f"shape {held}", wanted, "resample it to that grid or export it again"
                )
            )
        elif not np.allclose(volume.affine, first.affine, atol=AFFINE_TOLERANCE_MM):
            row, column = np.unravel_index(np.argmax(np.abs(volume.affine - first.affine)), (4, 4))
            held = f"affine[{row},{column}] = {volume.affine[row, column]:g}"
            wanted = f"{first.affine[row, column]:g} as {first.path.name}"
            report.faults.append(
                BadInput(_where(report, volume.path), held, wanted, "register it to that image or copy its header")
            )


def _check_numbers(report: Report, volume: Volume) -> None:
    wrong = int(volume.values.size - np.isfinite(volume.values).sum())
    if wrong:
        held = f"{wrong} voxels that are NaN or infinite"
        report.faults.append(
            BadInput(
                _where(report, volume.path), held, "numbers", "export it again, or set them to the background's value"
            )
        )


def _check_labels(report: Report, truth: Volume, convention: Convention) -> None:
    found = np.unique(truth.values[np.isfinite(truth.values)])
    wrong = [
        float(v) for v in found if abs(v - np.rint(v)) > INTEGER_TOLERANCE or int(np.rint(v)) not in convention.values
    ]
    if wrong:
        held = f"label {', '.join(f'{v:g}' for v in wrong[:5])}{', ...' if len(wrong) > 5 else ''}"
        wanted = f"{', '.join(map(str, convention.values))} ({convention.name})"
        mend = (
            "resample with nearest neighbour"
            if any(v != round(v) for v in wrong)
            else "set data.layout to the data set's own, or export it again"
        )
        report.faults.append(BadInput(_where(report, truth.path), held, wanted, mend))
    elif not np.rint(found).any():
        report.warnings.append(f"{_where(report, truth.path)}: only background; is this patient without tumour?")


def _check_brain(report: Report, images: Sequence[Volume], inside: NDArray[np.bool_], mask: Volume | None) -> None:
    if not inside.any():
        path = (mask or images[0]).path
        report.faults.append(
            BadInput(_where(report, path), "no voxel of brain", "a brain on a constant background", "export it again")
        )
        return
    for image in images:
        values = image.values[inside]
        if values.min() == values.max():
            held = f"the same value {values[0]:g} in the whole brain"
            report.faults.append(
                BadInput(_where(report, image.path), held, "an image", "export it again, or leave the modality out")
            )


def _facts(first: Volume, inside: NDArray[np.bool_], truth: Volume | None, convention: Convention) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "shape": list(first.values.shape),
        "spacing_mm": [round(float(np.linalg.norm(first.affine[:3, axis])), 6) for axis in range(3)],
        "brain_voxels": int(inside.sum()),
    }
    if truth is not None:
        labels = np.rint(truth.values)
        facts["label_voxels"] = {str(value): int((labels == value).sum()) for value in convention.values[1:]}
    return facts
