"""Does the faults of `faults.py` to a job of the local pool, and mends them.

Each is a context: entered, the fault is there; left, it is mended. Everything is real: signals to HTCondor's own
processes, cut connections, mounts inside the pool's namespace. Where this program is killed, `osgdl pool down` ends
them all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit import osdf_local, pool
from submit.errors import KitError, PoolError
from submit.faults import Fault
from submit.start import Start

HELPER = Path(__file__).parent / "data" / "pool" / "harm.py"
SLOW = "200kB/s"
# left on a full disk: enough for HTCondor's own few lines, not for a checkpoint
LEFT_KB = 64
EXECUTE = "/pool/execute"


@dataclass(frozen=True)
class Target:
    """A running job, where it runs, and its ad as submitted."""

    cluster: int
    proc: int
    start: Start
    ad: Mapping[str, Any]

    @property
    def job(self) -> str:
        return f"{self.cluster}.{self.proc}"

    @property
    def startd(self) -> str:
        """The local name of the startd, from /pool/execute/NAME/dir_PID/scratch."""
        return self.start.scratch.removeprefix(f"{EXECUTE}/").partition("/")[0]

    @property
    def starter(self) -> int:
        """Process id of its starter, in the pool."""
        found = re.search(r"/dir_(\d+)", self.start.scratch)
        if not found:
            raise PoolError(f"job {self.job}: its folder on the machine is {self.start.scratch!r}; want .../dir_PID")
        return int(found[1])


def root(*command: str, may_fail: bool = False) -> str:
    """What a command prints that the pool's root runs. Raises PoolError when it fails."""
    done = pool.run(command, cwd=Path("/"), root=True)
    if done.returncode and not may_fail:
        raise PoolError(f"{' '.join(command)[:80]}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def helper(verb: str, *words: object, may_fail: bool = False) -> str:
    """What data/pool/harm.py prints."""
    return root("python3", "-c", HELPER.read_text(), verb, *map(str, words), may_fail=may_fail)


def mount(*words: str, undo: bool = False) -> None:
    # the set-user-id bit would make it the root outside (data/pool/enter.sh)
    root("setpriv", "--no-new-privs", "umount" if undo else "mount", *words, may_fail=undo)


def condor(*command: str) -> None:
    """A command of HTCondor's as the pool's user."""
    done = pool.run(command, cwd=Path("/"))
    if done.returncode:
        raise PoolError(f"{' '.join(command)}: {(done.stderr + done.stdout).strip()[-300:]}")


def daemons(*parts: str) -> list[int]:
    """Process ids of HTCondor's processes whose command line has all of these words."""
    rows = (line.partition(" ") for line in helper("daemons").splitlines())
    return [int(pid) for pid, _, command in rows if set(parts) <= set(command.split())]


def evict(job: str, fast: bool = True) -> None:
    """Takes the machine away. `fast`: the job gets no signal that it could answer, as where a pilot is killed."""
    condor("condor_vacate_job", *(["-fast"] if fast else []), job)


def kill(*pids: int, name: str = "KILL") -> None:
    helper("signal", name, *pids)


def payload(target: Target) -> int:
    """The process that does the work: the last one below the starter."""
    below = helper("tree", target.starter).split()
    if not below:
        raise PoolError(f"job {target.job}: no process of it at {target.start.site}; it ended meanwhile")
    return int(below[-1])


def shadows(target: Target) -> list[int]:
    return daemons("condor_shadow", target.job)


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[None]:
    """Runs `work` in a thread until it is done, at the latest when the context ends."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def _stopped(*pids: int) -> Iterator[None]:
    kill(*pids, name="STOP")
    try:
        yield
    finally:
        kill(*pids, name="CONT")


@contextmanager
def covered(path: str, by: str) -> Iterator[None]:
    """Inside the pool, `by` lies over `path`; outside, nothing changes."""
    mount("--bind", by, path)
    try:
        yield
    finally:
        mount("--lazy", path, undo=True)


@contextmanager
def _once(*actions: Callable[[], object]) -> Iterator[None]:
    for action in actions:
        action()
    yield


@contextmanager
def _unreachable(target: Target) -> Iterator[None]:
    with _stopped(target.starter):  # or it would be connected anew before the last of its connections is cut
        helper("cut", target.starter)
        yield


def _slow_transfer(target: Target, seconds: float) -> AbstractContextManager[None]:
    osdf_local.spoil(slow=SLOW)
    evict(target.job)
    return _beside(lambda: helper("stutter", seconds, *daemons("condor_schedd")))


@contextmanager
def _sigterm_ignored(target: Target) -> Iterator[None]:
    with _stopped(payload(target)):
        evict(target.job, fast=False)
        yield


@contextmanager
def _full(target: Target) -> Iterator[None]:
    folder = f"{EXECUTE}/{target.startd}"
    used = int(root("df", "--output=used", folder).split()[-1])
    mount("--options-mode", "ignore", "-o", f"remount,size={used + LEFT_KB}k", folder)
    try:
        yield
    finally:
        mount("--options-mode", "ignore", "-o", "remount,size=50%", folder)


@contextmanager
def _held(target: Target) -> Iterator[None]:
    condor("condor_hold", target.job)
    yield
    condor("condor_release", target.job)


@contextmanager
def _image_gone(target: Target) -> Iterator[None]:
    image = str(target.ad.get("SingularityImage") or target.ad.get("ContainerImage") or "")
    if not image.startswith("/cvmfs/"):
        raise KitError(f"image-gone: the image is {image!r}; one below /cvmfs is wanted. Leave the fault out")
    root("mkdir", "-p", "/pool/tmp/nothing")
    with covered(image, "/pool/tmp/nothing"):
        evict(target.job)
        yield


def spooled(target: Target) -> list[tuple[str, int]]:
    """Path and bytes of each file that the access point keeps of the job's checkpoints; the newest generation last."""
    name = f"cluster{target.cluster}.proc{target.proc}.subproc0"
    found = root("find", "/pool/spool", "-path", f"*/{name}/*", "-type", "f", "-printf", "%s %p\n", may_fail=True)
    rows = (line.partition(" ") for line in found.splitlines())
    return sorted((path, int(size)) for size, _, path in rows if not Path(path).name.startswith("_condor_"))


def _torn(target: Target) -> None:
    files = spooled(target)
    newest = [row for row in files if Path(row[0]).parent == Path(files[-1][0]).parent]
    path, size = max(newest, key=lambda row: row[1])
    root("truncate", "--size", str(size // 2), path)
    evict(target.job)


def _dies(target: Target) -> None:
    startd = daemons("condor_startd", target.startd)
    kill(*startd, target.starter, *map(int, helper("tree", target.starter).split()))


def _saving(target: Target, seconds: float) -> AbstractContextManager[None]:
    folder = Path(target.start.scratch).parent
    return _beside(lambda: helper("saving", seconds, folder, target.starter, may_fail=True))


def ready(fault: Fault, target: Target) -> bool:
    """Whether the fault can hit the job now."""
    if fault.name == "checkpoint-torn":
        return bool(spooled(target))
    if fault.name == "full-disk":  # harm_setup.py left out a site that was busy
        folder = f"{EXECUTE}/{target.startd}"
        return folder == root("df", "--output=target", folder).split()[-1]
    return True


def on_job(fault: Fault, target: Target) -> AbstractContextManager[None]:
    """The fault, done to a running job; what must be set up before it was (harm_setup.py)."""
    name, seconds = fault.name, fault.seconds
    todo: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "lost-network": lambda: _unreachable(target),
        "network-gone": lambda: _unreachable(target),
        "shadow-hangs": lambda: _stopped(*shadows(target)),
        "slow-transfer": lambda: _slow_transfer(target, seconds),
        "starter-killed": lambda: _once(lambda: kill(target.starter)),
        "machine-dies": lambda: _once(lambda: _dies(target)),
        "slow-machine": lambda: _beside(
            lambda: helper("stutter", seconds, *helper("tree", target.starter).split()[:1])
        ),
        "full-disk": lambda: _full(target),
        "crash": lambda: _once(lambda: kill(payload(target), name="SEGV")),
        "oom-killer": lambda: _once(lambda: kill(payload(target))),
        "killed-while-saving": lambda: _saving(target, seconds),
        "graceful-eviction": lambda: _once(lambda: evict(target.job, fast=False)),
        "sigterm-ignored": lambda: _sigterm_ignored(target),
        "checkpoint-torn": lambda: _once(lambda: _torn(target)),
        "shadow-killed": lambda: _once(lambda: kill(*shadows(target))),
        # a shadow that outlived its schedd would fight with the next schedd's for the starter
        "ap-restart": lambda: _once(lambda: kill(*daemons("condor_schedd"), *daemons("condor_shadow"))),
        "held-and-released": lambda: _held(target),
        "collector-restart": lambda: _once(lambda: kill(*daemons("condor_collector")), lambda: evict(target.job)),
        "negotiator-restart": lambda: _once(lambda: kill(*daemons("condor_negotiator")), lambda: evict(target.job)),
        "image-gone": lambda: _image_gone(target),
    }
    return todo.get(name, _once)()
