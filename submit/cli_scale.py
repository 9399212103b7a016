"""The command that makes a job one of several GPUs; registered by submit.cli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def scale(
    submit_file: Annotated[Path, typer.Argument(metavar="[TRAIN.sub]", help="config.toml lies beside it.")] = Path(
        "train.sub"
    ),
    *,
    gpus: Annotated[int, typer.Option("--gpus", metavar="N", help="GPUs of one job, 1 to 8.")],
    batch: Annotated[
        str,
        typer.Option(
            "--batch", metavar="scaled|fixed", help="fixed: the batch, and the training, of one GPU; shared out."
        ),
    ] = "scaled",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Change a training to so many GPUs: its request, and its batch, learning rate and warm-up; --gpus 1 takes it back.

    Examples: osgdl scale --gpus 2; osgdl scale train.sub --gpus 4 --batch fixed; osgdl scale --gpus 1
    """
    from submit import scaling

    done = scaling.scale(submit_file, gpus, batch)
    if as_json:
        typer.echo(json.dumps(done.as_dict()))
        return
    typer.echo("\n".join(map(str, done.changes)) or f"{submit_file}: so already")
    for note in done.notes:
        typer.echo(note, err=True)
    typer.echo(f"next: osgdl check {submit_file} && condor_submit {submit_file}", err=True)
