"""The command that explains failures; registered by submit.cli."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB|DIR|LOG|FILE.err]...", help="Job numbers, folders, event logs; none: here."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="The local pool, though HTCondor is installed here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Why jobs failed, are held or stay idle: what happened, whose fault it is, whether waiting helps, what mends it.

    A job by its number is told whatever its state, from the event logs of this folder or of one named after it; of a
    folder (a submit file or workflow stands for its own) or log, what failed, is held or is idle for more than an hour,
    by cause. An error file alone (FILE.err) is searched for what the kit knows. Exit code 1 when something failed.

    Examples: osgdl explain 12.0; osgdl explain; osgdl explain 12 runs/lung; osgdl explain logs/12.0.err --json
    """
    from submit import explain as explainer
    from submit import explain_table

    chosen = targets or []
    if found := explainer.stderr_of(chosen):
        typer.echo(explain_table.stderr_json(found) if as_json else explain_table.stderr_text(found))
        raise typer.Exit(int(found.known))
    told = explainer.jobs(chosen, Path(), local=local)
    typer.echo(explain_table.as_json(told) if as_json else explain_table.text(told))
    raise typer.Exit(int(any(one.failed for one in told)))
