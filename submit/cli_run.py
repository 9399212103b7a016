"""The commands that run jobs and look at them: submit, watch; registered by submit.cli."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

Local = Annotated[bool, typer.Option("--local", help="The local pool, though HTCondor is installed here.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _ask(question: str) -> str:
    """What is typed; nothing where there is no terminal to ask."""
    if not sys.stdin.isatty():
        return ""
    return str(typer.prompt(question, default="", show_default=False, err=True))


def submit(
    file: Annotated[Path, typer.Argument(metavar="JOB.sub|WORKFLOW.dag", help="A submit file or a workflow.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="As for condor_submit.")] = None,
    force: Annotated[
        str, typer.Option("--force", metavar="REASON", help="Why it may be submitted in spite of errors; recorded.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Though no slot of the pool would take it now.")] = False,
    local: Local = False,
    as_json: Annotated[bool, typer.Option("--json", help="The record, for programs.")] = False,
) -> None:
    """Check a submit file, preview its match, submit it, and record the run in runs.jsonl beside it.

    Errors of `osgdl check` stop it, and so does a request that no slot would take. Jobs queued by condor_submit are
    seen by `osgdl watch` all the same.

    Examples: osgdl submit train.sub; osgdl submit train.sub data=patients; osgdl submit folds.dag;
    osgdl submit train.sub --force "the image is not on this machine, the pool has it"
    """
    from submit import launch

    run = launch.run(file, words or [], local=local, force=force, yes=yes, ask=_ask, say=_say)
    typer.echo(json.dumps(launch.as_json(run), indent=1) if as_json else launch.text(run, file))
    _say(f"next: {launch.following(file)}")


def watch(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR|LOG]...", help="Projects, or event logs. Default: here.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One picture; exit code 0 whatever it shows.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="What is over for more than a day too.")] = False,
    local: Local = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON at each change; with --once one object.")
    ] = False,
) -> None:
    """See all jobs: states, sites, GPUs, how far they are, and why some are held, until they are over.

    It reads event logs, and asks the queue about running jobs every two minutes (the local pool: every 10 s). Ctrl-C
    ends it; the jobs go on. Exit code 1 when a job failed, was removed or is held at the end. docs/watch.md explains
    the columns.

    Examples: osgdl watch; osgdl watch brain-tumours --once; osgdl watch logs/12.log --once --json
    """
    from submit import watch_live

    raise typer.Exit(
        watch_live.show(places or [Path()], local=local, everything=everything, once=once, as_json=as_json)
    )
