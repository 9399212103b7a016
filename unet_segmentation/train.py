"""Trains the U-Net, resumes where it left, and scores it on the held-out patients.

    python -m unet_segmentation train --data data --out out
    python -m unet_segmentation train --data data --out out --config my.toml --set train.steps=2000

Running the same command again resumes. SIGTERM saves a checkpoint and leaves with exit code 85, "run me again": that
is what it means on a laptop or under another scheduler, and under HTCondor the code of an evicted job is not looked
at. (What survives an eviction there is what left with the last 85 of `checkpoint.leave_every_minutes`; `pool.md`,
trap 10.)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from submit.runtime import devices, inputs, network
from submit.runtime.checkpoint import Store
from submit.runtime.files import write_atomic, write_json
from unet_segmentation import backend, provenance, scaling
from unet_segmentation.config import Config
from unet_segmentation.intake import Data, load_data
from unet_segmentation.loop import fit
from unet_segmentation.objective import Objective
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared
from unet_segmentation.schedule import steps_wanted
from unet_segmentation.session import Session

HANDED_ON = "handed-on"  # checkpoints for the next job, where this one ends before the last step

__all__ = ["Data", "Validation", "describe", "load_data", "train"]


def train(config: Config, source: Path | inputs.Input, out: Path) -> dict[str, Any]:
    """Trains from where the last run of this command left, scores, and writes everything into `out`; returns what
    metrics.json holds, or how far it is where `checkpoint.until` ended it. `source` is what `--data` names, as for
    `load_data`.

    Raises:
        BadInput: the data or the configuration is wrong, or the checkpoint belongs to another run.
        BadMachine: a GPU was asked for and is not usable.
        Checkpointed: left early with the work saved.
        Fault: the training diverged twice.
    """
    began = time.time()
    where = backend.devices(config.train)
    device = devices.require_gpu(where.gpus)
    data = load_data(config, source, out)
    write_json(out / "dataset.json", data.facts)
    batches = Batches(data.training, config)
    print(f"labels     {data.convention.describe()}")
    print(f"channels   {', '.join(data.modalities)}")
    print(f"patients   {len(data.training)} to train on ({batches.slices} slices), {len(data.validation)} to score")

    objective = Objective(config, len(data.modalities), data.convention.membership(data.regions))
    about = describe(config, data)
    folder = Path(config.checkpoint.folder) if config.checkpoint.folder else out / "checkpoint"
    layout = hashlib.sha256(json.dumps(data.layout.as_dict(), sort_keys=True).encode()).hexdigest()
    identity = {"configuration": config.hash(), "manifest": data.facts["manifest_sha256"]}
    identity |= {"data": data.facts["sha256"], "layout": layout}
    start = Path(config.checkpoint.start) if config.checkpoint.start else None
    session = Session(config, where, objective, about["channels"], identity, folder, start)
    session.done.steps = steps_wanted(config.train, batches.epoch)
    if session.resume():
        print(f"resumed    at step {session.done.step} of {session.done.steps or '?'}")
    elif where.replicas > 1:
        session.done.scaling = scaling.measure(session, where, objective, about["channels"], data.training)
    leaving = fit(session, batches, config, out, began, Validation(data, about, out) if data.validation else None)
    if session.done.step < session.done.steps:
        session.save(store=Store(out / HANDED_ON))
        return {"steps": session.done.step, "of": session.done.steps, "scored": "not yet"}

    # What comes after the training is loaded after it: a job that goes on starts half a second sooner
    from unet_segmentation import predict, report_html

    model, best = session.averaged(), session.best()
    predict.save_model(out / "model.keras", model, about)
    if best is not None:
        predict.save_model(out / "best.keras", best, {**about, "best": session.done.best})
    write_json(out / "model.json", {**asdict(session.network()), "format": network.FORMAT, **about})
    origin = provenance.collect(where.versions, device, where.precision, config, data.facts)
    here = data.originals and bool(data.validation)
    scores = _score(model, data, about, origin, out) if here else _elsewhere(data, origin, out)
    result = {
        "steps": session.done.step,
        "weights_sha256": provenance.weights_sha256(model),
        **scores,
        "best_validation": session.done.best,
        "images_per_s": round(session.done.step * config.train.batch_size / max(session.done.seconds, 1e-9), 2),
        "training_s": round(session.done.seconds, 1),
        **({"scaling": session.done.scaling} if session.done.scaling else {}),
    }
    if not here:
        write_atomic(out / "report.html", report_html.unscored(result).encode("utf-8", "replace"))
    leaving.over()
    write_json(out / "metrics.json", result)  # written last, so it marks a finished run
    return result


def _score(model: Any, data: Data, about: Mapping[str, Any], origin: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Segments the held-out patients and scores them in the space of their files."""
    from unet_segmentation import evaluate, predict, segment

    held_out = [data.patients[prepared.name] for prepared in data.validation]
    patients = {patient.name: patient for patient in held_out}
    predictions = out / "predictions"
    predict.write_all([backend.forward(model)], data.validation, patients, about, predictions, segment.Options())
    options = evaluate.Options(provenance=origin)
    scores = evaluate.evaluate_files(predictions, held_out, data.convention, data.modalities, out, options)
    return {"scored": "here", **scores}


