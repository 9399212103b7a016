"""The command line: parse, one call, print. No logic, and heavy imports only inside the commands that need them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from submit import cli_explain, cli_report, cli_request, cli_run, cli_scale, cli_stage, cli_try, cli_workflow
from submit.cli_group import Journey
from submit.errors import KitError

app = typer.Typer(
    cls=Journey,
    help="Deep-learning jobs for the Open Science Pool. Begin with `osgdl demo`, or `osgdl new` and its README.",
    context_settings={"max_content_width": 120},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
pool_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
image_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(pool_app, name="pool", help="A real HTCondor pool with simulated GPUs, on this machine.")
app.add_typer(cli_stage.app, name="stage")
app.add_typer(cli_workflow.sweep_app, name="sweep")
app.command()(cli_workflow.folds)
app.command("try")(cli_try.run)
app.command()(cli_run.submit)
app.command()(cli_run.watch)
app.command()(cli_explain.explain)
app.command()(cli_scale.scale)
app.command()(cli_report.report)
app.command()(cli_workflow.ensemble)
app.command()(cli_workflow.chain)
app.add_typer(image_app, name="image", help="Build, name, push and choose container images.")
for _command in (cli_request.gpus, cli_request.check, cli_request.migrate, cli_request.match):
    app.command()(_command)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command("new")
def new(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEMPLATE] [NAME=VALUE]...", help="Template (unet-segmentation) and answers."),
    ] = None,
    output_dir: Annotated[
        Path, typer.Option("-o", "--output-dir", help="Where to make the project's folder.")
    ] = Path(),
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing: defaults for what is not given.")] = False,
) -> None:
    """Make a project from a template; prints its folder.

    Example: osgdl new --no-input project_name="Brain tumours" gpus=2
    """
    from submit import project

    template, answers = project.parse_words(words or [])
    folder = project.new(template, answers, output_dir, ask=not no_input)
    typer.echo(folder)
    for fault in project.unready(folder):
        _say(f"before you submit: {fault}")
    _say(
        f"next: cd {project.shown(folder)}; README.md there says what to type: "
        "try it in the local pool, build an image, submit"
    )


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


@pool_app.command("osdf")
def pool_osdf(
    slow: Annotated[str | None, typer.Option("--slow", help="Speed of a transfer, such as 1MB/s.")] = None,
    truncate: Annotated[
        float | None, typer.Option("--truncate", help="Share of the bytes that arrive; the transfer succeeds.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Other bytes than the object has, as many.")] = False,
    fail: Annotated[float | None, typer.Option("--fail", help="Probability that a transfer fails.")] = None,
    permanent: Annotated[bool, typer.Option("--permanent", help="Trying again is of no use, says --fail.")] = False,
    uploads: Annotated[bool, typer.Option("--uploads", help="Hit uploads, not downloads.")] = False,
    only: Annotated[str | None, typer.Option("--only", help="Pattern of the objects' names, such as '*.zst'.")] = None,
    at_sites: Annotated[str | None, typer.Option("--sites", help="Sites, comma-separated; none: all.")] = None,
    times: Annotated[int | None, typer.Option("--times", help="Then healthy again; none: until --clear.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="End all faults, before new ones are set.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """The pool's OSDF: where its objects lie, what it holds, and what goes wrong there. The options add faults.

    Examples: osgdl pool osdf; osgdl pool osdf --truncate 0.5 --only '*-0000-*' --times 1; osgdl pool osdf --clear
    """
    from submit import osdf_local

    if clear:
        osdf_local.clear()
    osdf_local.spoil(
        slow=slow, truncate=truncate, stale=stale, fail=fail, permanent=permanent,
        uploads=uploads, only=only, at_sites=at_sites, times=times,
    )  # fmt: skip
    typer.echo(osdf_local.report(as_json=as_json))


@pool_app.command("down")
def pool_down(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, though jobs are in its queue.")] = False,
) -> None:
    """Stop the pool: no process and no mount stays. The file system and the images are kept for the next time.

    On a terminal it asks first where jobs are in its queue, or an image is being built: they go with it.
    """
    from submit import pool

    if not yes and sys.stdin.isatty() and (lost := pool.at_work()):
        typer.confirm(f"{lost}, and would be lost. Stop?", abort=True, err=True)
    _say("the pool is down" if pool.down() else "the pool was not up")


@image_app.command("build")
def image_build(
    definition: Annotated[Path, typer.Argument(help="An Apptainer definition.")] = Path("container.def"),
    output: Annotated[
        str, typer.Option("-o", "--output", help="NAME.sif, or a /cvmfs path of the local pool.")
    ] = "image.sif",
    cpu: Annotated[
        bool,
        typer.Option(
            "--cpu", help="Without CUDA, on a Debian base made here: for the local pool, no registry of images needed."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a .sif that exists.")] = False,
) -> None:
    """Build an image with this machine's Apptainer, or with the local pool's.

    Examples:
    osgdl image build -o unet-v1.sif
    osgdl image build --cpu -o /cvmfs/singularity.opensciencegrid.org/osg-dl-kit/unet-segmentation:tf2.21
    """
    from submit import image_build as builder

    typer.echo(builder.build(definition, output, cpu=cpu, force=force, say=_say))


@image_app.command("push")
def image_push(
    file: Annotated[Path, typer.Argument(help="A .sif file.")],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Folder under /ospool, or its osdf:/// URL; default: your /ospool/AP/data/USER."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="To the local pool's OSDF.")] = False,
) -> None:
    """Copy a .sif to the OSDF under a name with its content hash, and print its osdf:/// URL.

    Examples: IMAGE=$(osgdl image push unet-v1.sif) && osgdl image use "$IMAGE"; osgdl image push --local unet-v1.sif
    """
    from submit import bars
    from submit import image_push as pusher

    with bars.of_bytes(f"pushing {file.name}") as bar:
        url = pusher.push(file, to, bar, local=local)
    typer.echo(url)
    _say(f"next: osgdl image use {url}")


@image_app.command("use")
def image_use(
    image: Annotated[str, typer.Argument(help="/cvmfs/... path, name.sif, osdf:///....sif or docker://...")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Submit files; none: all *.sub here that name an image.")
    ] = None,
    syntax: Annotated[
        str, typer.Option("--syntax", help="automatic, +SingularityImage or container_image.")
    ] = "automatic",
) -> None:
    """Change submit files to another image, the command for it, and the disk that it needs; your comments stay.

    Example: osgdl image use osdf:///ospool/ap40/data/jane/unet-3f9a1c.sif
    """
    from submit import project

    for change in project.use_image(image, files or project.submit_files(Path()), syntax):
        typer.echo(f"{change.path}: {change.lines.command} = {change.lines.value}")
        for note in change.notes:
            _say(f"{change.path}: {note}")


@app.command("doctor")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """What this access point or laptop has of what the kit needs, what is missing and what to do.

    Exit code 1 when neither the OSPool nor the local pool can be used from here.
    """
    from submit import doctor as checks
    from submit import doctor_table

    findings = checks.examine()
    typer.echo(doctor_table.as_json(findings) if as_json else doctor_table.text(findings))
    raise typer.Exit(0 if checks.usable(findings) else 1)


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the project and summary.json.")] = Path("demo"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with train/ and validation/; none: phantoms are made.")
    ] = None,
) -> None:
    """From cookiecutter to a trained network on the local pool, in minutes: renders a project and runs its train.sub.

    Examples: osgdl demo; osgdl demo --data /path/to/brats --out demo-brats
    """
    from submit import demo as example

    typer.echo(example.run(out, data, _say))


def _complain(text: str) -> None:
    from submit.events import printable

    typer.echo("\n".join(map(printable, f"osgdl: {text}".split("\n"))), err=True)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 1, never a traceback (unless --debug)."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no such letter
    try:
        app()
    except KitError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(error.code)
    except OSError as fault:  # a full disk, a folder that was removed meanwhile
        if debug:
            raise
        where = f"{fault.filename}: " if fault.filename else ""
        _complain(f"{where}{fault.strerror}")
        sys.stdout = None  # what it holds cannot be written either
        sys.exit(1)


if __name__ == "__main__":
    main()
