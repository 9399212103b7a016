"""From cookiecutter to a trained network: renders a project and runs its own train.sub on the local pool."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submit import bars, follow, image_build, images, pool, project
from submit.errors import KitError, PoolError
from submit.job_history import JobHistory
from submit.runtime.files import write_json

SUMMARY = "summary.json"
FRAMEWORK = "tensorflow-2.21"
NAME = "Brain tumour demo"
# Whole-tumour Dice of 0.9 and more: under a minute on two free cores for the small phantoms, six for real patients
# (2 x 145 slices: 1440 steps)
PHANTOM_EPOCHS, PHANTOM_PATCH = 17, 80
PATIENT_EPOCHS = 40
PHANTOMS = "4:2"  # to train on, to score on


def run(out: Path, data: Path | None, say: Callable[[str], None]) -> str:
    """Render a project into `out`, train it on the pool, write `out`/summary.json; returns the text for a person.

    Args:
        data: a folder with train/ and validation/; None makes phantoms.

    Raises:
        KitError: the pool or the image can't be made, the data has no train/, or the job did not end well.
    """
    if data is not None and not (data / "train").is_dir():
        raise KitError(
            f"data={str(data)!r}: no train/ in it; want a folder with train/ and validation/, a folder for each patient"
        )
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pool.up(say)
    folder = _render(out, "data" if data is None else "data.tar.gz", PHANTOM_EPOCHS if data is None else PATIENT_EPOCHS)
    say(f"rendered {project.shown(folder)}")
    image = images.offered()[FRAMEWORK].cvmfs_path
    image_build.build(folder / "container.def", image, cpu=True, force=False, say=say)
    if data is None:
        _fit_to_phantoms(folder / "config.toml")
        _make_phantoms(folder, image, say)
    else:
        # a folder without write permission cannot be sent: HTCondor makes the copy like it before it is full
        say(f"packing {data}")
        with tarfile.open(folder / "data.tar.gz", "w:gz", compresslevel=1) as archive:
            archive.add(data, arcname="data")
    cluster = follow.submit(folder / "train.sub")
    say(f"condor_submit train.sub: cluster {cluster}")
    history = _watch(folder / "logs" / f"{cluster}.log", cluster)
    summary = _summary(folder, history, image)
    write_json(out / SUMMARY, summary)
    if history.exit_code != 0:
        why = history.hold_reason or f"exit code {history.exit_code}"
        error = folder / "logs" / f"{cluster}.0.err"
        raise PoolError(f"job {cluster}: {history.state}: {why}; see {error} and: osgdl pool exec -- condor_q -hold")
    return _text(out, folder, summary)


def _render(out: Path, data: str, epochs: int) -> Path:
    answers = {
        "project_name": NAME,
        "ospool_project": "OSGDL_Demo",
        "framework": FRAMEWORK,
        "data": data,
        "epochs": str(epochs),
    }
    before = out / NAME.lower().replace(" ", "-")
    if (before / "osgdl.json").is_file():  # an earlier demo, and nothing else's folder
        shutil.rmtree(before)
    return project.new(project.DEFAULT_TEMPLATE, answers, out, ask=False)


def _fit_to_phantoms(configuration: Path) -> None:
    """Phantoms are smaller than the square that training images show by default."""
    text, count = re.subn(r"(?m)^patch = \d+$", f"patch = {PHANTOM_PATCH}", configuration.read_text())
    if count != 1:
        raise KitError(
            f"{configuration}: no line `patch = ...` in it; want the template's. Is the template of this kit?"
        )
    configuration.write_text(text)


def _make_phantoms(folder: Path, image: str, say: Callable[[str], None]) -> None:
    """Made inside the image, which has what the trainer needs, so that the kit does not have to."""
    say("making phantoms: brains that never were, with tumours")
    inside = ["python3", "-m", "unet_segmentation", "phantom", "--out", "data", "--split", PHANTOMS, "--seed", "1"]
    where = {"APPTAINERENV_PYTHONPATH": str(folder / "job")}
    done = pool.run(
        ["apptainer", "-s", "exec", "--bind", str(folder), "--pwd", str(folder), image, *inside],
        cwd=folder,
        environment=where,
    )
    if done.returncode:
        raise PoolError(f"phantoms: exit code {done.returncode}: {' | '.join(done.stderr.strip().splitlines()[-3:])}")


def _watch(log: Path, cluster: int) -> JobHistory:
    steps = 0  # what the job publishes of itself leaves the queue with it
    with bars.of_steps(f"job {cluster}") as bar:

        def show(history: JobHistory, now: follow.Progress) -> None:
            nonlocal steps
            what, step = history.state, steps if history.state == "done" else 0
            if history.state == "running":
                start = history.starts[-1]
                what = f"{start.site}, {start.gpu or 'no GPU'}"
                what += f", loss {now.loss:.3f}" if now.loss is not None else ""
                step, steps = now.step or 0, now.steps or steps
            bar(what, step, steps)

        return follow.follow(log, cluster, show)


def _summary(folder: Path, history: JobHistory, image: str) -> dict[str, Any]:
    start = history.starts[0] if history.starts else None
    last = history.starts[-1] if history.starts else None
    result = folder / "results" / f"{history.cluster}.{history.proc}"
    metrics = json.loads((result / "metrics.json").read_text()) if (result / "metrics.json").is_file() else {}
    return {
        "job": {
            "cluster": history.cluster,
            "site": last.site if last else None,
            "machine": last.machine if last else None,
            "gpu": last.gpu if last else None,
            "image": image,
            "exit_code": history.exit_code,
            "queue_s": start.time - history.submitted if start else None,
            "run_s": history.ended - start.time if start and history.ended else None,
            "starts": len(history.starts),
        },
        "dice": metrics.get("dice", {}),
        "pictures": [str(result / picture) for picture in metrics.get("pictures", [])],
        "report": str(result / "report.html"),
        "results": str(result),
        "device": metrics.get("provenance", {}).get("device"),
    }


def _text(out: Path, folder: Path, summary: dict[str, Any]) -> str:
    job = summary["job"]
    lines = [
        "",
        f"job {job['cluster']}: {job['site']}, {job['gpu']}; waited {job['queue_s']} s, ran {job['run_s']} s",
        f"image: {job['image']}",
        f"device: {summary['device']}",
        "",
        f"{'Dice, patients not trained on':<34}{'whole':>8}{'core':>8}{'enhancing':>11}",
    ]
    for patient, dice in summary["dice"].items():
        figures = ["-" if dice[region] is None else f"{dice[region]:.3f}" for region in ("whole", "core", "enhancing")]
        lines.append(f"{patient:<34}{figures[0]:>8}{figures[1]:>8}{figures[2]:>11}")
    following = [
        (f"less {project.shown(folder / 'README.md')}", "what the project holds, and its way onto the OSPool"),
        (f"less {project.shown(folder / 'train.sub')}", "the submit file that just ran, line by line"),
        ("osgdl pool status", "the sites it could have matched"),
        ("osgdl demo --data DIR", "real patients: DIR/train and DIR/validation"),
        ("osgdl pool down", "when you are done"),
    ]
    activate = Path(sys.prefix) / "bin" / "activate"
    if not shutil.which("osgdl") and activate.is_file():
        following.insert(0, (f". {project.shown(activate)}", "so that the shell finds osgdl"))
    width = max(len(what) for what, _ in following)
    lines.append("")
    lines += [f"picture: {project.shown(Path(picture))}" for picture in summary["pictures"]]
    lines += [
        f"report: {project.shown(Path(summary['report']))}",
        f"summary: {project.shown(out / SUMMARY)}",
        "",
        "What to try next:",
        *(f"  {what:<{width}}  {why}" for what, why in following),
    ]
    return "\n".join(lines)
