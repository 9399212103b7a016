"""What the faults of `osgdl try` do to processes of the local pool; runs in it, as its root, standard library alone.

Usage (submit/harm.py hands the text to python3 -c):
    harm.py signal NAME PID...        kill -NAME of those that still are
    harm.py tree PID                  the process ids below PID, the youngest last, one a line
    harm.py daemons                   pid and command line of HTCondor's processes
    harm.py cut PID...                shuts the TCP connections of these processes, as a lost network would
    harm.py stutter SECONDS PID...    lets them run a tenth of the time
    harm.py saving SECONDS FOLDER PID SIGKILL to the last process below PID in the middle of a save; 1: none came
"""

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

PIDFD_GETFD = 438  # linux/unistd.h, the same number on every architecture
STUTTER_S = 0.5
RUN_SHARE = 0.1


def parents() -> dict[int, int]:
    """Process id -> that of its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    return found


def below(pid: int) -> list[int]:
    """Every process below `pid`, parents first."""
    table = parents()
    found, level = [], [pid]
    while level:
        level = sorted(child for child, parent in table.items() if parent in level)
        found += level
    return found


def send(number: int, pids: list[int]) -> None:
    """A signal to those that still are."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def cut(pid: int) -> int:
    """Shuts the TCP connections of a process; returns how many."""
    libc = ctypes.CDLL(None, use_errno=True)
    count = 0
    handle = os.pidfd_open(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if not str(link.readlink()).startswith("socket:"):
                continue
        except OSError:
            continue
        copy = libc.syscall(PIDFD_GETFD, handle, int(link.name), 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        with socket.socket(fileno=copy) as taken:
            try:
                if taken.family in (socket.AF_INET, socket.AF_INET6) and taken.type == socket.SOCK_STREAM:
                    taken.getpeername()
                    taken.shutdown(socket.SHUT_RDWR)
                    count += 1
            except OSError:  # one that listens
                continue
    return count


def stutter(seconds: float, pids: list[int]) -> None:
    """Lets processes and their children run a tenth of the time; they go on at the end, whatever happens."""
    end = time.monotonic() + seconds
    everyone: list[int] = []
    try:
        while time.monotonic() < end:
            everyone = [each for pid in pids for each in (pid, *below(pid))]
            send(signal.SIGSTOP, everyone)
            time.sleep(STUTTER_S * (1 - RUN_SHARE))
            send(signal.SIGCONT, everyone)
            time.sleep(STUTTER_S * RUN_SHARE)
    finally:
        send(signal.SIGCONT, everyone)


def killed_while_saving(seconds: float, folder: Path, pid: int) -> bool:
    """SIGKILL to the last process below `pid` once a part of a checkpoint is there (submit/runtime/checkpoint.py)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(folder.glob("**/.saving-*/*")):
            send(signal.SIGKILL, below(pid)[-1:])
            return True
        time.sleep(0.001)
    return False


def main(verb: str, *words: str) -> int:
    if verb == "signal":
        send(getattr(signal, f"SIG{words[0]}"), [int(word) for word in words[1:]])
    elif verb == "tree":
        print(*below(int(words[0])), sep="\n")
    elif verb == "daemons":
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if command.startswith("condor_"):
                print(folder.name, command)
    elif verb == "cut":
        print(sum(cut(int(word)) for word in words))
    elif verb == "stutter":
        stutter(float(words[0]), [int(word) for word in words[1:]])
    elif verb == "saving":
        return 0 if killed_while_saving(float(words[0]), Path(words[1]), int(words[2])) else 1
    else:
        raise SystemExit(f"{verb}: unknown")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
