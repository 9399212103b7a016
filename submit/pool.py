"""A real HTCondor pool on this machine: simulated GPUs of many sites, real containers, no root needed.

One pool lives in one folder of the cache, as the first process of a PID namespace: when that process ends, the kernel
ends everything in it and drops its mounts, so nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from submit import namespace, pool_config, pool_root, sites
from submit.errors import PoolError, ToolMissing

ENTER = Path(__file__).parent / "data" / "pool" / "enter.sh"
OSDF_PLUGIN = Path(__file__).parent / "data" / "pool" / "osdf_plugin.py"
START_SECONDS = 60
REMOVE_SECONDS = 10
# The folder is entered inside, where the same path is another mount. /usr, /etc, /var and their kin are the pool's own:
# the same name there is another folder, and a command in it would do its work in the wrong place.
ENTER_FOLDER = """
cd "$1" 2> /dev/null && { [ "$1" = / ] || [ "$(stat -c %d:%i .)" = "$2" ]; } || {
    echo "osgdl: $1: not in the pool, which has its own /usr, /etc, /var and /srv; work below /home or /tmp" >&2
    exit 1
}
shift 2
exec "$@"
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def name() -> str:
    """The pool's name: $OSGDL_POOL, else "default". Tests use one of their own."""
    return os.environ.get("OSGDL_POOL", "default")


def folder() -> Path:
    """The state of this pool: configuration, logs, spool, execute folders."""
    return pool_root.cache() / "pools" / name()


def cvmfs() -> Path:
    """What the pool sees as /cvmfs; shared by all pools of this cache."""
    return pool_root.cache() / "cvmfs"


def osdf() -> Path:
    """The origin of this pool's OSDF; it stays when the pool goes down, its sites' caches do not."""
    return pool_root.cache() / "osdf" / name()


