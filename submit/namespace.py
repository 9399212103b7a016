"""A user namespace that maps a whole range of ids, made without root: where the pool and its image builds live.

The caller's own id becomes `JOB_UID` inside, an ordinary user: so the pool's jobs write files that belong to the person
who started the pool, also where that person is root. Root inside is an id from /etc/subuid that owns nothing outside.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from submit.errors import PoolError, ToolMissing

JOB_UID = 1000
RANGE = 65536
CLONE_NEWUSER = 0x10000000  # linux/sched.h
# root needs no entry in /etc/subuid; a range far above those that adduser hands out keeps its files apart from theirs
ROOT_RANGE_START = 1_000_000_000


def _range_start(file: str) -> int:
    """First subordinate id of the caller in /etc/subuid or /etc/subgid (subuid(5)); raises PoolError without one."""
    uid = os.getuid()
    names = {str(uid), os.environ.get("USER", ""), os.environ.get("LOGNAME", "")} - {""}
    try:
        import pwd

        names.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass
    lines = Path(file).read_text().splitlines() if Path(file).exists() else []
    for line in lines:
        name, start, count = [*line.split(":"), "", "0", "0"][:3]
        if name in names and count.isdigit() and int(count) >= RANGE:
            return int(start)
    if uid == 0:
        return ROOT_RANGE_START
    raise PoolError(
        f"{file}: no range of {RANGE} ids for user {uid}; the pool maps its users to such a range. "
        f"Ask root for: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
    )


def id_map(own: int, start: int) -> list[tuple[int, int, int]]:
    """Lines (inside, outside, count) of /proc/PID/uid_map: all of the range, with `own` at JOB_UID."""
    return [(0, start, JOB_UID), (JOB_UID, own, 1), (JOB_UID + 1, start + JOB_UID + 1, RANGE - JOB_UID - 1)]


def _write_map(pid: int, kind: str, lines: list[tuple[int, int, int]]) -> None:
    if os.getuid() == 0:
        Path(f"/proc/{pid}/{kind}_map").write_text("".join(f"{a} {b} {c}\n" for a, b, c in lines))
        return
    tool = f"new{kind}map"
    if not shutil.which(tool):
        raise ToolMissing(
            f"{tool}: not installed; it maps a range of ids into the pool. Ask root for: apt-get install uidmap"
        )
    words = [str(number) for line in lines for number in line]
    done = subprocess.run([tool, str(pid), *words], capture_output=True, text=True)
    if done.returncode:
        raise PoolError(f"{tool} {pid}: {done.stderr.strip()}; check /etc/sub{kind}")


def start(command: Sequence[str], *, log: Path | None = None, session: bool = False) -> int:
    """Start `command` as root of a new user namespace; returns its process id, a child of this process.

    `log` takes its output (without it, output goes where ours goes); `session` detaches it from the terminal.
    Raises PoolError where the kernel refuses, ToolMissing without newuidmap.
    """
    maps = {
        "gid": id_map(os.getgid(), _range_start("/etc/subgid")),
        "uid": id_map(os.getuid(), _range_start("/etc/subuid")),
    }
    child_ready, parent_done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(command, log, session, child_ready[1], parent_done[0])
        finally:
            os._exit(127)
    os.close(child_ready[1])
    os.close(parent_done[0])
    answer = os.read(child_ready[0], 64)
    try:
        if answer != b"ok":
            raise PoolError(
                f"user namespaces: the kernel refused one ({os.strerror(int(answer or b'1'))}); the pool needs them. "
                "Ask root for: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1 "
                "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)"
            )
        for kind, lines in maps.items():
            _write_map(pid, kind, lines)
        os.write(parent_done[1], b"go")
    finally:
        os.close(parent_done[1])  # without "go" the child exits
        os.close(child_ready[0])
    return pid


def _child(command: Sequence[str], log: Path | None, session: bool, ready: int, go: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER):
        os.write(ready, str(ctypes.get_errno()).encode())
        return
    os.write(ready, b"ok")
    if os.read(go, 2) != b"go":
        return
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if session:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if log:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
    os.execvp(command[0], list(command))  # noqa: S606 - a list, and no shell is wanted


def run(command: Sequence[str], *, log: Path | None = None) -> int:
    """Run `command` as root of a new user namespace and return its exit code (128 + n for signal n)."""
    _, status = os.waitpid(start(command, log=log), 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
