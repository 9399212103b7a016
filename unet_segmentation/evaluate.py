"""Scores predictions against the truth, per patient volume: numbers, a table, a report and pictures.

    python -m unet_segmentation evaluate --predictions predictions --data data/validation --out scores

Writes metrics.json, scores.csv (a row a patient and region), report.html (one file) and overlays/*.png.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from submit.runtime.exit_codes import BadInput
from submit.runtime.files import write_atomic, write_json
from submit.runtime.progress import Progress
from unet_segmentation import layouts, lesions, metrics, summary, synthetic, volumes
from unet_segmentation.labels import Convention
from unet_segmentation.layouts import Patient
from unet_segmentation.record import RECORD
from unet_segmentation.summary import Measured
from unet_segmentation.summary import Options as Options
from unet_segmentation.summary import table as table
from unet_segmentation.volumes import Volume

WORKERS = 2  # reading releases the interpreter's lock; two patients in memory at a time
AFFINE_TOLERANCE = 1e-3  # mm a voxel, and mm of the origin: registration tools write affines in float32
INTEGER_TOLERANCE = 1e-3  # of label values stored as float
SHOWN = 2  # modalities of a picture
FIRST = ("flair", "t1c")  # the two that show most of a glioma
ENDINGS = (".nii.gz", ".nii")


def evaluate(
    predictions: Path | Sequence[Path], root: Path, out: Path, options: Options | None = None, layout: str = "auto"
) -> dict[str, Any]:
    """Scores `predictions/<patient>.nii.gz` for every patient in `root` that has a truth; writes all into `out`,
    metrics.json last; returns what it holds.

    Raises:
        BadInput: as `evaluate_files`; no patient has a truth.
    """
    dataset = layouts.find(root, layout)
    patients = [patient for patient in dataset.patients if patient.truth is not None]
    if not patients:
        wanted = "something to score against"
        raise BadInput(root, "no patient with a truth", wanted, "name a folder with segmentations with --data")
    modalities = layouts.channels((dataset,), ())
    options = options or Options()
    where = {"data": str(root), "layout": dataset.layout.name}
    options = replace(options, provenance={**options.provenance, **where})
    result = evaluate_files(predictions, patients, dataset.layout.convention, modalities, out, options)
    write_json(out / "metrics.json", result)
    return result


def evaluate_files(
    predictions: Path | Sequence[Path],
    patients: Sequence[Patient],
    convention: Convention,
    modalities: Sequence[str],
    out: Path,
    options: Options,
) -> dict[str, Any]:
    """Scores the prediction of every patient, two at a time; once all are scored, writes scores.csv, overlays and
    report.html into `out`; shows a progress bar.

    Args:
        predictions: folder of `<patient>.nii.gz` or `.nii`, and perhaps predictions.json; or one for each fold of a
            cross-validation.
        patients: to score, all with a truth.
        convention: of the truth.
        modalities: to draw.
        out: folder, made if need be.
        options: how to score.

    Returns:
        What metrics.json is to hold: plain JSON, as `summary.summarise`; besides, `pictures` relative to `out`,
        `provenance`, `against` if asked for, and `folds` of several folders.

    Raises:
        BadInput: a prediction is missing, torn, of another convention, on another grid, or holds labels that its
            convention lacks; so does the truth; `options.against` is no metrics.json.
    """
    from unet_segmentation import report_html

    others = _others(options.against) if options.against else None
    folders = [predictions] if isinstance(predictions, Path) else list(predictions)
    regions, models = _agreed(folders, convention)
    paths = {patient.name: _prediction(folders, patient) for patient in patients}
    measured: dict[str, Measured] = {}
    progress = Progress(len(patients), "scoring")
    work = partial(measure, paths=paths, convention=convention, regions=regions, options=options)
    with ThreadPoolExecutor(WORKERS) as pool:
        for patient, found in zip(patients, pool.map(work, patients), strict=True):
            measured[patient.name] = found
            progress.update(len(measured), patient.name)
    progress.close(len(measured))

    result = summary.summarise(measured, regions, options)
    if others is not None:
        compared = summary.compare(result["scores"], others, options.metrics)
        result["against"] = {"file": str(options.against), **compared}
    if len(folders) > 1:
        held = {str(folder): [name for name, path in paths.items() if path.parent == folder] for folder in folders}
        result["folds"] = summary.folds(result["scores"], held, regions)
    result["provenance"] = {
        "synthetic": synthetic.describe({name: found.synthetic for name, found in measured.items()}),
        **options.provenance,
        "labels": convention.describe(),
        "predictions": ", ".join(map(str, folders)),
        "models": models,
        **_origin(),
    }
    result["files"] = {name: dict(found.files) for name, found in measured.items()}
    write_atomic(out / "scores.csv", summary.csv_text(result["scores"]).encode("utf-8", "surrogateescape"))
    drawn = _draw(out, result, patients, paths, convention, modalities, options.pictures)
    result["pictures"] = list(drawn.values())
    write_atomic(out / "report.html", report_html.page(result, out, drawn).encode("utf-8", "replace"))
    return result


def measure(
    patient: Patient, paths: Mapping[str, Path], convention: Convention, regions: Sequence[str], options: Options
) -> Measured:
    """Compares one patient's prediction with the truth.

    Raises:
        BadInput: they do not fit together.
    """
    predicted, truth, files = _pair(paths[patient.name], patient, convention)
    spacing = [float(side) for side in np.linalg.norm(files["truth"].affine[:3, :3], axis=0)]
    voxels, found = {}, {}
    for region in regions:
        masks = convention.region(predicted, region), convention.region(truth, region)
        voxels[region] = metrics.measure(*masks, spacing, options.distance)
        if options.lesion_wise:
            rules = lesions.RULES[options.lesion_wise]
            found[region] = lesions.compare(*masks, spacing, rules, options.distance)
    hashes = {name: file.sha256 for name, file in files.items()}
    return Measured(voxels, found, float(np.prod(spacing)), hashes, synthetic.marked(files["truth"].note))


def spread(ranked: Sequence[str], count: int | None) -> list[str]:
    """At most `count` of the patients, evenly from the worst to the best, the median among them."""
    if count is None or count >= len(ranked):
        return list(ranked)
    places = {round(place) for place in np.linspace(0, len(ranked) - 1, count)} if count > 1 else {0}
    if count > 2 and len(ranked) // 2 not in places:  # in the place of the one nearest to it
        places.remove(min(places - {0, len(ranked) - 1}, key=lambda place: abs(place - len(ranked) // 2)))
        places.add(len(ranked) // 2)
    return [ranked[place] for place in sorted(places)] if count > 0 else []


def _pair(
    path: Path, patient: Patient, convention: Convention
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Volume]]:
    """Label values (x, y, z) of prediction and truth, on one grid, and the files they were read from."""
    if patient.truth is None:
        raise ValueError(f"{patient.name}: no truth to score against")
    predicted, truth = volumes.read(path), volumes.read(patient.truth)
    again = "predict again from this patient's images"
    if predicted.values.shape != truth.values.shape:
        held, wanted = ("x".join(map(str, volume.values.shape)) for volume in (predicted, truth))
        raise BadInput(path, f"shape {held}", f"{wanted} as {patient.truth.name}", again)
    mend = "predict again with a model of this convention, or name the data's layout with --layout"
    labels = _labels(predicted, convention, mend)
    away = np.abs(predicted.affine - truth.affine)
    if not away.max() <= AFFINE_TOLERANCE:
        row, column = np.unravel_index(np.argmax(away), (4, 4))
        held, wanted = (f"{volume.affine[row, column]:g}" for volume in (predicted, truth))
        raise BadInput(path, f"affine[{row},{column}] = {held}", f"{wanted} as {patient.truth.name}", again)
    mend = "correct the file, or name the data's layout with --layout"
    return labels, _labels(truth, convention, mend), {"prediction": predicted, "truth": truth}


def _labels(volume: Volume, convention: Convention, mend: str) -> NDArray[np.uint8]:
    rounded = np.rint(volume.values)
    values = rounded if np.allclose(volume.values, rounded, rtol=0, atol=INTEGER_TOLERANCE) else volume.values
    wrong = sorted(set(np.unique(values).tolist()) - set(convention.values))
    if wrong:
        wanted = f"{', '.join(map(str, convention.values))} ({convention.name})"
        raise BadInput(volume.path, f"label {wrong[0]:g}", wanted, mend)
    labels: NDArray[np.uint8] = values.astype(np.uint8)
    return labels


def _draw(
    out: Path,
    result: Mapping[str, Any],
    patients: Sequence[Patient],
    paths: Mapping[str, Path],
    convention: Convention,
    modalities: Sequence[str],
    count: int | None,
) -> dict[str, str]:
    """Overlays of some patients: name to picture relative to `out`, from the worst to the best."""
    from unet_segmentation import figures

    drawn: dict[str, str] = {}
    chosen = spread(result["worst_to_best"], count)
    progress = Progress(len(chosen), "drawing")
    for name in chosen:
        patient = next(one for one in patients if one.name == name)
        predicted, truth, _ = _pair(paths[name], patient, convention)
        present = [modality for modality in modalities if modality in patient.images] or list(patient.images)
        shown = [modality for modality in FIRST if modality in present] or present[:SHOWN]
        images = {modality: volumes.read(*patient.images[modality]) for modality in shown}
        for image in images.values():
            if image.values.shape != truth.shape:
                held, wanted = ("x".join(map(str, shape)) for shape in (image.values.shape, truth.shape))
                raise BadInput(image.path, f"shape {held}", f"{wanted} as the truth", "`verify` names all such files")
        caption = "Dice   " + "   ".join(f"{r} {summary.number(v)}" for r, v in result["dice"][name].items())
        picture = f"overlays/{name.replace('/', '_')}.png"
        figures.overlay(out / picture, name, images, truth, predicted, convention, caption)
        drawn[name] = picture
        progress.update(len(drawn), name)
    if chosen:
        progress.close(len(drawn))
    return drawn


def _prediction(folders: Sequence[Path], patient: Patient) -> Path:
    places = [[folder / f"{patient.name}{ending}" for ending in ENDINGS] for folder in folders]
    found = list(filter(None, (next(filter(Path.is_file, paths), None) for paths in places)))
    if len(found) > 1:  # one of them may have seen the patient in training
        raise BadInput(found[0], f"also {found[1]}", "every patient in one fold", "name each fold's own predictions")
    if not found:
        mend = f"python -m unet_segmentation predict --model MODEL --data DATA --out {folders[0]}"
        path = folders[0] / f"{patient.name}{ENDINGS[0]}"
        raise BadInput(path, "missing", "a prediction for every patient with a truth", mend)
    return found[0]


def _agreed(folders: Sequence[Path], convention: Convention) -> tuple[tuple[str, ...], list[str]]:
    """As `_regions`, of all folders."""
    said = [_regions(folder, convention) for folder in folders]
    for folder, (regions, _) in zip(folders, said, strict=True):
        if regions != said[0][0]:
            wanted = f"{', '.join(said[0][0])} as {folders[0]}"
            raise BadInput(folder, f"regions {', '.join(regions)}", wanted, "score these predictions apart")
    return said[0][0], sorted({model for _, models in said for model in models})


def _regions(predictions: Path, convention: Convention) -> tuple[tuple[str, ...], list[str]]:
    """The regions to score and the SHA-256 of the models: those that predictions.json names; for files from elsewhere,
    whose values are checked all the same, every region of the convention and no model.
    """
    path = predictions / RECORD
    if not path.is_file():
        return tuple(convention.regions), []
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        held = Convention.from_dict(note["convention"], f"{path}: convention")
        regions = tuple(name for name in held.regions if name in note["regions"])
        models = {str(model) for patient in note["patients"].values() for model in patient["models"]}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BadInput(path, f"unreadable ({fault})", "what predict wrote", "predict again, or remove it") from fault
    if (held.values, held.regions) != (convention.values, convention.regions):
        names = held.name != convention.name  # enough to tell them apart
        raise BadInput(
            path,
            f"label convention {held.name if names else held.describe()}",
            f"{convention.name if names else convention.describe()}, that of the truth",
            "use a model trained with this convention, or name the data's layout with --layout",
        )
    return regions or tuple(convention.regions), sorted(models)


def _others(path: Path) -> summary.Scores:
    """The scores of another evaluation's metrics.json."""
    file = path / "metrics.json" if path.is_dir() else path
    try:
        held = json.loads(file.read_text(encoding="utf-8"))["scores"]
        return {name: {region: dict(row) for region, row in rows.items()} for name, rows in held.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        wanted = "metrics.json of another evaluate"
        raise BadInput(file, f"no scores ({fault})", wanted, "name it with --against") from fault


def _origin() -> dict[str, Any]:
    """What made the scores."""
    own = {name: metadata.version(name) for name in ("nibabel", "numpy", "scipy")}
    return {
        "scored_with": {"python": platform.python_version(), **own},
        "scored": datetime.now(UTC).isoformat(timespec="seconds"),
    }
