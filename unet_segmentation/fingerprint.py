"""What a data set is like: grey values inside the brain, voxel sizes, volumes, how much of each label. It is gathered
while the patients are prepared and lies beside them as fingerprint.json.

Grey values are those of the files, before the z-score: two data sets that differ there were normalised differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.files import write_json

FILE = "fingerprint.json"
# The outer two are nnU-Net's clipping bounds (Isensee et al. 2021), the others a box plot
PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
# Of a patient, one value stands for each half per cent of its voxels
QUANTILES = 200
# More voxels than that make a patient's quantiles no better: the standard error of the rarest is 0.03 %
SAMPLED = 1 << 16


def intensities(sample: NDArray[np.float32], mean: float, std: float) -> dict[str, Any]:
    """One image of one patient, as JSON values.

    Args:
        sample: the voxels inside the brain, (n,), in the order of the file, n at least 1.
        mean: of all of them.
        std: of all of them, population.

    Returns:
        voxels, mean, std, minimum, maximum, and `quantiles`: the values at (i + 0.5) / QUANTILES, from every n-th
        voxel.
    """
    ordered = np.sort(sample[:: -(-sample.size // SAMPLED)])
    ranks = ((np.arange(QUANTILES) + 0.5) / QUANTILES * ordered.size).astype(np.intp)
    return {
        "voxels": int(sample.size),
        "mean": mean,
        "std": std,
        "minimum": float(sample.min()),
        "maximum": float(sample.max()),
        "quantiles": [float(f"{value:.6g}") for value in ordered[ranks]],
    }


def pooled(patients: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One channel over patients, each voxel counting alike.

    Args:
        patients: what `intensities` gave, at least one.

    Returns:
        mean, std, minimum, maximum (exact), `percentiles` by their percentage (from each patient's quantiles), and
        `patient_means`, the range of the patients' own.
    """
    voxels = np.array([patient["voxels"] for patient in patients], float)
    means = np.array([patient["mean"] for patient in patients], float)
    variances = np.array([patient["std"] for patient in patients], float) ** 2
    mean = float(np.average(means, weights=voxels))
    # the law of total variance
    std = float(np.sqrt(np.average(variances + (means - mean) ** 2, weights=voxels)))
    values = np.concatenate([patient["quantiles"] for patient in patients])
    weights = np.repeat(voxels / voxels.sum() / QUANTILES, QUANTILES)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) - weights[order] / 2
    percentiles = np.interp(np.array(PERCENTILES) / 100, below, values[order])
    return {
        "mean": mean,
        "std": std,
        "minimum": min(float(patient["minimum"]) for patient in patients),
        "maximum": max(float(patient["maximum"]) for patient in patients),
        "percentiles": {f"{at:g}": float(value) for at, value in zip(PERCENTILES, percentiles, strict=True)},
        "patient_means": [float(means.min()), float(means.max())],
    }


def fingerprint(entries: Sequence[Mapping[str, Any]], modalities: Sequence[str]) -> dict[str, Any]:
    """All patients together, as JSON values.

    Args:
        entries: of each patient `shape`, `spacing`, `box`, `intensities` and `facts` (as `verify` gives them).
        modalities: in channel order.

    Returns:
        patients; `modalities`: for each as `pooled`; `shapes` and `spacings_mm`: each that occurs and how often;
        `brain`: least, median and greatest box (x, y, z) in voxels, and the share of the volume that is brain;
        `label_voxels`: for each label value the sum over patients and the number of patients that have it.
    """
    if not entries:
        return {"patients": 0}
    boxes = np.array([[stop - start for start, stop in entry["box"]] for entry in entries])
    brains = sum(entry["intensities"][0]["voxels"] for entry in entries)
    return {
        "patients": len(entries),
        "modalities": {
            name: pooled([entry["intensities"][channel] for entry in entries])
            for channel, name in enumerate(modalities)
        },
        "shapes": _counted([entry["shape"] for entry in entries]),
        "spacings_mm": _counted([entry["spacing"] for entry in entries]),
        "brain": {
            "least": boxes.min(axis=0).tolist(),
            "median": np.median(boxes, axis=0).tolist(),
            "greatest": boxes.max(axis=0).tolist(),
            "share": round(brains / sum(int(np.prod(entry["shape"])) for entry in entries), 6),
        },
        "label_voxels": _labels([entry["facts"].get("label_voxels", {}) for entry in entries]),
    }


def write(folder: Path, entries: Sequence[Mapping[str, Any]], modalities: Sequence[str]) -> dict[str, Any]:
    """Writes `folder`/fingerprint.json, atomically; returns what it holds."""
    found = fingerprint(entries, modalities)
    write_json(folder / FILE, found)
    return found


def describe(found: Mapping[str, Any]) -> list[str]:
    """Lines for people: the brain's size, and the grey values of each channel.

    Args:
        found: a fingerprint of at least one patient.
    """
    box, spacing = found["brain"]["median"], found["spacings_mm"][0]["xyz"]
    voxels, millimetres = (" x ".join(f"{side:g}" for side in sides) for sides in (box, spacing))
    lines = [f"brain      {voxels} voxels of {millimetres} mm (median; most frequent)"]
    for name, channel in found["modalities"].items():
        marks = (PERCENTILES[0], 50.0, PERCENTILES[-1])
        values = ", ".join(f"{channel['percentiles'][f'{at:g}']:.4g}" for at in marks)
        names = ", ".join(f"{at:g} %" for at in marks)
        lines.append(f"{name:10} {channel['mean']:.4g} +- {channel['std']:.4g}; {names}: {values}")
    return lines


def _counted(triples: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    found: dict[tuple[float, ...], int] = {}
    for triple in triples:
        found[tuple(triple)] = found.get(tuple(triple), 0) + 1
    often = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [{"xyz": list(triple), "patients": count} for triple, count in often]


def _labels(patients: Sequence[Mapping[str, int]]) -> dict[str, dict[str, int]]:
    values = sorted({value for counts in patients for value in counts}, key=int)
    return {
        value: {
            "voxels": sum(counts.get(value, 0) for counts in patients),
            "patients": sum(counts.get(value, 0) > 0 for counts in patients),
        }
        for value in values
    }
