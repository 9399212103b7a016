"""Checks of the computer around the GPU: disk, shared memory, C library, processor. None takes more than
milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from submit.runtime.findings import Finding, found
from submit.runtime.request import Request

PROBE_BYTES = 1 << 20  # written and flushed: a full or dying disk refuses them
LEAST_FREE_MB = 64  # a job cannot even write its log
DISK_SHARE = 0.9  # of what was asked for: file systems count their own blocks
LEAST_SHM_MB = 64  # Docker's default, on which data loaders die (pytorch/pytorch#5040)
CPU_INFO = Path("/proc/cpuinfo")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written

_FULL = (errno.ENOSPC, errno.EDQUOT)


def scratch() -> Path:
    """The job's own folder on this machine."""
    return Path(os.environ.get("_CONDOR_SCRATCH_DIR") or ".")


def disk(folder: Path, request: Request, simulated: bool) -> Iterator[Finding]:
    """Can it be written, and is there as much room as was asked for? On the local pool the room is the laptop's, and
    no promise of a site.
    """
    probe = folder / f".osgdl-preflight-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        yield found("disk-full" if fault.errno in _FULL else "disk-read-only", f"{folder}: {fault.strerror}")
        return
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    free_mb = shutil.disk_usage(folder).free >> 20
    if free_mb < LEAST_FREE_MB:
        yield found("disk-full", f"{free_mb} MiB free")
    elif free_mb * 1024 + request.input_kb < DISK_SHARE * request.disk_kb and not simulated:
        yield found("disk-below", f"{free_mb} MiB free", f"{request.disk_kb / 1024:.0f} MiB (request_disk)")


def shared_memory(request: Request, folder: Path = SHARED_MEMORY) -> Iterator[Finding]:
    """Data loaders in several processes and NCCL live there."""
    try:
        free_mb = shutil.disk_usage(folder).free >> 20
    except OSError:
        free_mb = 0
    if free_mb < request.min_shm_mb:
        yield found("shm-below", f"{free_mb} MiB free", f"{request.min_shm_mb:g} MiB (OsgdlMinShmMb)")
    elif free_mb < LEAST_SHM_MB:
        yield found("shm-small", f"{free_mb} MiB free")


def glibc() -> str:
    """Version of the C library, such as `2.36`; empty where it is another one (musl)."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def c_library(request: Request) -> Iterator[Finding]:
    """The image's own: the machine's does not come into the container."""
    held = glibc()
    if request.min_glibc and _numbers(held) < _numbers(request.min_glibc):
        yield found("glibc-too-old", held or "another C library", f"{request.min_glibc} (OsgdlMinGlibc)")


def processor(info: Path = CPU_INFO) -> Iterator[Finding]:
    """AVX, on the one architecture that may lack it."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return
    try:
        text = info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if flags and "avx" not in flags.group(1).split():
        model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
        yield found("no-avx", model.group(1) if model else "an older processor")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]
