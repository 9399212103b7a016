"""Checks one patient: every fault names the patient, the file and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from unet_segmentation import plausibility, prepare, synthetic, volumes
from unet_segmentation.labels import Convention, conventions
from unet_segmentation.patients import Patient, Source
from unet_segmentation.volumes import Volume

AFFINE_TOLERANCE_MM = 1e-3  # registration tools write affines in float32
INTEGER_TOLERANCE = 1e-3  # of label values stored as float
SMALLEST_VOXEL_MM3 = 1e-9  # below, the affine is not that of a volume


@dataclass(frozen=True)
class Checked:
    """What was read of a patient without a fault: images in channel order, where the brain is (x, y, z), the truth."""

    images: list[Volume]
    inside: NDArray[np.bool_]
    truth: Volume | None


@dataclass
class Report:
    """What was found about one patient. `checked` is there only if nothing is wrong, and large: drop it soon."""

    patient: Patient
    faults: list[BadInput] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # name, from the patient's folder on -> SHA-256
    facts: dict[str, Any] = field(default_factory=dict)
    checked: Checked | None = None

    def where(self, path: Path) -> str:
        """Patient and file, for messages."""
        folder = self.patient.folder
        file = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
        return f"{self.patient.name}/{file.as_posix()}"

    def fault(self, path: Path, held: str, wanted: str, mend: str) -> None:
        """Notes a fault of a file."""
        self.faults.append(BadInput(self.where(path), held, wanted, mend))


def inspect(patient: Patient, modalities: Sequence[str], convention: Convention, need_truth: bool) -> Report:
    """Reads and checks one patient; each file is read once."""
    report = Report(patient, faults=list(patient.faults), warnings=list(patient.notes))
    files: dict[Path, volumes.File | None] = {}
    images = [_read(report, files, patient.images.get(name), name) for name in modalities]
    truth = mask = None
    if patient.truth or need_truth:
        truth = _read(report, files, Source(patient.truth) if patient.truth else None, "truth")
    if "mask" in patient.expected:
        mask = _read(report, files, Source(patient.mask) if patient.mask else None, "mask")
    files.clear()  # the files' own bytes, as large as the volumes
    read = [volume for volume in (*images, truth, mask) if volume is not None]
    _check_grid(report, read)
    for volume in read:
        _check_numbers(report, volume)
    counts = _check_labels(report, truth, convention) if truth is not None else None
    if report.faults:
        return report
    whole = [image for image in images if image is not None]
    inside = prepare.brain(whole, mask)
    _check_brain(report, whole, inside, mask)
    if report.faults:
        return report
    if truth is not None and counts is not None and any(counts.values()):
        found = plausibility.doubts(dict(zip(modalities, whole, strict=True)), inside, truth.values, convention)
        report.warnings += [f"{report.where(truth.path)}: {doubt}" for doubt in found]
    report.facts = _facts(whole[0], inside, counts)
    report.facts["synthetic"] = any(synthetic.marked(volume.note) for volume in read)
    report.checked = Checked(whole, inside, truth)
    return report


def _read(report: Report, files: dict[Path, volumes.File | None], source: Source | None, kind: str) -> Volume | None:
    """One image; `files` holds what was read already, None for what could not be."""
    patient = report.patient
    if source is None:
        file = patient.expected.get(kind, kind)
        others = [name for name in patient.images if name != kind]
        mend = f"add {patient.folder / file}, or remove the patient"
        if kind not in patient.expected:
            mend = f"name data that have one, or a data.layout that says where the {kind} is"
        elif kind not in ("truth", "mask") and others:
            mend += f""", or train without it: --set 'data.modalities={str(others).replace("'", '"')}'"""
        report.faults.append(BadInput(f"{patient.name}/{file}", "missing", f"the {kind} image", mend))
        return None
    path, channel = source
    if path in files and files[path] is None:
        return None
    try:
        file_read = files[path] = files.get(path) or volumes.read_file(path)
        volume = file_read.volume(channel)
    except BadInput as fault:
        files.setdefault(path, None)
        report.fault(path, fault.held, fault.wanted, fault.mend)
        return None
    report.files[report.where(path).partition("/")[2]] = volume.sha256
    return volume


def _check_grid(report: Report, read: Sequence[Volume]) -> None:
    for volume in read:
        first = read[0]
        if not abs(np.linalg.det(volume.affine[:3, :3])) > SMALLEST_VOXEL_MM3:  # NaN is at fault too
            held = f"an affine of voxels of {abs(np.linalg.det(volume.affine[:3, :3])):g} mm3"
            report.fault(volume.path, held, "millimetres of a volume", "copy the header of another image of it")
        elif volume.values.shape != first.values.shape:
            held, wanted = ("x".join(map(str, v.values.shape)) for v in (volume, first))
            mend = "resample it to that grid or export it again"
            report.fault(volume.path, f"shape {held}", f"{wanted} as {first.path.name}", mend)
        elif not np.allclose(volume.affine, first.affine, atol=AFFINE_TOLERANCE_MM):
            row, column = np.unravel_index(np.argmax(np.abs(volume.affine - first.affine)), (4, 4))
            held = f"affine[{row},{column}] = {volume.affine[row, column]:g}"
            wanted = f"{first.affine[row, column]:g} as {first.path.name}"
            report.fault(volume.path, held, wanted, "register it to that image or copy its header")


def _check_numbers(report: Report, volume: Volume) -> None:
    wrong = int(volume.values.size - np.count_nonzero(np.isfinite(volume.values)))
    if wrong:
        mend = "export it again, or set them to the background's value"
        report.fault(volume.path, f"{wrong} voxels that are NaN or infinite", "numbers", mend)


def _check_labels(report: Report, truth: Volume, convention: Convention) -> dict[int, int] | None:
    """The number of voxels of each label but 0, or None if there is a fault."""
    flat = truth.values.ravel(order="K")
    marked = flat[flat != 0]  # the few that are not background; NaN is among them
    found, sizes = np.unique(marked[np.isfinite(marked)], return_counts=True)
    counts = dict.fromkeys(convention.values, 0)
    wrong = []
    for value, size in zip(found.tolist(), sizes.tolist(), strict=True):
        if abs(value - round(value)) <= INTEGER_TOLERANCE and round(value) in counts:
            counts[round(value)] += size
        else:
            wrong.append(value)
    if not wrong and marked.size == sizes.sum():
        counts.pop(0)
        if not any(counts.values()):
            report.warnings.append(f"{report.where(truth.path)}: only background; is this patient without tumour?")
        return counts
    if wrong:
        held = f"label {', '.join(f'{v:g}' for v in wrong[:5])}{', ...' if len(wrong) > 5 else ''}"
        wanted = f"{', '.join(map(str, convention.values))} ({convention.name})"
        report.fault(truth.path, held, wanted, _label_mend(wrong, convention))
    return None


def _label_mend(wrong: Sequence[float], convention: Convention) -> str:
    if any(value != round(value) for value in wrong):
        return "resample with nearest neighbour"
    others = [name for name, c in conventions().items() if set(wrong) <= set(c.labels) and name != convention.name]
    known = f"one with the labels of {' or '.join(others)}" if others else "the data set's own"
    return f"set data.layout to {known}, or export it again"


def _check_brain(report: Report, images: Sequence[Volume], inside: NDArray[np.bool_], mask: Volume | None) -> None:
    if not inside.any():
        path = (mask or images[0]).path
        report.fault(path, "no voxel of brain", "a brain on a constant background", "export it again")
        return
    flat = inside.ravel(order="F")  # as the volumes lie in memory
    first = np.unravel_index(int(flat.argmax()), inside.shape, order="F")
    for image in images:
        if not (inside & (image.values != image.values[first])).any():
            held = f"the same value {image.values[first]:g} in the whole brain"
            report.fault(image.path, held, "an image", "export it again, or leave the modality out")


def _facts(first: Volume, inside: NDArray[np.bool_], counts: dict[int, int] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "shape": list(first.values.shape),
        "spacing_mm": [round(float(np.linalg.norm(first.affine[:3, axis])), 6) for axis in range(3)],
        "brain_voxels": int(np.count_nonzero(inside)),
    }
    if counts is not None:
        facts["label_voxels"] = {str(value): count for value, count in counts.items()}
    return facts
