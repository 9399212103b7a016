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

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from submit import fold_views, stage_lines, trainer
from submit.dag_file import Layer, dag_text
from submit.description import Description
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic
from submit.stage_lines import Change
from submit.submission import Submission
from submit.trials import quoted

TRAIN, PREDICT, EVALUATE = "train.sub", "predict.sub", "evaluate.sub"
SPLITS = "splits.json"
FOLDS = 5  # Dong et al. 2017
# what the nodes say by VARS, by submit file; each stands in the file's `if ! defined` or has a default there
_SAID = {TRAIN: ("data", "result"), PREDICT: ("data", "model", "result"), EVALUATE: ("data", "predictions", "result")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        KitError: no project, its data cannot be split or are staged otherwise, or OUT is taken.
    """
    if not _NAME.fullmatch(out):
        raise KitError(wrong("--out", out, "no name", "letters, digits and . _ - are wanted", "E.g. --out folds"))
    jobs = {name: _submission(project / name) for name in _SAID}
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
    layers = _layers(where, trains, predicts, whole)
    wanted = _wanted(project, out, dag_text(layers), splits)
    if staged is not None:  # disk enough for the largest; their own data stand back behind VARS
        changes += stage_lines.use(_largest(staged.trains), [project / TRAIN])
        changes += stage_lines.use(_largest(staged.held_out), [project / PREDICT]) if predicts else []
        changes += stage_lines.use(staged.whole.path, [project / EVALUATE])
    for path, content in wanted.items():  # the workflow last
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, content)
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


def _submission(path: Path) -> Submission:
    """A submit file that takes what a node says.

    Raises:
        KitError: it is not there, or a line of it would win over the node.
    """
    if not path.is_file():
        raise KitError(f"{path}: not there; a project made by `osgdl new` is wanted. Change into its folder.")
    job = Submission(Description.read(path))
    for name in _SAID[path.name]:
        command = job.command(name)
        if command is None or command.unless.lower() != name:
            line = command.first if command else job.queue_line
            raise KitError(
                f"{path}:{line}: {name} is {'set for every job' if command else 'not set'}; each node has its own. "
                f"Write `if ! defined {name}`, `{name} = ...`, `endif`, and use $({name}), as new projects do."
            )
    if path.name == TRAIN and "$(settings" not in job.raw("arguments"):
        raise KitError(
            f"{path}:{job.line('arguments')}: arguments have no $(settings:); it says to the trainer which fold. "
            "Write it at their end, and take run.sh from a new project."
        )
    return job


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


def _wanted(project: Path, out: str, text: str, splits: bytes | None) -> dict[Path, bytes]:
    """What is to be written, the workflow last; nothing where all of it is there.

    Raises:
        KitError: another workflow of that name, or results of it, are there.
    """
    dag, folder, results = project / f"{out}.dag", project / out, project / "results" / out
    wanted = {**({folder / SPLITS: splits} if splits is not None else {}), dag: text.encode()}
    if all(path.is_file() and path.read_bytes() == content for path, content in wanted.items()):
        return {}
    for path in (dag, folder, results):
        if path.exists():
            mend = f"Choose another with --out, or remove {out}.dag*, {out}/ and results/{out}/"
            raise KitError(wrong("--out", out, f"{path.relative_to(project)} is there", "a new name is wanted", mend))
    return wanted


def _largest(views: Sequence[fold_views.View]) -> Path:
    return max(views, key=lambda view: view.held.bytes).path
