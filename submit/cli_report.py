"""The command that says where the hours went; registered by submit.cli."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR|LOG]...", help="Projects, or event logs. Default: here.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="A page with pictures, in one file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A row for each job.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    ads: Annotated[
        Path | None, typer.Option("--ads", metavar="FILE", help="What condor_history -json printed, instead of asking.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="The local pool, though HTCondor is installed here.")] = False,
) -> None:
    """Where every GPU hour went: queue, transfer, preflight, work, checkpoints, and what was lost, by cause.

    For one job or thousands, from their event logs and from what they published of themselves; what to change comes
    with the hours that it would have saved. docs/report.md explains every number.

    Examples: osgdl report; osgdl report brain-tumours --html report.html --csv jobs.csv;
    osgdl report logs/12.log --json
    """
    import json

    from submit import report as reports
    from submit import report_page, report_text

    found = reports.of_places(places or [Path()], local, ads, say=lambda line: typer.echo(line, err=True))
    for file, made in ((html, report_page.html), (csv, report_text.table)):
        if file:
            report_text.write(file, made(found))
            typer.echo(f"wrote {file}", err=True)
    typer.echo(json.dumps(found.as_dict(), indent=2) if as_json else report_text.text(found))
