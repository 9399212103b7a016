"""`osgdl sweep --halving`: many trials with a small budget; the best share goes on to the next rung with a larger one.

    rung0-0  rung0-1  ...     OUT.sub, from train.sub; a trial that fails is the worst of its rung and stops nothing
        \\       /
         choose1              no job: `osgdl sweep rung` on the access point, before it
        /       \\
    rung1-0  rung1-1  ...     a place each; `choose1` writes who takes it, and a place that is left over is skipped
        \\       /
          end                 no job: `osgdl sweep results`

OUT.dag                   the workflow; its rescue file continues it
OUT/halving.json          what was wished
OUT/space.toml            the space, as it was
OUT/trials.csv            trial, its settings, its folder; proposed ones join it
OUT/rung-1.csv            who is in a rung: written once, so that a workflow that is started again goes on with these
OUT/places/rung1-0.sub    who has a place: OUT.sub includes it
results/OUT/000017/1/     what trial 17 brought home from rung 1

Each rung trains anew, and does not continue the trial's checkpoint: the learning rate falls along the whole of a
training, so one that is cut short has not come to rest, and its score says little about where it would have ended. What
it costs: with a third kept and each rung three times as long, at most half as much again; and nothing but numbers
travels between rungs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from submit import named_files, node_job, rungs, sampler, sweep, sweep_results, trials
from submit.dag_file import Layer, dag_text
from submit.errors import KitError, wrong
from submit.rungs import PLAN, Plan
from submit.sweep_results import Results, Row
from submit.trials import Trial

FRESH = 3  # one of so many places of a later rung is for what optuna proposes
SPACE, PLACES = "space.toml", "places"


def write(project: Path, source: Path, plan: Plan, out: str = "sweep") -> Path:
    """Writes the workflow, and returns its file. Done again with the same wishes, it changes OUT.sub alone, after
    train.sub.

    Args:
        source: SPACE.toml.

    Raises:
        KitError: no project, its data cannot be sent, a setting that the trainer refuses, or OUT is taken.
    """
    named_files.require_name(out)
    node_job.require_fillable(node_job.read(project / node_job.TRAIN, ("result", node_job.SETTINGS)))
    space = trials.read(source)
    listed, keys = trials.drawn(space, plan.places[0], plan.seed), tuple(space)
    for amount in (plan.amounts[0], plan.amounts[-1]):
        sweep.ask_trainer(project, (*keys, plan.budget), [(*trial, f"{amount:g}") for trial in listed])
    wanted = named_files.missing(
        project,
        out,
        {
            project / out / SPACE: source.read_bytes(),
            project / out / PLAN: (json.dumps(asdict(plan), indent=1) + "\n").encode(),
            project / f"{out}.dag": dag_text(_layers(plan, out)).encode(),
        },
    )
    if wanted:
        _take(project, out, plan, 0, list(range(len(listed))), keys, listed)
    include = f"# who has this place of the workflow: trial, rung, settings\ninclude : {out}/{PLACES}/$(place).sub\n"
    values = {"result": f"results/{out}/$(trial:none)/$(rung:0)"}
    job = sweep.queued(project, node_job.TRAIN, out, values, "queue 1", include)
    named_files.write({project / f"{out}.sub": job.text.encode("utf-8", "surrogateescape"), **wanted})
    return project / f"{out}.dag"


def is_one(project: Path, out: str) -> bool:
    """Whether the sweep has rungs."""
    return (project / out / PLAN).is_file()


def choose(project: Path, out: str, rung: int) -> list[int]:
    """Who is in a rung, by the scores of the one before; decided once, and written.

    Raises:
        KitError: no such sweep or rung, or nobody has a score.
    """
    plan = rungs.read(project, out)
    if not 1 <= rung < len(plan.places):
        raise KitError(
            wrong("RUNG", rung, "no rung to choose for", f"1 to {len(plan.places) - 1} are wanted", "E.g. 1")
        )
    if _list_of(project, out, rung).is_file():
        return _members(project, out, rung)
    keys, listed = sweep.read(project, out)
    _, scores = _scores(project, out, plan, range(rung), plan.by)
    before = scores[rung - 1]
    sign = 1 if plan.lowest else -1
    best = sorted((sign * score, trial) for trial, score in before.items() if score is not None)
    if not best:
        raise KitError(
            f"results/{out}: no trial of rung {rung - 1} has a score; one is wanted. Its jobs' errors are in logs/; "
            f"mend what they say, and begin anew: condor_submit_dag -f {out}.dag"
        )
    places = plan.places[rung]
    kept = [trial for _, trial in best[: places - (places // FRESH if plan.sampler == "tpe" else 0)]]
    listed = listed[: 1 + max(trial for one in scores for trial in one)]  # without those of a choice that was cut short
    if plan.sampler == "tpe":
        space = trials.read(project / out / SPACE)
        told = {
            listed[trial]: {at: one[trial] for at, one in enumerate(scores) if trial in one}
            for trial in sorted({trial for one in scores for trial in one})
        }
        fresh = sampler.proposed(space, told, places - len(kept), plan.seed + rung, plan.lowest)
        kept += range(len(listed), len(listed) + len(fresh))
        listed = [*listed, *fresh]
    _take(project, out, plan, rung, kept, keys, listed)
    return kept


def gather(project: Path, out: str, by: str = "", lowest: bool = False) -> Results:
    """Of each trial the score in the last rung where it has one; `by` and `lowest`: as planned where not given.

    Raises:
        KitError: no such sweep, or no results have that number.
    """
    plan = rungs.read(project, out)
    keys, listed = sweep.read(project, out)
    there = [rung for rung in range(len(plan.places)) if _list_of(project, out, rung).is_file()]
    name, scores = _scores(project, out, plan, there, by or plan.by)
    rows = []
    for trial, values in enumerate(listed):
        been = [rung for rung in there if trial in scores[rung]]
        scored = [rung for rung in been if scores[rung][trial] is not None]
        rung = (scored or been or [0])[-1]
        folder = f"results/{out}/{sweep.folder(trial)}/{rung}"
        rows.append(Row(trial, dict(zip(keys, values, strict=True)), folder, scores[rung].get(trial), rung))
    counts = [(len(scores[rung]), sum(score is not None for score in scores[rung].values())) for rung in there]
    return sweep_results.ranked(project, out, rows, name, lowest or (not by and plan.lowest), counts)


def _layers(plan: Plan, out: str) -> list[Layer]:
    kit = [sys.executable, "-P", "-m", "submit", "sweep"]
    file, notes, layers = f"{out}.sub", f"logs/{out}.txt", list[Layer]()
    for rung, places in enumerate(plan.places):
        pre: list[str] = []
        if rung:
            layers.append(
                Layer(
                    f"choose{rung}",
                    file,
                    alone=True,
                    job=False,
                    pre=[*kit, "rung", str(rung), "--out", out],
                    notes=notes,
                )
            )
            pre = ["/usr/bin/test", "-f", f"{out}/{PLACES}/{{node}}.sub"]
        said = [{"place": f"rung{rung}-{place}"} for place in range(places)]
        layers.append(Layer(f"rung{rung}", file, said, pre=pre, skip=1 if pre else None, fails=False))
    return [*layers, Layer("end", file, alone=True, job=False, pre=[*kit, "results", "--out", out], notes=notes)]


def _take(
    project: Path, out: str, plan: Plan, rung: int, members: Sequence[int], keys: Sequence[str], listed: list[Trial]
) -> None:
    """Writes who has the places of a rung; its list last."""
    files = {project / out / "trials.csv": sweep.table(keys, listed, out)}
    for place, trial in enumerate(members):
        said = trials.settings([*keys, plan.budget], (*listed[trial], f"{plan.amounts[rung]:g}"))
        text = f"trial = {sweep.folder(trial)}\nrung = {rung}\nsettings = {trials.quoted(said)}\n"
        files[project / out / PLACES / f"rung{rung}-{place}.sub"] = text.encode()
    files[_list_of(project, out, rung)] = "".join(f"{trial}\n" for trial in ["trial", *members]).encode()
    named_files.write(files)


def _list_of(project: Path, out: str, rung: int) -> Path:
    return project / out / f"rung-{rung}.csv"


def _members(project: Path, out: str, rung: int) -> list[int]:
    path = _list_of(project, out, rung)
    try:
        return [int(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    except (OSError, ValueError) as fault:
        raise KitError(f"{path}: {fault}; a list of trials, as osgdl wrote it, is wanted. Undo the change.") from None


def _scores(
    project: Path, out: str, plan: Plan, numbers: Iterable[int], by: str
) -> tuple[str, list[dict[int, float | None]]]:
    """The score's name; by rung of each trial in it the score, None where it has none."""
    folders = {
        (rung, trial): project / "results" / out / sweep.folder(trial) / str(rung)
        for rung in numbers
        for trial in _members(project, out, rung)
    }
    name, found = sweep_results.scores(folders, by)
    scores: list[dict[int, float | None]] = [{} for _ in plan.places]
    for (rung, trial), score in found.items():
        scores[rung][trial] = score
    return name, scores
