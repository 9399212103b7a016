"""The commands about staged data; registered by submit.cli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from submit import cli_group

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
Local = Annotated[bool, typer.Option("--local", help="The local pool's OSDF, whatever else is here.")]


app = typer.Typer(
    cls=cli_group.with_default("put"),
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data on their way to jobs: osgdl stage SOURCE DEST checks, packs and uploads a data set (all options: "
    "osgdl stage put --help).",
)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command("put")
def put(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of a data set, or of prepared patients.")],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="osdf:///ospool/AP/data/USER/..., or a folder.")],
    name: Annotated[str, typer.Option("--name", help="In the objects' names; default: the folder's.")] = "",
    splits: Annotated[
        Path | None, typer.Option("--splits", help="A splits.json: what each fold's jobs need, apart.")
    ] = None,
    scored: Annotated[
        bool, typer.Option("--scored", help="Each fold's training gets the patients held out too, and scores them.")
    ] = False,
    shard_size: Annotated[
        str, typer.Option("--shard-size", help="About so much, such as 500MB; default: as DEST suits.")
    ] = "",
    compression: Annotated[str, typer.Option("--compression", help="auto, none or zstd.")] = "auto",
    workers: Annotated[int, typer.Option("--workers", help="Threads, at low priority.")] = 2,
    layout: Annotated[
        str, typer.Option("--layout", help="Of the patients' files, as the trainer knows them.")
    ] = "auto",
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Let the trainer check every file.")] = True,
    scrub: Annotated[
        Path | None, typer.Option("--scrub", metavar="DIR", help="Stage clean copies, which are written there.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--i-know-it-is-allowed", metavar="REASON", help="Let findings pass; goes into the manifest."),
    ] = None,
    edit: Annotated[bool, typer.Option("--edit/--no-edit", help="Write the lines into the submit files here.")] = True,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set, pack it, upload it, and write the transfer lines into the submit files here.

    Objects are named by their content: nothing is ever overwritten, and a second run uploads what is new alone. Killed,
    the same command goes on. No protected health information may go onto the OSPool: docs/privacy.md.

    Examples:
    osgdl stage brats osdf:///ospool/ap40/data/jane/brats
    osgdl stage brats osdf:///ospool/ap40/data/jane/brats --splits splits.json
    osgdl stage brats ../staged --local
    """
    from submit import bars, origins, stage_text, staging
    from submit.staged import Options

    size = stage_text.size(shard_size) if shard_size else None
    options = Options(name, size, compression, workers, splits, scored, verify, layout, reason)
    if scrub:
        source = stage_text.scrubbed(source, scrub, bars.of_bytes, _say)
    try:
        done = staging.stage(source, origins.find(dest, local), Path(), options, _say, bars.of_bytes)
    except KeyboardInterrupt:
        _say("stopped; what was uploaded stays, and the same command goes on" + (f" with {scrub}" if scrub else ""))
        raise
    changes = stage_text.edited(done, Path()) if edit else []
    typer.echo(json.dumps(done.as_dict(), indent=1) if as_json else stage_text.text(done, changes))
    for line in stage_text.notes(done, changes):
        _say(line)


@app.command("use")
def use(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="One of staged/.")],
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE.sub]...", help="None: those here.")] = None,
) -> None:
    """Make submit files send another staged manifest, and take enough disk for it; comments stay.

    Example: osgdl stage use staged/brats-manifest-3f9a1c0d2b7e.json train.sub
    """
    from submit import stage_lines, stage_text

    changes = stage_lines.use(manifest, files or stage_text.takers(manifest, stage_text.senders(Path())))
    typer.echo(stage_text.changed(changes))
    for line in stage_text.changes_notes(changes):
        _say(line)


@app.command("results")
def results(
    dest: Annotated[str, typer.Argument(metavar="DEST", help="osdf:///ospool/AP/data/USER/...")],
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE.sub]...", help="None: those here.")] = None,
    larger_than: Annotated[str, typer.Option("--larger-than", help="Smaller files come home as before.")] = "100MB",
) -> None:
    """Let the large files of jobs' results go to the OSDF, in an archive whose name no other start of a job has.

    Example: osgdl stage results osdf:///ospool/ap40/data/jane/results predict.sub
    """
    from submit import stage_lines, stage_text

    changes = stage_lines.results(dest, files or stage_text.senders(Path()), larger_than)
    typer.echo(stage_text.changed(changes))
    for line in stage_text.changes_notes(changes):
        _say(line)


