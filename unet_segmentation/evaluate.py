"""Scores predictions against the truth, per patient volume, and draws them.

python -m unet_segmentation evaluate --predictions predictions --data data/validation --out scores
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_json
from submit.runtime.progress import Progress
from unet_segmentation import layouts, metrics, predict, volumes
from unet_segmentation.labels import REGIONS, Convention, conventions
from unet_segmentation.prepare import Prepared

Scores = dict[str, dict[str, float]]


def predict_and_score(
    model: Any,
    validation: list[Prepared],
    patients: dict[str, layouts.Patient],
    about: dict[str, Any],
    out: Path,
) -> tuple[Scores, list[str]]:
    """Segments the validation patients into `out/predictions`, scores them and draws `out/overlays`; returns Dice and
    the pictures' names.
    """
    from unet_segmentation import backend

    forward = backend.forward(model)
    modalities, convention = tuple(about["modalities"]), conventions()[about["convention"]]
    scores: Scores = {}
    pictures = []
    progress = Progress(len(validation), "scoring")
    for number, prepared in enumerate(validation, 1):
        patient = patients[prepared.name]
        path = predict.write(forward, prepared, patient, modalities, about, out / "predictions")
        scores[patient.name], picture = score(path, patient, modalities, convention, out)
        pictures.append(picture)
        progress.update(number, f"{patient.name} whole {scores[patient.name]['whole']:.3f}")
    progress.close(len(validation))
    return scores, pictures


def evaluate(predictions: Path, root: Path, out: Path) -> dict[str, Any]:
    """Scores `predictions/<patient>.nii.gz` for every patient in `root` that has a truth; writes metrics.json and
    overlays into `out`.

    Raises:
        BadInput: a prediction is missing, of another convention or on another grid; no patient has a truth.
    """
    dataset = layouts.find(root)
    convention = dataset.layout.convention
    _check_source(predictions, dataset)
    modalities = layouts.channels((dataset,), ())
    patients = [patient for patient in dataset.patients if patient.truth is not None]
    if not patients:
        raise BadInput(
            root,
            "no patient with a truth",
            "something to score against",
            "name a folder with segmentations with --data",
        )
    scores: Scores = {}
    pictures = []
    progress = Progress(len(patients), "scoring")
    for number, patient in enumerate(patients, 1):
        path = predictions / f"{patient.name}.nii.gz"
        if not path.is_file():
            mend = f"python -m unet_segmentation predict --data {root} --out {predictions} --model MODEL"
            raise BadInput(path, "missing", "a prediction for every patient with a truth", mend)
        scores[patient.name], picture = score(path, patient, modalities, convention, out)
        pictures.append(picture)
        progress.update(number, patient.name)
    progress.close(len(patients))
    result = {"dice": scores, "pictures": pictures}
    write_metrics(out / "metrics.json", result)
    return result


def score(
    prediction: Path, patient: layouts.Patient, modalities: tuple[str, ...], convention: Convention, out: Path
) -> tuple[dict[str, float], str]:
    """Dice of one patient and the name of its picture, written to `out/overlays`."""
    from unet_segmentation import figures

    if patient.truth is None:
        raise ValueError(f"{patient.name}: no truth to score against")
    predicted, truth = volumes.read(prediction), volumes.read(patient.truth)
    if predicted.values.shape != truth.values.shape:
        held, wanted = ("x".join(map(str, v.values.shape)) for v in (predicted, truth))
        raise BadInput(
            prediction, f"shape {held}", f"{wanted} as {patient.truth.name}", "predict again from this patient's images"
        )
    wrong = sorted(set(np.unique(predicted.values).tolist()) - set(convention.values))
    if wrong:
        wanted = f"{', '.join(map(str, convention.values))} ({convention.name})"
        raise BadInput(prediction, f"label {wrong[0]:g}", wanted, "predict again with a model of this convention")
    predicted_labels, true_labels = np.rint(predicted.values), np.rint(truth.values)
    dice = metrics.region_dice(predicted_labels, true_labels, convention)
    shown = [name for name in ("flair", "t1c") if name in patient.images] or list(modalities[:2])
    images = {name: volumes.read(patient.images[name]) for name in shown}
    picture = Path("overlays") / f"{patient.name}.png"
    figures.overlay(out / picture, patient.name, images, true_labels, predicted_labels, convention, dice)
    return dice, str(picture)


def write_metrics(path: Path, result: dict[str, Any]) -> None:
    """metrics.json: the result with the mean over patients and the convention for empty regions; written last, so it
    marks a finished run.
    """
    write_json(path, {**result, "mean_dice": metrics.mean(result["dice"]), "empty_regions": metrics.EMPTY_CONVENTION})


def table(scores: Scores) -> str:
    """The scores as text: a row per patient, and the mean."""
    width = max([len("mean"), *(len(name) for name in scores)])
    lines = [f"{'Dice':{width}}  " + "  ".join(f"{name:>9}" for name in REGIONS)]
    for name, row in {**scores, "mean": metrics.mean(scores)}.items():
        lines.append(f"{name:{width}}  " + "  ".join(f"{row[region]:9.3f}" for region in REGIONS))
    return "\n".join(lines)


def _check_source(predictions: Path, dataset: layouts.Dataset) -> None:
    """Predictions say which convention they are in; files from elsewhere need not, their values are checked."""
    note = predictions / "predictions.json"
    if note.is_file():
        try:
            name = json.loads(note.read_text(encoding="utf-8"))["convention"]
        except (ValueError, KeyError, TypeError) as fault:
            raise BadInput(
                note, f"unreadable ({fault})", "what predict wrote", "predict again, or remove it"
            ) from fault
        predict.require_convention(name, dataset, note)
