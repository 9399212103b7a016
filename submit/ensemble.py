"""`osgdl ensemble`: predicts many patients with one network, or with several together, in chunks: a job each.

OUT.sub                      predict.sub, with a queue of the chunks without results
OUT/models/train-0.keras     the networks, each under a name of its own; another training does not change them
OUT/ensemble.json            which networks and data, and who is in which chunk
OUT/chunks/0003/             what its job is sent: links to its patients' files, or a manifest of their shards
OUT/chunks.txt               the rows of the queue
results/OUT/chunks/0003/     what it brought home
results/OUT/predictions/     all that came home
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import chunks, fold_views, named_files, node_job, sweep
from submit.errors import KitError, wrong
from submit.runtime.files import write_atomic
from submit.runtime.shard import sha256
from submit.submission import Submission

MODELS = "results/folds/train-*/model.keras"  # of osgdl folds
EACH = 10  # patients of a job
PLAN = "ensemble.json"
RECORD = "predictions.json"  # the trainer writes it last
LEFT_OUT = "left_out"  # in it: patients at fault, and why
GO_ON = "--leave-out-faulty"  # of the predictor: one patient at fault does not cost its chunk


@dataclass(frozen=True)
class Ensemble:
    """What there is: the networks, how many patients and chunks, the chunks without results; where all results are, and
    who was left out for a fault, and why.
    """

    file: Path
    models: list[str]
    patients: int
    chunks: int
    waiting: list[int]
    predictions: Path
    left_out: dict[str, str]


def write(
    project: Path, models: Sequence[str] = (), data: str = "", each: int | None = None, out: str = "ensemble"
) -> Ensemble:
    """Writes the submit file and what its jobs are sent; puts what came home into one folder. Done again, it queues
    what is left.

    Args:
        models: paths or patterns of them; empty: those of OUT, else of the folds.
        data: a folder or a manifest; empty: those of OUT, else of predict.sub.
        each: patients of a job.

    Raises:
        KitError: no project, no such networks or data, OUT is taken, or jobs of it are in the queue.
    """
    named_files.require_name(out)
    job = node_job.read(project / node_job.PREDICT, ("data", "model", "result"))
    place = project / out / PLAN
    known = _read(place) if place.is_file() else None
    found = _models(project, models) if models or known is None else {}
    data = data or (known["data"] if known else job.value("data"))
    if each is None:
        each = int(known["each"]) if known else EACH
    wish: dict[str, Any] = {
        "models": {name: sha256(path) for name, path in found.items()},
        "data": data,
        "each": each,
    }
    if known is None:
        for path in (project / f"{out}.sub", project / out, project / "results" / out):
            if path.exists():
                mend = f"Choose another with --out, or remove {out}.sub, {out}/ and results/{out}/"
                raise KitError(wrong("--out", out, f"{path.relative_to(project)} is there", "a new name", mend))
        known = _deal(project, out, found, wish)
    elif any(known[key] != wish[key] for key in ("data", "each")) or (found and known["models"] != wish["models"]):
        mend = f"Choose another name with --out, or go on with them: osgdl ensemble --out {out}"
        raise KitError(wrong("--out", out, "holds other networks, data or chunks", "the same", mend))
    names = [_folder(number) for number in range(len(known["chunks"]))]
    home = [name for name in names if (project / "results" / out / "chunks" / name / RECORD).is_file()]
    predictions, left_out = _gather(project / "results" / out, home)
    waiting = [number for number, name in enumerate(names) if name not in home]
    if waiting:
        sweep.require_out_of_queue(project, out)
        _queue(project, out, job, [known["rows"][number] for number in waiting])
    patients = sum(map(len, known["chunks"]))
    return Ensemble(
        project / f"{out}.sub", sorted(known["models"]), patients, len(names), waiting, predictions, left_out
    )


def _models(project: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Networks by the name that each has in OUT/models."""
    paths: dict[Path, None] = {}
    for pattern in wanted or [MODELS]:
        some = sorted(project.glob(pattern)) if not Path(pattern).is_absolute() else sorted(Path("/").glob(pattern[1:]))
        paths |= dict.fromkeys(path for path in some if path.is_file())
        if not some:
            mend = "E.g. --models 'results/*/model.keras'" if wanted else "Run osgdl folds first, or name them"
            raise KitError(wrong("--models", pattern, "no such file", "model.keras of trainings are wanted", mend))
    found: dict[str, Path] = {}
    for path in paths:
        plain = path.stem in ("model", "best")
        name = (
            re.sub(r"[^A-Za-z0-9._-]", "_", path.resolve().parent.name if plain else path.stem).lstrip(".") or "model"
        )
        while f"{name}.keras" in found:
            name += "x"
        found[f"{name}.keras"] = path
    return found