@app.command("plan")
def plan(
    source: Annotated[Path, typer.Argument(metavar="SOURCE|MANIFEST", help="A data set's folder, or a manifest.")],
    dest: Annotated[
        str, typer.Argument(metavar="[DEST]", help="osdf:///... or a folder.")
    ] = "osdf:///ospool/AP/data/USER",
    jobs: Annotated[int, typer.Option("--jobs", help="How many get the data.")] = 1,
    share: Annotated[float, typer.Option("--share", help="Part of the shards that each gets, such as 0.8.")] = 1.0,
    compute: Annotated[
        str, typer.Option("--compute", help="How long a job computes: 30min; else as the last did.")
    ] = "",
    speed: Annotated[str, typer.Option("--speed", help="Of a job's transfer: 25MB/s; else as in the event logs.")] = "",
    starts: Annotated[float | None, typer.Option("--starts", help="Of a job, each on another machine.")] = None,
    shard_size: Annotated[str, typer.Option("--shard-size", help="Such as 500MB; default: as DEST suits.")] = "",
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """What each job will fetch, how much of its slot will do useful work, and what to change if that is under one half.

    Examples: osgdl stage plan brats osdf:///ospool/ap40/data/jane/brats --jobs 5 --share 0.8 --compute 2h
    """
    from dataclasses import replace

    from submit import origins, stage_observed, stage_plan, stage_plan_table, stage_store, stage_text

    origins.check(dest)
    route = "osdf" if dest.startswith("osdf:") else "htcondor"
    size = stage_text.size(shard_size) if shard_size else None
    manifest = source.is_file()
    load = stage_plan.of_manifest(stage_store.read(source)) if manifest else stage_plan.of_source(source, route, size)
    load = replace(stage_plan.with_project(load, Path(), local), jobs=jobs, share=share)
    if speed:
        load = replace(load, speed=stage_plan_table.speed(speed), sources={**load.sources, "speed": "--speed"})
    if starts is not None:
        load = replace(load, starts=starts, sources={**load.sources, "starts": "--starts"})
    seen = None if compute else stage_observed.training_seconds(Path())
    seconds = stage_plan_table.seconds("--compute", compute) if compute else seen[0] if seen else None
    planned = stage_plan.plan(load, seconds, f"measured: {seen[1]}" if seen else "--compute")
    typer.echo(stage_plan_table.as_json(planned) if as_json else stage_plan_table.text(planned))


@app.command("verify")
def verify(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="One of staged/.")],
    workers: Annotated[int, typer.Option("--workers", help="Objects at a time.")] = 2,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Read every object of a manifest back from where it lies, and compare each byte. Exit code 1 where one differs.

    Example: osgdl stage verify staged/brats-manifest-3f9a1c0d2b7e.json
    """
    from submit import bars, origins, stage_store, stage_store_table

    origin = origins.find(stage_store.read(manifest).at, local)
    with bars.of_bytes("reading back") as bar:
        rows = stage_store.verify(manifest, origin, workers, bar)
    typer.echo(stage_store_table.verified(rows, as_json=as_json))
    raise typer.Exit(int(any(not row.ok for row in rows)))


@app.command("list")
def list_(
    dest: Annotated[str, typer.Argument(metavar="DEST", help="osdf:///... or a folder.")],
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """The manifests that lie at a place, and the shards that none of them names.

    Example: osgdl stage list osdf:///ospool/ap40/data/jane/brats
    """
    from submit import origins, stage_store, stage_store_table

    typer.echo(stage_store_table.listed(stage_store.listing(origins.find(dest, local)), as_json=as_json))


@app.command("diff")
def diff(
    before: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    after: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    as_json: AsJson = False,
) -> None:
    """What changed from one staging to another, and what would travel.

    Example: osgdl stage diff staged/brats-manifest-3f9a1c0d2b7e.json staged/brats-manifest-77b0c1d2e3f4.json
    """
    from submit import stage_store, stage_store_table

    found = stage_store.diff(stage_store.read(before), stage_store.read(after))
    typer.echo(stage_store_table.differing(found, as_json=as_json))


@app.command("prune")
def prune(
    dest: Annotated[str, typer.Argument(metavar="DEST", help="osdf:///... or a folder.")],
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="MANIFEST", help="Retire it; may be repeated.")
    ] = None,
    older_than: Annotated[str, typer.Option("--older-than", help="A shard that came later stays.")] = "24h",
    really: Annotated[bool, typer.Option("--really", help="Remove; without it the list is shown.")] = False,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """What may go: shards that no manifest there names. One that a submit file here or a job in the queue uses stays.

    Example: osgdl stage prune osdf:///ospool/ap40/data/jane/brats --drop brats-manifest-3f9a1c0d2b7e.json --really
    """
    from submit import origins, stage_plan_table, stage_prune, stage_store_table, stage_uses

    uses = [*stage_uses.of_project(Path()), *stage_uses.of_queue()]
    seconds = stage_plan_table.seconds("--older-than", older_than)
    dropped = [Path(name).name for name in drop or []]
    done = stage_prune.prune(origins.find(dest, local), uses, dropped, seconds, really)
    typer.echo(stage_store_table.pruned(done, as_json=as_json))
