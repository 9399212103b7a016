"""The one place that calls Apptainer: this machine's own where it has one, else the local pool's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from submit import pool
from submit.errors import ImageError, ToolMissing

# An access point is shared: builds go through the home folder, never /tmp (OSPool guide, containers-singularity)
_OWN_TMP = Path("tmp")


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
) -> None:
    """`apptainer build` of `definition` to `target`, its output in `log`.

    Raises ImageError with the last lines where the build fails; PoolError where the pool is needed and down.
    """
    options = [
        "--force",
        *(["--sandbox"] if sandbox else []),
        *(f"--bind={out}:{inside}" for out, inside in binds.items()),
    ]
    words = ["apptainer", "build", *options, target, str(definition)]
    if in_pool:
        if not pool.init_pid():
            pool.up(say)
        done = pool.run(words, cwd=Path("/"), root=True, environment={"APPTAINER_TMPDIR": "/pool/tmp"})
    else:
        tmp = Path.home() / _OWN_TMP
        tmp.mkdir(exist_ok=True)
        there = dict.fromkeys(("TMPDIR", "APPTAINER_TMPDIR", "APPTAINER_CACHEDIR"), str(tmp))
        words.insert(2, "--ignore-proot")
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ, **there}
        )
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-4:])
        raise ImageError(
            f"{definition}: apptainer build ended with exit code {done.returncode}: {tail}; whole output: {log}"
        )


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
