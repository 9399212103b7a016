"""What an access point or a laptop has of what the kit needs: what is there, what is missing, what to do."""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from submit import apptainer, namespace, pool, pool_root
from submit.errors import KitError
from submit.origin import ospool

PROJECT_MAP = Path("/etc/condor/UserToProjectMap.txt")  # OSPool guide, FAQ
CVMFS = Path("/cvmfs/singularity.opensciencegrid.org")
# /ospool/AP/data/USER (OSPool guide, osdf.md); more on request
QUOTA_GB = 100


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked for. `state`: "ok", "missing" (needed for `purpose`), or "note"."""

    name: str
    state: str
    found: str
    todo: str = ""
    purpose: str = ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def python() -> Finding:
    """The interpreter that runs the kit."""
    return Finding(name="Python", state="ok", found=f"{platform.python_version()} ({sys.executable})")


def htcondor() -> Finding:
    """The submit tools, and their version: gpus_minimum_* came with 23.5."""
    text = _output(["condor_version"])
    version = re.search(r"(\d+)\.(\d+)\.\d+", text)
    if not version:
        return Finding(
            name="HTCondor",
            state="missing",
            found="no condor_submit on PATH",
            todo="for the OSPool log in to an access point; here: osgdl pool up, osgdl pool exec -- condor_submit ...",
            purpose="OSPool",
        )
    if (int(version[1]), int(version[2])) < (23, 5):
        todo = "gpus_minimum_capability and its kin need 23.5: ask the administrator"
        return Finding(name="HTCondor", state="missing", found=version[0], todo=todo, purpose="OSPool")
    return Finding(name="HTCondor", state="ok", found=version[0])


def project() -> Finding:
    """The OSPool project of this user; no job starts without one."""
    user = getpass.getuser()
    lines = PROJECT_MAP.read_text(errors="replace").splitlines() if PROJECT_MAP.is_file() else []
    # an HTCondor map file: METHOD USER PROJECT[,PROJECT ...]
    rows = [line.split() for line in lines if len(line.split()) >= 3]
    names = [row[2] for row in rows if row[1] == user]
    if names:
        return Finding(name="project", state="ok", found=", ".join(names))
    found = f"{user} is not in {PROJECT_MAP}" if lines else f"no {PROJECT_MAP}: this is no access point of the OSPool"
    return Finding(
        name="project", state="missing", found=found, todo="ask support@osg-htc.org for a project", purpose="OSPool"
    )


def osdf() -> Finding:
    """The user's folder on the OSDF, and its room."""
    user = getpass.getuser()
    folders = [folder for folder in ospool().glob(f"*/data/{user}") if os.access(folder, os.W_OK)]
    if not folders:
        return Finding(
            name="OSDF",
            state="missing",
            found=f"no writable {ospool()}/AP/data/{user}",
            todo="images and data above 1 GB go there; it exists on access points of the OSPool",
            purpose="OSPool",
        )
    free = shutil.disk_usage(folders[0]).free / 1e9
    return Finding(
        name="OSDF", state="ok", found=f"{folders[0]}, {free:.0f} GB free (quota {QUOTA_GB} GB unless yours was raised)"
    )


def containers() -> Finding:
    """Apptainer, for building images here; the local pool has its own."""
    version = apptainer.version()
    if version:
        return Finding(name="Apptainer", state="ok", found=version)
    found = "not on PATH; images are built in the local pool, which brings its own"
    return Finding(name="Apptainer", state="note", found=found)


def cvmfs() -> Finding:
    """Whether /cvmfs images can be checked from here."""
    if CVMFS.is_dir():
        return Finding(name="CVMFS", state="ok", found=f"{CVMFS} is mounted: images are checked before submission")
    return Finding(
        name="CVMFS", state="note", found=f"{CVMFS} is not mounted: /cvmfs images cannot be checked from here"
    )


def namespaces() -> Finding:
    """User namespaces with a range of ids: what the local pool lives in."""
    try:
        code = namespace.run(["true"])
    except KitError as error:
        found, _, todo = str(error).partition(". ")
        return Finding(name="user namespaces", state="missing", found=found, todo=todo, purpose="local pool")
    if code:
        return Finding(
            name="user namespaces", state="missing", found=f"a command in one ended with {code}", purpose="local pool"
        )
    return Finding(name="user namespaces", state="ok", found="with a range of ids")


def pool_tools() -> Finding:
    """The programs that make and enter the local pool."""
    missing = [tool for tool in ("mmdebstrap", "unshare", "nsenter", "setpriv") if not shutil.which(tool)]
    if missing:
        todo = "ask root for: apt-get install mmdebstrap uidmap util-linux"
        return Finding(
            name="pool tools", state="missing", found=f"no {', '.join(missing)}", todo=todo, purpose="local pool"
        )
    return Finding(name="pool tools", state="ok", found="mmdebstrap, unshare, nsenter, setpriv")


def disk() -> Finding:
    """Room for the pool's file system and images."""
    place = pool_root.cache()
    there = next(folder for folder in (place, *place.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free / 1e9
    # a root, a base, wheels, one image of 2 GB, and its build
    if free < 8:
        todo = "free some, or set OSGDL_CACHE to a folder on another local disk"
        return Finding(
            name="disk",
            state="missing",
            found=f"{free:.1f} GB free at {place}; want 8",
            todo=todo,
            purpose="local pool",
        )
    return Finding(name="disk", state="ok", found=f"{free:.0f} GB free at {place}")


def local_pool() -> Finding:
    """Whether the pool runs."""
    if pool.init_pid():
        return Finding(name="local pool", state="ok", found="up")
    return Finding(name="local pool", state="note", found="down; start it: osgdl pool up")


CHECKS: tuple[Callable[[], Finding], ...] = (
    python, htcondor, project, osdf, containers, cvmfs, namespaces, pool_tools, disk, local_pool,
)  # fmt: skip


def examine() -> list[Finding]:
    """Every check, in the order of CHECKS."""
    return [check() for check in CHECKS]


def usable(findings: list[Finding]) -> list[str]:
    """What can be done on this machine: "OSPool", "local pool", both or neither."""
    return [
        purpose
        for purpose in ("OSPool", "local pool")
        if not any(row.state == "missing" and row.purpose == purpose for row in findings)
    ]
