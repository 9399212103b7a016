"""Checks a data set before a GPU is asked for, patient by patient and patients against each other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from submit.runtime.exit_codes import BadInput
from submit.runtime.progress import Progress
from unet_segmentation import plausibility
from unet_segmentation.inspection import Checked, Report, inspect
from unet_segmentation.labels import Convention
from unet_segmentation.layouts import Dataset
from unet_segmentation.patients import Patient

__all__ = [
    "Checked", "Report", "as_dict", "dataset_hash", "doubtful", "duplicates", "faulty", "inspect", "require", "verify",
]  # fmt: skip

MOST_WORKERS = 8  # each holds a patient's volumes, 200 to 400 MB


def verify(
    dataset: Dataset,
    modalities: Sequence[str],
    need_truth: bool,
    label: str = "verifying",
    workers: int | None = None,
) -> list[Report]:
    """Reads and checks every patient, several at a time, in order; shows a progress bar. Keeps no volumes.

    Args:
        dataset: the patients.
        modalities: that every one must have.
        need_truth: whether a patient without truth is at fault.
        label: a word in front of the bar.
        workers: threads (decompression, hashing and arithmetic release the interpreter's lock); by default one for
            each core that this process may use, at most MOST_WORKERS.
    """
    progress = Progress(len(dataset.patients), label)
    reports: list[Report] = []
    check = partial(_without_volumes, modalities, dataset.layout.convention, need_truth)
    with ThreadPoolExecutor(workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)) as pool:
        for report in pool.map(check, dataset.patients):
            reports.append(report)
            progress.update(len(reports), report.patient.name)
    progress.close(len(reports))
    return reports


def duplicates(parts: Sequence[Sequence[Report]]) -> None:
    """Adds to the reports where two patients have the same image file: a warning; a fault where they are in different
    parts, such as training and validation: then the network is scored on what it was trained on.
    """
    first: dict[str, tuple[int, Report, str]] = {}
    for number, part in enumerate(parts):
        for report in part:
            folder = report.patient.folder
            for path in sorted({source.path for source in report.patient.images.values()}):
                name = report.where(path)
                digest = report.files.get(name.partition("/")[2])
                if digest is None:
                    continue
                other, whose, same = first.setdefault(digest, (number, report, name))
                if other != number:
                    wanted = "patients never trained on"
                    report.fault(path, f"the same bytes as {same}", wanted, f"remove {folder} or the other")
                elif same != name:
                    what = "one image twice" if whose is report else "one patient twice"
                    report.warnings.append(f"{name}: the same bytes as {same}; {what}?")


def doubtful(reports: Sequence[Report], convention: Convention) -> list[str]:
    """One warning more if what is strange about single patients is so of most that have a tumour."""
    marked = [report for report in reports if any(report.facts.get("label_voxels", {}).values())]
    strange = [report for report in marked if any(plausibility.QUESTION in warning for warning in report.warnings)]
    if 2 * len(strange) <= len(marked):
        return []
    return [
        f"the labels of {len(strange)} of {len(marked)} patients look unlike {convention.name}; is data.layout right?"
    ]


def require(reports: Sequence[Report]) -> None:
    """Nothing, if no report has a fault.

    Raises:
        BadInput: the first fault of all reports, with the number of the others.
    """
    faults = [fault for report in reports for fault in report.faults]
    if faults:
        first = faults[0]
        more = f" ({len(faults) - 1} more: python -m unet_segmentation verify lists all)" if len(faults) > 1 else ""
        raise BadInput(first.where, first.held, first.wanted, first.mend + more)


def faulty(reports: Sequence[Report], most: int) -> dict[str, str]:
    """Of each patient at fault the first fault.

    Raises:
        BadInput: as `require`, if more than `most` patients have one.
    """
    found = {report.patient.name: str(report.faults[0]) for report in reports if report.faults}
    if len(found) > most:
        require(reports)
    return found


def dataset_hash(reports: Sequence[Report]) -> str:
    """SHA-256 over the names and contents of all files of all patients."""
    digest = hashlib.sha256()
    for report in sorted(reports, key=lambda report: report.patient.name):
        for name, content in sorted(report.files.items()):
            digest.update(f"{report.patient.name}/{name} {content}\n".encode())
    return digest.hexdigest()


def as_dict(reports: Sequence[Report], modalities: Sequence[str], convention: Convention) -> dict[str, Any]:
    """The reports as JSON values."""
    return {
        "modalities": list(modalities),
        "sha256": dataset_hash(reports),
        "faults": [
            {"patient": r.patient.name, "file": f.where, "held": f.held, "wanted": f.wanted, "mend": f.mend}
            for r in reports
            for f in r.faults
        ],
        "warnings": [*(w for report in reports for w in report.warnings), *doubtful(reports, convention)],
        "patients": {
            r.patient.name: {"subject": r.patient.subject, "grade": r.patient.grade, **r.facts, "files": r.files}
            for r in reports
        },
    }


def _without_volumes(modalities: Sequence[str], convention: Convention, need_truth: bool, patient: Patient) -> Report:
    report = inspect(patient, modalities, convention, need_truth)
    report.checked = None
    return report
