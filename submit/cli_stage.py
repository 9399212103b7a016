"""The commands about staged data; registered by submit.cli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
Local = Annotated[bool, typer.Option("--local", help="The local pool's OSDF, whatever else is here.")]


class _PutByDefault(TyperGroup):
    """`osgdl stage SOURCE DEST` is `osgdl stage put SOURCE DEST`; a folder called like a command is ./LIKE-IT."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["put", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_PutByDefault,
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
    shard_size: Annotated[str, typer.Option("--shard-size", help="Such as 500MB; default: as DEST suits.")] = "",
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
        str, typer.Option("--i-know-it-is-allowed", metavar="REASON", help="Let findings pass; goes into the manifest.")
    ] = "",
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
    done = staging.stage(source, origins.find(dest, local), Path(), options, _say, bars.of_bytes)
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

    changes = stage_lines.use(manifest, files or stage_text.senders(Path()))
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
