"""The commands about a request, before it is queued: gpus, check, migrate, match; registered by submit.cli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


def gpus(
    image: Annotated[str, typer.Argument(metavar="IMAGE|FRAMEWORK==VERSION", help="Or a container.def, or a .sif.")],
    explain: Annotated[bool, typer.Option("--explain", help="Why, on what GPUs, and who says so.")] = False,
    model: Annotated[
        Path | None, typer.Option("--model", help="A model.json: estimate the GPU memory its training needs.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Samples in a batch; default: the model's own.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="float32, bfloat16 or float16.")] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="The number on the card, such as 40GB: what to ask for to get it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a job must ask of its GPU for an image or a framework's version: lines for the submit file.

    Exit code 1 when the image sees no GPU.

    Examples: osgdl gpus tensorflow==2.21 --explain; osgdl gpus container.def; osgdl gpus torch==2.8+cu126 --json;
    osgdl gpus container.def --model results/12.0/model.json --batch 16 --precision bfloat16
    """
    from submit import gpu_memory, gpus_table, image_contents

    if model and memory:
        raise typer.BadParameter("--memory and --model both say how much memory: give one")
    if not model and (batch is not None or precision):
        raise typer.BadParameter("--batch and --precision are for --model MODEL.JSON: name one")
    bounds = image_contents.bounds(image)
    estimate = gpu_memory.of_file(model, batch, precision) if model else None
    asked = estimate.gpus_minimum_memory if estimate else gpu_memory.honest(memory) if memory else ""
    if as_json:
        typer.echo(gpus_table.as_json(bounds, asked, estimate))
    else:
        typer.echo(gpus_table.text(bounds, explain, asked, estimate))
    raise typer.Exit(0 if bounds.usable else 1)


def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE.sub|FILE.dag]...", help="None: all here.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make the mends that are certain, in the files.")] = False,
    as_json: AsJson = False,
) -> None:
    """What in submit files and workflows would fail on the OSPool, why, and what mends it.

    Exit code 1 when there is an error, 0 for warnings alone. A comment `# osgdl: ignore OSG101` above a line silences a
    rule there. Every rule: docs/rules.md.

    Examples: osgdl check; osgdl check train.sub --fix; osgdl check workflow.dag --json
    """
    from submit import check as linter
    from submit import check_table

    chosen = files or linter.files_here(Path())
    if fix:
        for mended in linter.fix(chosen):
            typer.echo(f"{mended.path}: mended {', '.join(mended.rules)}", err=True)
    found = linter.check(chosen)
    typer.echo(check_table.as_json(found) if as_json else check_table.text(found, len(chosen)))
    raise typer.Exit(linter.exit_code(found))


def migrate(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE.sub]...", help="None: all *.sub here.")] = None,
    to: Annotated[
        str, typer.Option("--to", help="How images are named: automatic, +SingularityImage or container_image.")
    ] = "automatic",
    write: Annotated[bool, typer.Option("--write", help="Change the files; without it the change is shown.")] = False,
) -> None:
    """Bring old submit files up to date: CUDACapability, stash://, OSGVO_*, cuda_version, +SingularityImage.

    Shows the change; what is for a person to decide is a note with its line. Exit code 1 where a file would change.

    Examples: osgdl migrate old.sub; osgdl migrate old.sub --to container_image --write
    """
    from submit import check, migrate

    planned = [migrate.plan(file, to) for file in files or check.files_here(Path(), workflows=False)]
    for migration in planned:
        typer.echo(migrate.diff(migration), nl=False)
        for line, note in migration.notes:
            typer.echo(f"{migration.path}:{line}: {note}", err=True)
        if write:
            migrate.apply(migration)
    changed = sum(migration.changed for migration in planned)
    typer.echo(f"{changed} of {len(planned)} files {'changed' if write else 'would change: --write'}", err=True)
    raise typer.Exit(int(bool(changed) and not write))


def match(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE.sub]...", help="Submit files.")] = None,
    slots: Annotated[
        Path | None, typer.Option("--slots", help="A snapshot, or what condor_status -long printed.")
    ] = None,
    snapshot: Annotated[Path | None, typer.Option("--snapshot", help="Save the pool's slots to this file.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The local pool, though HTCondor is installed here.")] = False,
    as_json: AsJson = False,
) -> None:
    """How many slots and GPUs of a pool would take a job, clause by clause, and what each clause costs.

    Without --slots: the pool of this access point, or the local pool where there is none. Exit code 1 when no slot
    would.

    Examples: osgdl match train.sub; osgdl match --snapshot ospool.json.gz; osgdl match train.sub --slots ospool.json.gz
    """
    from submit import preview, preview_table

    if snapshot:
        table = preview.live(local)
        table.write(snapshot)
        typer.echo(f"{snapshot}: {table.count} slots", err=True)
    if not files and not snapshot:
        raise typer.BadParameter("name a submit file, or --snapshot FILE")
    shown = [preview.preview(file, slots or snapshot, local) for file in files or []]
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in shown] if len(shown) != 1 else shown[0].as_json(), indent=1))
    else:
        for one in shown:
            typer.echo(preview_table.text(one))
            for warning in one.warnings:
                typer.echo(f"warning: {warning}", err=True)
    raise typer.Exit(int(any(not one.found.matching_slots for one in shown)))