def _deal(project: Path, out: str, models: dict[str, Path], wish: dict[str, Any]) -> dict[str, Any]:
    """Writes what the jobs are sent, in a folder that gets its name when all of it is there; returns the plan."""
    data, each = wish["data"], wish["each"]
    if each < 1:
        raise KitError(wrong("--each", each, "no number of patients", "1 or more", f"E.g. --each {EACH}"))
    view = chunks.staged(project, data)
    files = {} if view else chunks.patients_of(project, data, list(models.values()))
    draft, rows, dealt = project / f".{out}.draft", list[str](), list[list[str]]()
    shutil.rmtree(draft, ignore_errors=True)
    if view:
        for number, (names, shards) in enumerate(chunks.dealt_shards(view, each)):
            made = chunks.write_view(view, number, names, shards, draft / "chunks" / _folder(number))
            sent = fold_views.sent(made, draft)
            rows.append(f"{_folder(number)} {out}/{sent['data']} {sent['data_objects']}")
            dealt.append(names)
    else:
        for number, names in enumerate(chunks.dealt(sorted(files), each)):
            folder = chunks.write_local(project / data, files, names, draft / "chunks" / _folder(number))
            rows.append(f"{_folder(number)} {out}/{folder.relative_to(draft)}")
            dealt.append(names)
    (draft / "models").mkdir(parents=True)
    for name, path in models.items():
        shutil.copyfile(path, draft / "models" / name)
    plan = {**wish, "chunks": dealt, "rows": rows}
    write_atomic(draft / PLAN, (json.dumps(plan, indent=1) + "\n").encode())
    draft.rename(project / out)
    return plan


def _queue(project: Path, out: str, predict: Submission, rows: Sequence[str]) -> None:
    values = {
        "model": f"{out}/models", "result": f"results/{out}/chunks/$(chunk)", "max_idle": str(sweep.MAX_IDLE),
    }  # fmt: skip
    said = predict.raw("arguments").rstrip()
    if GO_ON in predict.script and GO_ON not in said:  # the run.sh of an older project does not hand it on
        values["arguments"] = f'{said[:-1]} {GO_ON}"' if said.endswith('"') else f"{said} {GO_ON}"
    listed = f"{out}/chunks.txt"
    job = sweep.queued(
        project, node_job.PREDICT, out, values, f"queue chunk, data, data_objects from {listed}"
    )  # fmt: skip
    named_files.write(
        {
            project / listed: "".join(f"{row}\n" for row in rows).encode(),
            project / f"{out}.sub": job.text.encode("utf-8", "surrogateescape"),
        }
    )


def _gather(results: Path, names: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """Puts the predictions of chunks into one folder, with one record of them; who was left out, and why."""
    target, record = results / "predictions", dict[str, Any]()
    for name in names:
        folder = results / "chunks" / name
        held = json.loads((folder / RECORD).read_bytes())
        both = {key: {**record.get(key, {}), **held.get(key, {})} for key in ("patients", LEFT_OUT)}
        record = {**held, **both}
        target.mkdir(exist_ok=True)
        for path in folder.glob("*.nii.gz"):
            chunks.link(path, target / path.name)
    if record:
        write_atomic(target / RECORD, (json.dumps(record, indent=2) + "\n").encode())
    return target, record.get(LEFT_OUT, {})


def _read(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_bytes())
        if not {"models", "data", "each", "chunks", "rows"} <= set(held):
            raise ValueError("something is missing")
        return dict(held)
    except (OSError, ValueError, TypeError) as fault:
        raise KitError(f"{path}: {fault}; what `osgdl ensemble` wrote is wanted. Remove its folder.") from None


def _folder(number: int) -> str:
    return f"{number:04}"
