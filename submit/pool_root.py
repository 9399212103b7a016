"""The file system of the local pool: Debian with HTCondor and Apptainer, made without root and cached by its recipe."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from submit import namespace
from submit.errors import KitError, PoolError, ToolMissing

# A stable base ages better than a whole unstable system; HTCondor 25 and Apptainer are in unstable alone, so these two
# (and the one library that they need newer) are pinned from there.
SUITE = "trixie"
FROM_UNSTABLE = ("*condor*", "apptainer", "libpcre2-8-0")
PACKAGES = (
    "apptainer", "ca-certificates", "fuse3", "iproute2", "minicondor", "procps", "python3", "squashfs-tools",
    "squashfuse", "util-linux",
)  # fmt: skip
# The pool's one user; its id is the caller's own outside (submit/namespace.py).
USER = "osg"
NEEDED_GB = 3

_PIN = "".join(
    f"Package: {names}\nPin: release a=unstable\nPin-Priority: {priority}\n\n"
    for names, priority in (("*", 100), (" ".join(FROM_UNSTABLE), 900))
)

# mmdebstrap runs it with the new root as $1. The mirror is whatever this machine's apt uses: it is not named here.
_SETUP = (
    'mkdir -p "$1/etc/apt/preferences.d"; '
    f'grep " {SUITE} " "$1/etc/apt/sources.list" | sed "s/ {SUITE} / unstable /" '
    '> "$1/etc/apt/sources.list.d/unstable.list"; '
    f"printf '%s' '{_PIN}' > \"$1/etc/apt/preferences.d/unstable\""
)
_FINISH = (
    f'for folder in pool cvmfs; do mkdir -p "$1/$folder"; done; '
    f"echo '{USER}:x:{namespace.JOB_UID}:{namespace.JOB_UID}::/pool/home:/bin/bash' >> \"$1/etc/passwd\"; "
    f"echo '{USER}:x:{namespace.JOB_UID}:' >> \"$1/etc/group\""
)


def _mmdebstrap(target: Path, mode: str, include: tuple[str, ...], hooks: list[str]) -> list[str]:
    return [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        # a mirror's Release file can be past its date
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--skip=check/empty",
        f"--include={','.join(include)}",
        *hooks,
        SUITE,
        str(target),
    ]


# What a root is made from; a new recipe has a new key, and so a new folder.
RECIPES = {
    "pool": (PACKAGES, [f"--setup-hook={_SETUP}", f"--customize-hook={_FINISH}"]),
    # stands in for `Bootstrap: docker, From: python:3.13-slim` where no registry can be reached
    # (binutils: PoCL links with it)
    "base": (("binutils", "ca-certificates", "python3", "python3-pip", "python3-venv"), []),
}


def key(recipe: str) -> str:
    """Short hash of everything that the root of this recipe is made from."""
    return hashlib.sha256(json.dumps([SUITE, RECIPES[recipe]]).encode()).hexdigest()[:12]


def cache() -> Path:
    """Where roots, images and running pools live: $OSGDL_CACHE, else $XDG_CACHE_HOME/osgdl, else ~/.cache/osgdl."""
    chosen = os.environ.get("OSGDL_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osgdl"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else of this cache is inside the same name: two commands at once don't build or start the same thing."""
    try:
        cache().mkdir(parents=True, exist_ok=True)
        file = (cache() / f"{name}.lock").open("w")
    except OSError as fault:
        raise KitError(
            f"{cache()}: {fault.strerror}; a folder that can be written is wanted. Set OSGDL_CACHE to one."
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def busy(name: str) -> bool:
    """Whether somebody is inside that name now."""
    try:
        with (cache() / f"{name}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def ensure(recipe: str, say: Callable[[str], None]) -> Path:
    """The root folder of `recipe` ("pool" or "base"), made where it isn't there yet (about 40 s).

    Raises ToolMissing without mmdebstrap, PoolError without disk space or where mmdebstrap fails (with its last lines).
    """
    root = cache() / f"{recipe}-{key(recipe)}"
    with locked(recipe):
        if not (root / "etc/debian_version").exists():
            _make(recipe, root, say)
    return root


def _make(recipe: str, root: Path, say: Callable[[str], None]) -> None:
    if not shutil.which("mmdebstrap"):
        raise ToolMissing(
            "mmdebstrap: not installed; it makes the pool's files. Ask root for: apt-get install mmdebstrap uidmap"
        )
    free = shutil.disk_usage(cache()).free / 1e9
    if free < NEEDED_GB:
        raise PoolError(
            f"{cache()}: {free:.1f} GB free; the pool needs {NEEDED_GB} GB. Free some, or set OSGDL_CACHE elsewhere"
        )
    began = time.monotonic()
    say(f"making the {recipe} file system (Debian {SUITE}; once, about 40 s)")
    fresh, tarball = root.with_suffix(f".{os.getpid()}.new"), root.with_suffix(f".{os.getpid()}.tar")
    include, hooks = RECIPES[recipe]
    try:
        command = _mmdebstrap(tarball, "root" if os.getuid() == 0 else "unshare", include, hooks)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            tail = " | ".join(line for line in done.stderr.splitlines() if line.startswith("E:"))[-600:]
            raise PoolError(
                f"mmdebstrap: exit code {done.returncode}: {tail or done.stderr[-300:]}; is the network there?"
            )
        fresh.mkdir()
        # its device nodes cannot be made in a user namespace
        unpack = ["tar", "-xpf", str(tarball), "-C", str(fresh), "--numeric-owner", "--exclude=./dev/*"]
        if namespace.run(unpack):
            raise PoolError(f"{fresh}: unpacking the pool's file system failed; is {cache()} on a local disk?")
        fresh.rename(root)
    finally:
        tarball.unlink(missing_ok=True)
        if fresh.exists():
            remove(fresh)
    say(f"made it in {time.monotonic() - began:.0f} s")


def remove(folder: Path) -> None:
    """Delete a folder whose files may belong to the namespace's other ids."""
    if folder.exists() and namespace.run(["rm", "-rf", "--one-file-system", str(folder)]):
        raise PoolError(f"{folder}: could not be deleted; is a pool still running in it? osgdl pool down")