def table(result: Mapping[str, Any]) -> str:
    """The scores of a result, for a person."""
    from unet_segmentation import evaluate

    return evaluate.table(result)


def _elsewhere(data: Data, origin: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """What stands in the place of scores where the files of the held-out patients are not."""
    trainer, held_out, predictions = "python -m unet_segmentation", "HELD-OUT", f"{out}/predictions"
    return {
        "scored": "elsewhere",
        "dice": {},
        "regions": list(data.regions),
        "score_with": [
            f"{trainer} predict --model {out}/model.keras --data {held_out} --out {predictions}",
            f"{trainer} evaluate --predictions {predictions} --data {held_out} --out {out}/scores",
        ],
        "provenance": {**origin, "labels": data.convention.describe()},
    }


def describe(config: Config, data: Data) -> dict[str, Any]:
    """What predicting with the model must know; stored inside model.keras."""
    from unet_segmentation.model import multiple

    flat = config.model.dimensions == 2
    context = config.model.context if flat else 0
    return {
        "modalities": list(data.modalities),
        "channels": len(data.modalities) * (2 * context + 1),
        "convention": data.convention.as_dict(),
        "regions": list(data.regions),
        "layout": data.layout.name,
        "layout_table": data.layout.as_dict(),
        "dimensions": config.model.dimensions,
        "context": context,
        "patch": config.train.patch,
        "depth": 1 if flat else config.train.depth,
        "multiple": multiple(config.model),
        "whole_slices": flat,
        "normalisation": "z-score inside the brain, background 0, cropped to the brain",
        "config": config.as_dict(),
        "data_sha256": data.facts["sha256"],
        "manifest_sha256": data.facts["manifest_sha256"],
        "synthetic": data.facts["synthetic"],
    }


class Validation:
    """Scores the held-out patients during training and draws the first of them."""

    def __init__(self, data: Data, about: Mapping[str, Any], out: Path) -> None:
        self._data, self._about, self._out = data, about, out
        self._forward: Any = None

    def __call__(self, session: Session) -> dict[str, float]:
        """Mean Dice over the patients by region."""
        from unet_segmentation import metrics, segment

        model = session.averaged()
        self._forward = self._forward or backend.forward(model)
        options = segment.Options(flips=False)
        membership = self._data.convention.membership(self._data.regions).astype(bool)
        scores = []
        for number, prepared in enumerate(self._data.validation):
            found = segment.probabilities([self._forward], prepared, self._about, options)
            masks = segment.masks(found, self._about, options, prepared.spacing)
            truth = membership[np.asarray(prepared.classes)]
            scores.append([metrics.dice(masks[..., r], truth[..., r]) for r in range(len(self._data.regions))])
            if not number:
                self._draw(prepared, masks, truth, scores[0], session.done.step)
        return dict(zip(self._data.regions, np.mean(scores, axis=0).tolist(), strict=True))

    def _draw(self, prepared: Prepared, masks: Any, truth: Any, scores: list[float], step: int) -> None:
        from unet_segmentation import figures

        z = int(truth[..., 0].sum(axis=(1, 2)).argmax())
        names = self._data.regions
        figures.live_overlay(
            self._out / "live.png",
            [(name, np.asarray(prepared.images[z, ..., c])) for c, name in enumerate(self._data.modalities)],
            {name: truth[z, ..., r] for r, name in enumerate(names)},
            {name: masks[z, ..., r] for r, name in enumerate(names)},
            f"{prepared.name}, step {step}: " + "  ".join(f"{n} {s:.3f}" for n, s in zip(names, scores, strict=True)),
        )
