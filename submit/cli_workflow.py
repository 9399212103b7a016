"""The commands that write many jobs at once: folds, sweep, ensemble, chain; registered by submit.cli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from submit import cli_group

Out = Annotated[str, typer.Option("--out", help="Name of its files here, and of its folder in results/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


sweep_app = typer.Typer(
    cls=cli_group.with_default("make"),
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Many trainings with other settings: osgdl sweep SPACE.toml --random 100 writes them (all options: "
    "osgdl sweep make --help).",
)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def folds(
    count: Annotated[int | None, typer.Option("--folds", help="Default: as many as were staged, else 5.")] = None,
    out: Out = "folds",
    as_json: AsJson = False,
) -> None:
    """Write a workflow that trains each fold of a cross-validation as its own job and ends in one report.

    The data of train.sub: a folder here, which is split, all patients of a person together; or staged with --splits.

    Examples: osgdl folds && condor_submit_dag folds.dag; osgdl folds --folds 3 --out three
    """
    from submit import folds as workflow
    from submit import stage_text

    made = workflow.write(Path(), count, out)
    if as_json:
        typer.echo(json.dumps({"dag": str(made.dag), "folds": made.count, "report": made.report}))
    else:
        typer.echo("\n".join(filter(None, [made.said, str(made.dag)])))
    if made.changes:
        _say(stage_text.changed(made.changes))
    for line in stage_text.changes_notes(made.changes):
        _say(line)
    _say(f"next: osgdl check {made.dag} && condor_submit_dag {made.dag}   (at the end: {made.report})")


@sweep_app.command("make")
def make(
    space: Annotated[
        Path | None, typer.Argument(metavar="[SPACE.toml]", help="Settings and their values; none: go on with --out.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Every combination of the lists.")] = False,
    count: Annotated[int | None, typer.Option("--random", metavar="N", help="So many drawn trials.")] = None,
    halve: Annotated[
        int | None, typer.Option("--halving", metavar="N", help="So many drawn trials, of which the best go on.")
    ] = None,
    rungs: Annotated[int | None, typer.Option("--rungs", help="With --halving: how many; default 3.")] = None,
    keep: Annotated[str, typer.Option("--keep", help="With --halving: the share that goes on; default 1/3.")] = "",
    sampler: Annotated[
        str, typer.Option("--sampler", help="With --halving: random, or tpe: optuna proposes a third of later rungs.")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="With --halving: the score, a number of metrics.json.")] = "",
    lowest: Annotated[bool, typer.Option("--lowest", help="With --halving: the lowest score is the best.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same trials.")] = 1,
    out: Out = "sweep",
    as_json: AsJson = False,
) -> None:
    """Write a submit file of many trainings; again: for those without results, once none is in the queue.

    SPACE.toml has the sections of config.toml; each key a list, or { from = 1e-4, to = 1e-2, log = true } to draw from.
    --halving writes a workflow: all trials train for a short time, the best third three times as long, and so on, up to
    what config.toml says.

    Examples: osgdl sweep space.toml --grid && condor_submit sweep.sub; osgdl sweep space.toml --random 200;
    osgdl sweep --out sweep; osgdl sweep space.toml --halving 27 && condor_submit_dag sweep.dag
    """
    from submit import halving, sweep, trials
    from submit import rungs as planning

    ways = sum([grid, count is not None, halve is not None])
    if space is None and ways:
        raise typer.BadParameter("--grid, --random and --halving are for a SPACE.toml: name one")
    if space is not None and ways != 1:
        raise typer.BadParameter("give one of --grid, --random N, --halving N")
    if halve is None and (rungs is not None or keep or sampler or by or lowest):
        raise typer.BadParameter("--rungs, --keep, --sampler, --by and --lowest are for --halving N")
    if space is not None and halve is not None:
        plan = planning.planned(
            Path(), trials.read(space), halve, rungs or planning.RUNGS, keep or planning.KEEP, seed,
            sampler or "random", by, lowest,
        )  # fmt: skip
        dag = halving.write(Path(), space, plan, out)
        if as_json:
            about = {"dag": str(dag), "budget": plan.budget, "places": plan.places, "amounts": plan.amounts}
            typer.echo(json.dumps(about))
        else:
            for rung, (places, amount) in enumerate(zip(plan.places, plan.amounts, strict=True)):
                typer.echo(f"rung {rung}: {places:,} trials, {plan.budget} = {amount:g}")
        _say(f"next: condor_submit_dag {dag}   (then: osgdl sweep results --out {out})")
        return
    if space is None:
        if halving.is_one(Path(), out):
            raise typer.BadParameter(f"{out} has rungs, and its workflow goes on: condor_submit_dag {out}.dag")
        keys, wanted = tuple[str, ...](), list[trials.Trial]()
    else:
        held = trials.read(space)
        keys = tuple(held)
        wanted = trials.grid(held) if count is None else trials.drawn(held, count, seed)
    made = sweep.write(Path(), keys, wanted, out)
    total, waiting = len(made.trials), len(made.waiting)
    if as_json:
        typer.echo(json.dumps({"file": str(made.file), "trials": total, "queued": waiting}))
    else:
        typer.echo(f"{made.file}: {waiting:,} of {total:,} trials, {total - waiting:,} have results")
    _say(f"next: condor_submit {made.file}" if waiting else f"nothing to queue; next: osgdl sweep results --out {out}")


@sweep_app.command("results")
def results(
    out: Out = "sweep",
    by: Annotated[str, typer.Option("--by", help="A number of metrics.json, such as mean_dice.whole.")] = "",
    lowest: Annotated[bool, typer.Option("--lowest", help="The lowest is the best.")] = False,
    most: Annotated[int, typer.Option("--best", metavar="N", help="Rows of the table.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The trials that came home, best first; all of them in OUT/results.csv.

    Examples: osgdl sweep results; osgdl sweep results --by mean_dice.enhancing --best 5
    """
    from submit import halving, sweep_results

    read = halving.gather if halving.is_one(Path(), out) else sweep_results.gather
    found = read(Path(), out, by, lowest)
    if as_json:
        rungs = [{"trials": members, "scored": scored} for members, scored in found.rungs]
        typer.echo(json.dumps({"by": found.by, "rungs": rungs, "trials": [row.as_dict() for row in found.rows]}))
    else:
        typer.echo(sweep_results.text(found, most))
    _say(f"all of them: {out}/results.csv; the best of many looks better than it is: score it on patients no trial saw")


