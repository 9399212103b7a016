"""What `osgdl try` sets up before condor_submit, for the faults that are there from the beginning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from submit import harm, osdf_local
from submit.errors import KitError
from submit.faults import Fault


def inputs(ad: Mapping[str, Any]) -> list[str]:
    """What the job sends: paths, absolute, and URLs."""
    names = filter(None, (name.strip() for name in str(ad.get("TransferInput") or "").split(",")))
    return [name if "://" in name else str(Path(str(ad["Iwd"])) / name) for name in names]


@contextmanager
def _small_disks() -> Iterator[None]:
    """Gives the execute folder of each site where nothing runs a file system of its own."""
    folders = harm.root("find", harm.EXECUTE, "-mindepth", "1", "-maxdepth", "1", "-empty").split()
    with ExitStack() as stack:
        for folder in folders:
            harm.mount("-t", "tmpfs", "-o", "mode=755,uid=condor,gid=condor,size=50%", "tmpfs", folder)
            stack.callback(harm.mount, "--lazy", folder, undo=True)
        yield


@contextmanager
def _unreadable(ad: Mapping[str, Any]) -> Iterator[None]:
    # a folder that it may not read HTCondor sends as an empty one, without a word
    here = [path for path in inputs(ad) if "://" not in path and Path(path).is_file()]
    if not here:
        raise KitError("unreadable-input: the job sends no file from here; leave the fault out")
    harm.root("sh", "-c", "touch /pool/tmp/closed; chmod 0 /pool/tmp/closed")
    with harm.covered(here[0], "/pool/tmp/closed"):
        yield


@contextmanager
def _torn_data(ad: Mapping[str, Any]) -> Iterator[None]:
    named = [Path(path) for path in inputs(ad) if "://" not in path]
    files = [file for path in named for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    if not files:
        raise KitError("torn-data: the job sends no file from here; leave the fault out")
    largest = max(files, key=lambda file: file.stat().st_size)
    half = str(largest.stat().st_size // 2)
    harm.root("sh", "-c", 'head -c "$1" "$2" > /pool/tmp/torn && chmod 644 /pool/tmp/torn', "sh", half, str(largest))
    with harm.covered(str(largest), "/pool/tmp/torn"):
        yield


def _osdf(name: str) -> None:
    if name == "osdf-slow":
        osdf_local.spoil(slow=harm.SLOW)
    elif name == "osdf-fails-once":
        osdf_local.spoil(fail=1, times=1)
    elif name == "osdf-truncated":
        osdf_local.spoil(truncate=0.5, times=1)
    else:
        osdf_local.spoil(stale=True, times=1)


@contextmanager
def prepared(faults: Sequence[Fault], ad: Mapping[str, Any]) -> Iterator[list[str]]:
    """What must be set up before condor_submit; gives the lines that it has to append. All is mended at the end.

    `ad`: of the first job, as condor_submit would make it. Raises KitError where a fault does not fit this job.
    """
    lines: list[str] = []
    with ExitStack() as stack:
        for fault in faults:
            lines += fault.lines
            if fault.where == "OSDF" or fault.name == "slow-transfer":
                stack.callback(osdf_local.clear)
            if fault.where == "OSDF":
                if not any(entry.startswith("osdf:") for entry in inputs(ad)):
                    raise KitError(f"{fault.name}: the job takes nothing from the OSDF; leave the fault out")
                _osdf(fault.name)
            elif fault.name == "full-disk":
                stack.enter_context(_small_disks())
            elif fault.name == "out-of-memory":
                lines.append(f"+OsgdlNeedsMemory = {int(ad['RequestMemory']) + 1}")
            elif fault.name == "unreadable-input":
                stack.enter_context(_unreadable(ad))
            elif fault.name == "torn-data":
                stack.enter_context(_torn_data(ad))
        yield lines
