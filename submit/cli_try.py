"""The command that runs a job through evictions and faults; registered by submit.cli."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    submit_file: Annotated[Path | None, typer.Argument(metavar="JOB.sub", help="A submit file, run unchanged.")] = None,
    words: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="As for condor_submit.")] = None,
    evict_every: Annotated[
        str | None, typer.Option("--evict-every", metavar="TIME", help="Mean time of running between two evictions.")
    ] = None,
    faults: Annotated[str, typer.Option("--faults", help="Names, comma-separated; list: what there is.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="The same seed: evictions at the same moments.")] = 1,
    limit: Annotated[str, typer.Option("--limit", metavar="TIME", help="Then it is given up.")] = "30min",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Run a submit file on the local pool, taking machines away and doing faults to it; says where the time went.

    Exit code 1 unless every job ended with 0. docs/eviction.md says what each fault must come to.

    Examples: osgdl try train.sub --evict-every 60s; osgdl try train.sub data=patients --faults machine-dies,full-disk;
    osgdl try --faults list
    """
    from submit import faults as fault_table
    from submit import tryout, tryout_text

    if submit_file is None or faults == "list":
        typer.echo(fault_table.table())
        raise typer.Exit(0 if faults == "list" else 2)
    outcome = tryout.run(
        submit_file,
        words or [],
        evict_every=evict_every,
        faults=fault_table.chosen(faults),
        seed=seed,
        limit=limit,
        say=lambda line: typer.echo(line, err=True),
    )
    typer.echo(tryout_text.as_json(outcome) if as_json else tryout_text.text(outcome))
    raise typer.Exit(0 if outcome.fine else 1)
