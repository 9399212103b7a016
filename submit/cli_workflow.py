"""The commands that write many jobs at once: folds, sweep; registered by submit.cli."""

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
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same trials.")] = 1,
    out: Out = "sweep",
    as_json: AsJson = False,
) -> None:
    """Write a submit file of many trainings; again: for those without results. Wait until none is in the queue.

    SPACE.toml has the sections of config.toml; each key a list, or { from = 1e-4, to = 1e-2, log = true } to draw from.

    Examples: osgdl sweep space.toml --grid && condor_submit sweep.sub; osgdl sweep space.toml --random 200
    osgdl sweep --out sweep
    """
    from submit import sweep, trials

    if space is None:
        if grid or count is not None:
            raise typer.BadParameter("--grid and --random are for a SPACE.toml: name one")
        keys, wanted = tuple[str, ...](), list[trials.Trial]()
    else:
        if grid == (count is not None):
            raise typer.BadParameter("give --grid, or --random N")
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
    from submit import sweep_results

    found = sweep_results.gather(Path(), out, by, lowest)
    if as_json:
        typer.echo(json.dumps({"by": found.by, "trials": [row.as_dict() for row in found.rows]}))
    else:
        typer.echo(sweep_results.text(found, most))
    _say(f"all of them: {out}/results.csv; the best of many looks better than it is: score it on patients no trial saw")
