"""`osgdl folds`: a workflow of DAGMan's that trains each fold of a cross-validation as a job of its own, predicts who
was held out, and scores all of them in one report at the end.

    train-0   train-1   ...      train.sub
       |         |
    predict-0 predict-1 ...      predict.sub; not where the training has the patients held out, and predicts them itself
        \\       /
         report-0                evaluate.sub: a plain last node. A FINAL one would run after a failed fold too, and its
                                 success would be the workflow's: no rescue file
"""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from submit import fold_views, named_files, node_job, stage_lines, trainer
from submit.dag_file import Layer, dag_text
from submit.errors import KitError, wrong
from submit.node_job import EVALUATE, PREDICT, SETTINGS, TRAIN
from submit.stage_lines import Change
from submit.submission import Submission
from submit.trials import quoted

SPLITS = "splits.json"
FOLDS = 5  # Dong et al. 2017
# what the nodes say by VARS, by submit file
_SAID = {
    TRAIN: ("data", "result", SETTINGS),
    PREDICT: ("data", "model", "result"),
    EVALUATE: ("data", "predictions", "result"),
}


@dataclass(frozen=True)
class Folds:
    """What was written: the workflow, how many folds it has, and the lines changed in submit files."""

    dag: Path
    count: int
    report: str
    changes: list[Change] = field(default_factory=list)
    said: str = ""


def write(project: Path, count: int | None = None, out: str = "folds") -> Folds:
    """Writes OUT.dag beside the submit files, and OUT/splits.json where the data are a local folder. Done again with
    the same wishes, it changes nothing.

    Args:
        project: its folder, where train.sub lies.
        count: of folds; None: as many as were staged, else 5.
        out: name of the workflow, and of its folder in results/.

    Raises:
        KitError: no project, its data cannot be split or sent or are staged otherwise, or OUT is taken.
    """
    named_files.require_name(out)
    # train.sub may still have the queue of a job for each staged fold
    jobs = {name: node_job.read(project / name, said, one=name != TRAIN) for name, said in _SAID.items()}
    node_job.require_fillable(jobs[TRAIN])
    where = f"results/{out}"
    staged = fold_views.find(jobs[TRAIN])
    changes: list[Change] = []
    if staged is None:
        data, number = jobs[TRAIN].value("data"), FOLDS if count is None else count
        splits, said = _split(project, data, number)
        trains = [
            {
                "data": data,
                "data_objects": f"{out}/{SPLITS}",
                "settings": quoted([f"data.splits={SPLITS}", f"data.fold={at}"]),
            }
            for at in range(number)
        ]
        predicts: list[dict[str, str]] = []
        whole = {"data": data}
    else:
        number, splits, said = len(staged.trains), None, ""
        if count not in (None, number):
            mend = f"Leave it out, or stage again: osgdl stage SOURCE DEST --splits SPLITS.json with {count} folds"
            raise KitError(wrong("--folds", count, f"{number} are staged", "as many as are staged", mend))
        trains = [fold_views.sent(view, project) for view in staged.trains]
        predicts = [fold_views.sent(view, project) for view in staged.held_out]
        whole = fold_views.sent(staged.whole, project)
    trains = [_with_layout(project, jobs[TRAIN], one) for one in trains]
    layers = _layers(where, trains, predicts, _with_layout(project, jobs[EVALUATE], whole))
    files = {} if splits is None else {project / out / SPLITS: splits}
    wanted = named_files.missing(project, out, {**files, project / f"{out}.dag": dag_text(layers).encode()})
    if staged is not None:  # disk enough for the largest; their own data stand back behind VARS
        changes += stage_lines.use(_largest(staged.trains), [project / TRAIN])
        changes += stage_lines.use(_largest(staged.held_out), [project / PREDICT]) if predicts else []
        changes += stage_lines.use(staged.whole.path, [project / EVALUATE])
    named_files.write(wanted)
    return Folds(project / f"{out}.dag", number, f"{where}/report/report.html", changes, said)


def _layers(
    where: str, trains: Sequence[Mapping[str, str]], predicts: Sequence[Mapping[str, str]], whole: Mapping[str, str]
) -> list[Layer]:
    numbers = range(len(trains))
    layers = [
        Layer(
            "train",
            TRAIN,
            [{**said, "result": f"{where}/train-{at}"} for at, said in zip(numbers, trains, strict=True)],
        )
    ]
    if predicts:
        models = [f"{where}/train-{at}/model.keras" for at in numbers]
        said = [
            {**one, "model": model, "result": f"{where}/predict-{at}"}
            for at, one, model in zip(numbers, predicts, models, strict=True)
        ]
        layers.append(Layer("predict", PREDICT, said))
    kind, inside = ("predict", "") if predicts else ("train", "/predictions")
    report = {
        **whole,
        "predictions": ", ".join(f"{where}/{kind}-{at}" for at in numbers),
        "scored": quoted([f"{kind}-{at}{inside}" for at in numbers]),
        "result": f"{where}/report",
    }
    return [*layers, Layer("report", EVALUATE, [report])]


def _with_layout(project: Path, job: Submission, said: dict[str, str]) -> dict[str, str]:
    """What a node says, and a layout's file of the user's own, where config.toml names one and the job lacks it."""
    try:
        config = tomllib.loads((project / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return said  # the trainer says so
    layout = config.get("data", {}).get("layout", "auto")
    listed = [entry.strip() for entry in job.value("transfer_input_files").split(",")]
    if not layout.endswith(".toml") or layout in listed or not (project / layout).is_file():
        return said
    return {**said, "data_objects": ", ".join(filter(None, [said.get("data_objects", ""), layout]))}


def _split(project: Path, data: str, count: int) -> tuple[bytes, str]:
    """splits.json of a local folder, made by the project's trainer, and what it said."""
    folder = project / data
    if "://" in data or not folder.is_dir():
        mend = "Unpack it, or stage it: osgdl stage SOURCE DEST --splits splits.json"
        raise KitError(wrong("data", data, "no folder here and not staged by folds", "one of the two", mend))
    with trainer.scratch() as scratch:
        made = scratch / SPLITS
        words = ["split", "--data", str(folder), "--out", str(made), "--folds", str(count)]
        config = project / "config.toml"
        words += ["--config", str(config.resolve())] if config.is_file() else []
        done = trainer.run(project, words)
        _require(done, folder)
        said = "\n".join(line for line in done.stdout.splitlines() if line.startswith("fold "))
        return made.read_bytes(), said


def _require(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise KitError("\n".join([*lines[-5:], f"data={str(folder)!r}: cannot be split, as said above. Mend that."]))


def _largest(views: Sequence[fold_views.View]) -> Path:
    return max(views, key=lambda view: view.held.bytes).path