def init_pid() -> int | None:
    """Process id of the pool's first process as this machine sees it; None when the pool is down."""
    try:
        pid = int((folder() / "init.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"condor_master" in command else None


def _next_cluster(state: Path) -> int:
    """The number that the last run's next job would have had: what jobs named by it stays at the OSDF's origin."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "numbers"
        namespace.run(["grep", "-a", "^103 0.0 NextClusterNum ", str(state / "spool/job_queue.log")], log=log)
        numbers = re.findall(r"NextClusterNum ([0-9]+)$", log.read_text(errors="replace"), re.MULTILINE)
    return int(numbers[-1]) if numbers else 1


def _prepare(state: Path) -> None:
    """A fresh state folder: the last run's jobs and logs go, and the numbers of its jobs do not come again."""
    first = _next_cluster(state)
    if state.exists():
        pool_root.remove(state)
    parts = ("cache", "etc/gpus.d", "etc/passwords.d", "etc/tokens.d", "home", "osdf/cache", "osdf/origin", "tmp")
    for part in parts:
        (state / part).mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    # without the machine's own name here every daemon waits on name look-ups
    (state / "etc/hosts").write_text(f"127.0.0.1 localhost osgdl-pool.osgdl.example osgdl-pool {host}\n")
    resolver = Path("/etc/resolv.conf")
    (state / "etc/resolv.conf").write_text(resolver.read_text() if resolver.exists() else "")
    all_sites = sites.load()
    for site in all_sites:
        (state / "etc/gpus.d" / site.startd).write_text(site.gpu_inventory())
    inventory = state / "etc/gpus"
    inventory.write_text(pool_config.INVENTORY)
    inventory.chmod(0o755)
    shutil.copyfile(OSDF_PLUGIN, state / "etc" / OSDF_PLUGIN.name)
    (state / "etc" / OSDF_PLUGIN.name).chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (state / "condor_config").write_text(pool_config.text(all_sites, port, int(time.time()), first))


def up(say: Callable[[str], None] = lambda line: None) -> None:
    """Start the pool, or do nothing when it runs. Returns when every site's slot can be matched.

    Raises ToolMissing or PoolError, naming what is missing on this machine and what to do about it.
    """
    for tool in ("unshare", "nsenter"):
        if not shutil.which(tool):
            raise ToolMissing(f"{tool}: not installed; the pool needs it. Ask root for: apt-get install util-linux")
    with pool_root.locked(f"pool-{name()}"):
        if init_pid():
            say("the pool is up already")
            return
        _start(pool_root.ensure("pool", say), say)


def _start(root: Path, say: Callable[[str], None]) -> None:
    (cvmfs() / "singularity.opensciencegrid.org").mkdir(parents=True, exist_ok=True)
    osdf().mkdir(parents=True, exist_ok=True)
    state = folder()
    _prepare(state)
    log = state / "start.log"
    command = [
        "env", "-i", f"PATH={PATH}", "CONDOR_CONFIG=/pool/condor_config", "LANG=C.UTF-8",
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "slave", "--",
        "sh", str(ENTER), str(root), str(state), str(pool_root.cache()), "condor_master", "-f",
    ]  # fmt: skip
    began = time.monotonic()
    launcher = namespace.start(command, log=log, session=True)
    try:
        _wait_until_ready(launcher, log)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(launcher, signal.SIGKILL)
        down()  # --kill-child no longer holds for a condor_master that has changed its user
        raise
    say(f"the pool is up: {len(sites.load())} sites, {time.monotonic() - began:.0f} s")


def _wait_until_ready(launcher: int, log: Path) -> None:
    wanted = {site.machine: site.singularity for site in sites.load()}
    deadline = time.monotonic() + START_SECONDS
    missing = set(wanted)
    while time.monotonic() < deadline:
        if os.waitpid(launcher, os.WNOHANG)[0]:
            raise PoolError(
                f"the pool ended while it started: {log.read_text()[-500:].strip() or 'no output'}; see {log}"
            )
        if init_pid():
            seen = {row["machine"]: row["singularity"] for row in slots()}
            missing = {
                machine for machine, needs in wanted.items() if machine not in seen or (needs and not seen[machine])
            }
            if not missing:
                return
        time.sleep(0.25)
    raise PoolError(
        f"after {START_SECONDS} s these sites are not ready: {', '.join(sorted(missing))}; see osgdl pool logs"
    )


def slots() -> list[dict[str, Any]]:
    """One row a site: machine, site, gpu, gpus, free_gpus, memory_mb, singularity; empty while the collector starts."""
    fields = "Machine GLIDEIN_Site GPUs_DeviceName TotalGPUs GPUs GPUs_GlobalMemoryMb HasSingularity"
    command = ["condor_status", "-json", "-constraint", "PartitionableSlot", "-attributes", fields.replace(" ", ",")]
    done = run(command, cwd=Path("/"))
    if done.returncode or not done.stdout.strip():
        return []
    return [
        {
            "machine": ad.get("Machine"),
            "site": ad.get("GLIDEIN_Site"),
            "gpu": ad.get("GPUs_DeviceName"),
            "gpus": ad.get("TotalGPUs", 0),
            "free_gpus": ad.get("GPUs", 0),
            "memory_mb": ad.get("GPUs_GlobalMemoryMb"),
            "singularity": ad.get("HasSingularity", False),
        }
        for ad in json.loads(done.stdout)
    ]


def _inside(command: Sequence[str], cwd: Path, *, root: bool, environment: dict[str, str]) -> list[str]:
    pid = init_pid()
    if pid is None:
        raise PoolError("the local pool is down; start it: osgdl pool up")
    user = "root" if root else pool_root.USER
    home = "/root" if root else "/pool/home"
    kept = {key: value for key, value in os.environ.items() if key in ("TERM", "COLUMNS", "LINES", "TZ")}
    kept |= {"PATH": PATH, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}
    kept |= {"CONDOR_CONFIG": "/pool/condor_config", **environment}
    become = (
        [] if root else ["setpriv", f"--reuid={namespace.JOB_UID}", f"--regid={namespace.JOB_UID}", "--clear-groups"]
    )
    here = cwd.stat()
    return [
        "nsenter", f"--target={pid}", "--user", "--mount", "--pid", "--",
        "env", "-i", *(f"{key}={value}" for key, value in kept.items()),
        *become, "sh", "-c", ENTER_FOLDER, "sh", str(cwd), f"{here.st_dev}:{here.st_ino}", *command,
    ]  # fmt: skip


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    root: bool = False,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in the pool as its user (or its root) and capture what it prints. Raises PoolError when down."""
    words = _inside(command, cwd or Path.cwd(), root=root, environment=environment or {})
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout
    )


def start_command(
    command: Sequence[str], output: BinaryIO, *, cwd: Path, root: bool = False, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command in the pool, what it prints going to `output`. Raises PoolError when down."""
    words = _inside(command, cwd, root=root, environment=environment)
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def execute(command: Sequence[str], *, cwd: Path | None = None, root: bool = False) -> int:
    """Run a command in the pool with our own standard streams; returns its exit code. Raises PoolError when down."""
    return subprocess.run(_inside(command, cwd or Path.cwd(), root=root, environment={})).returncode


def logs() -> list[Path]:
    """The daemons' log files, newest last."""
    return sorted((folder() / "log").glob("*Log*"), key=lambda file: file.stat().st_mtime)


def unfinished() -> int:
    """How many jobs are in the pool's queue; 0 where it is down or does not answer. They end with the pool."""
    try:
        done = run(["condor_q", "-allusers", "-af", "ClusterId"], cwd=Path("/"), timeout=10)
    except (PoolError, subprocess.TimeoutExpired):
        return 0
    return len(done.stdout.split())


def at_work() -> str:
    """What would be lost with the pool, in words; "" where nothing would."""
    jobs = unfinished()
    found = [f"{jobs} job{'s are' if jobs > 1 else ' is'} in its queue"] * bool(jobs)
    found += ["an image is being built"] * (init_pid() is not None and pool_root.busy("image"))
    return " and ".join(found)


def down() -> bool:
    """Stop the pool; True when it ran. No process and no mount stays. Its jobs are removed first: their logs say so."""
    pid = init_pid()
    if pid is None:
        return False
    with contextlib.suppress(PoolError, subprocess.TimeoutExpired):
        if unfinished():
            run(["condor_rm", "-all"], cwd=Path("/"), timeout=REMOVE_SECONDS)
            end = time.monotonic() + REMOVE_SECONDS
            while unfinished() and time.monotonic() < end:
                time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder() / "init.pid").unlink(missing_ok=True)
    return True
