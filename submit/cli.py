"""The command line: parse, one call, print. No logic, and heavy imports only inside the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from submit.errors import KitError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
pool_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
image_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(pool_app, name="pool", help="A real HTCondor pool with simulated GPUs, on this machine.")
app.add_typer(image_app, name="image", help="Build, name, push and choose container images.")


def _say(line: str) -> None:
    typer.echo(line, err=True)


@pool_app.command("up")
def pool_up() -> None:
    """Start the local pool (first time: under 2 minutes, then under 10 s).

    Example: osgdl pool up && osgdl pool status
    """
    from submit import pool

    pool.up(_say)


@pool_app.command("status")
def pool_status(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Sites, their GPUs and how many are free. Exit code 1 when the pool is down."""
    from submit import pool_table

    running, text = pool_table.status(as_json=as_json)
    typer.echo(text)
    raise typer.Exit(0 if running else 1)


@pool_app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def pool_exec(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    root: Annotated[bool, typer.Option("--root", help="As the pool's root, not as its ordinary user.")] = False,
) -> None:
    """Run a command in the pool, in this folder.

    Examples: osgdl pool exec -- condor_submit train.sub; osgdl pool exec -- condor_q -hold
    """
    from submit import pool

    raise typer.Exit(pool.execute(command, root=root))


@pool_app.command("logs")
def pool_logs(
    daemon: Annotated[str, typer.Argument(help="Part of a log's name, such as Negotiator or StartLog.UCSD.")] = "",
    lines: Annotated[int, typer.Option("-n", help="Lines from the end of each.")] = 20,
) -> None:
    """The ends of the daemons' logs, newest last, and where they lie."""
    from submit import pool_table

    typer.echo(pool_table.log_tails(daemon, lines))


@pool_app.command("down")
def pool_down() -> None:
    """Stop the pool: no process and no mount stays. The file system and the images are kept for the next time."""
    from submit import pool

    _say("the pool is down" if pool.down() else "the pool was not up")


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 1, never a traceback (unless --debug)."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except KitError as error:
        if debug:
            raise
        typer.echo(f"osgdl: {error}", err=True)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
