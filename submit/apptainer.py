"""The one place that calls Apptainer: this machine's own where it has one, else the local pool's."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from submit import pool
from submit.errors import ImageError, ToolMissing

# An access point is shared: builds go through the home folder, never /tmp (OSPool guide, containers-singularity)
_OWN_TMP = Path("tmp")
_STEP_SECONDS = 0.5
_SHOWN = 60  # characters of the last line
_TAIL_BYTES = 100_000  # pip's list of what it installed is one long line
_NO_REGISTRY = re.compile(r"no such host|dial tcp|i/o timeout|connection refused")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def version() -> str | None:
    """This machine's own Apptainer, as `apptainer --version` prints it; None without one."""
    if not shutil.which("apptainer"):
        return None
    done = subprocess.run(["apptainer", "--version"], capture_output=True, text=True)
    return done.stdout.strip() or None


def build(
    target: str,
    definition: Path,
    *,
    sandbox: bool,
    in_pool: bool,
    binds: Mapping[str, str],
    log: Path,
    say: Callable[[str], None],
    step: Callable[[str, int, int], None],
) -> None:
    """`apptainer build` of `definition` to `target`, its output in `log` as it comes, the last line of it to `step`.

    Raises ImageError with the last lines where the build fails; PoolError where the pool is needed and down.
    """
    options = [
        "--force",
        *(["--sandbox"] if sandbox else []),
        *(f"--bind={out}:{inside}" for out, inside in binds.items()),
    ]
    words = ["apptainer", "build", *options, target, str(definition)]
    with log.open("wb") as out:
        if in_pool:
            if not pool.init_pid():
                pool.up(say)
            there = {"APPTAINER_TMPDIR": "/pool/tmp"}
            building = pool.start_command(words, out, cwd=Path("/"), root=True, environment=there)
        else:
            tmp = Path.home() / _OWN_TMP
            tmp.mkdir(exist_ok=True)
            there = dict.fromkeys(("TMPDIR", "APPTAINER_TMPDIR", "APPTAINER_CACHEDIR"), str(tmp))
            words.insert(2, "--ignore-proot")
            building = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **there}
            )
        code = None
        try:
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = building.wait(_STEP_SECONDS)
                step(f"building, {_tail(log, 1)[:_SHOWN]}", 0, 0)
        finally:
            if code is None:
                building.kill()
    if code:
        said = _tail(log, 4)
        ended = f"exit code {code}" if code > 0 else f"signal {-code}: did the pool go down"
        mend = " No registry of images can be reached from here: for the local pool, --cpu needs none."
        raise ImageError(
            f"{target}: apptainer build ended with {ended}: {said}; whole output: {log}."
            f"{mend * bool(_NO_REGISTRY.search(said))}"
        )


def _tail(log: Path, lines: int) -> str:
    """Its last lines that hold something, in one, without what only a terminal understands."""
    with log.open("rb") as file:
        file.seek(-min(_TAIL_BYTES, log.stat().st_size), os.SEEK_END)
        text = _COLOURS.sub("", file.read().decode(errors="replace"))
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def output(words: list[str], folder: Path) -> str:
    """What `apptainer WORDS` prints, run in `folder` by this machine's Apptainer, else by the local pool's.

    Raises:
        ImageError: it failed; with its last line.
        ToolMissing: neither is there.
    """
    if version():
        done = subprocess.run(
            ["apptainer", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    elif pool.init_pid():
        done = pool.run(["apptainer", *words], cwd=folder.resolve())
    else:
        raise ToolMissing(
            "apptainer: not here, and the local pool is down; want one of them. Start it: `osgdl pool up`."
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ImageError(f"apptainer {' '.join(words)}: exit code {done.returncode}: {said}")
    return done.stdout