@sweep_app.command("rung")
def rung(number: Annotated[int, typer.Argument(metavar="RUNG", help="From 1 on.")], out: Out = "sweep") -> None:
    """Choose who goes on into a rung; the workflow of --halving runs it between two of them.

    Example: osgdl sweep rung 1 --out sweep
    """
    from submit import halving

    chosen = halving.choose(Path(), out, number)
    typer.echo(f"rung {number}: trials {', '.join(map(str, chosen))}")


def ensemble(
    models: Annotated[
        list[str] | None,
        typer.Option("--models", help="Networks, or a pattern of them; may be repeated. Default: of the folds."),
    ] = None,
    data: Annotated[str, typer.Option("--data", help="A folder, or a manifest. Default: predict.sub's.")] = "",
    each: Annotated[int | None, typer.Option("--each", metavar="N", help="Patients of a job; default 10.")] = None,
    out: Out = "ensemble",
    as_json: AsJson = False,
) -> None:
    """Write a submit file that predicts many patients with several networks together, or with one; some patients a job.

    Again: puts what came home into one folder, queues what is left, and says which patients were left out for a fault.

    Examples: osgdl ensemble --data new && condor_submit ensemble.sub; osgdl ensemble;
    osgdl ensemble --models results/12.0/model.keras --data staged/brats-manifest-HASH.json --each 20 --out brats
    """
    from submit import ensemble as workflow

    made = workflow.write(Path(), models or (), data, each, out)
    left = len(made.waiting)
    if as_json:
        about = {"file": str(made.file), "models": made.models, "patients": made.patients, "chunks": made.chunks}
        results = {"queued": left, "predictions": str(made.predictions), "left_out": made.left_out}
        typer.echo(json.dumps({**about, **results}))
    else:
        typer.echo(
            f"{len(made.models)} networks, {made.patients:,} patients; {left:,} of {made.chunks:,} jobs to queue, "
            f"{made.chunks - left:,} have results"
        )
        for fault in made.left_out.values():
            typer.echo(f"left out: {fault}")
    again = f"next: condor_submit {made.file}   (then, to gather the results: osgdl ensemble --out {out})"
    _say(again if left else f"all predictions: {made.predictions}")


def chain(
    links: Annotated[int, typer.Option("--links", help="How many jobs, one after the other.")],
    out: Out = "chain",
    as_json: AsJson = False,
) -> None:
    """Write a workflow of one training in several jobs, each with its share of the steps; the network is the same.

    For pools whose slots are shorter than the training. Data, settings, results: as train.sub says.

    Examples: osgdl chain --links 4 && condor_submit_dag chain.dag
    """
    from submit import chain as workflow

    made = workflow.write(Path(), links, out)
    typer.echo(json.dumps({"dag": str(made.dag), "links": links, "result": made.result}) if as_json else str(made.dag))
    _say(f"next: osgdl check {made.dag} && condor_submit_dag {made.dag}   (at the end: {made.result})")
