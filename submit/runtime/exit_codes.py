"""How a job tells HTCondor what to do next: by its exit code, and in words by a delayed chirp update.

The submit file of every template carries these codes out (`docs/design.md`, Contracts):

    DONE          0   leaves the queue
    CHECKPOINTED  85  the files in `transfer_checkpoint_files` are kept and the job is run again; counts as no try
    BAD_MACHINE   75  tried again on another machine, at most 5 times, never on those that returned 75 nor at a site
                      where two machines did
    BAD_INPUT     65  held with the file and the fault in the hold reason; never tried again
    BUG           1   like every other code and every signal: 3 runs, then held

    Fault           a line for the user: field or file, what it held, what is wanted, what mends it; exits like a BUG
    |- BadInput     the data or the configuration is wrong: another machine would not help
    `- BadMachine   this machine cannot do it: another one may
    Checkpointed    the work so far is saved: the same command goes on from there
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from typing import Callable, NoReturn, Optional

from submit.runtime import chirp, classad, failures, gpu_ad

DONE = 0
CHECKPOINTED = 85
BAD_MACHINE = 75
BAD_INPUT = 65
BUG = 1
INTERRUPTED = 130  # 128 + SIGINT, what a shell reports for Ctrl-C

REASON = "ChirpOsgdlReason"
AVOID = "ChirpOsgdlAvoid"
AVOIDED_MACHINES = 3  # more would leave a job of a small pool idle for ever, in silence
AVOID_SITES = "ChirpOsgdlAvoidSites"
AVOIDED_SITES = 2  # the same holds
SITE_MACHINES = 2  # of one site must return 75 before the whole site is avoided: then it is no single broken machine
# every machine that returned 75, with its site: `machine@site,...`, the last ones
RETURNED = "ChirpOsgdlReturned75"
REMEMBERED = 6  # a job is held after so many

LONGEST_HELD = 160  # characters of a framework's message in a reason: what mends it must still fit

# A full or dying disk, a full quota: properties of the machine, not of the data
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class Fault(Exception):
    """One line in the house's form, `<where>: <held>; <wanted>; <mend>`.

    Args:
        where: the field or file at fault, such as `train.steps` or `patient_007/t1c.nii.gz`.
        held: what it held.
        wanted: what is wanted instead.
        mend: the edit or command that mends it.
    """

    def __init__(self, where: object, held: str, wanted: str, mend: str) -> None:
        super().__init__(" ".join(f"{where}: {held}; {wanted}; {mend}".split()))
        self.where, self.held, self.wanted, self.mend = str(where), held, wanted, mend


class BadInput(Fault):
    """The data or the configuration is wrong, and would be on every machine."""


class BadMachine(Fault):
    """This machine cannot do the work: no usable GPU, a full disk, a lost data service."""


class Checkpointed(Exception):
    """The work so far is saved; running the same command again goes on from there."""


def run(main: Callable[[], Optional[int]], debug: bool = False) -> int:
    """Runs the job's `main` and returns the exit code of the contract; the reason goes to stderr and into the job's ad.

    `main` returns its exit code (None is 0) or raises. `debug` lets BadInput and BadMachine show their traceback too.
    A full disk is the machine's fault (75). A MemoryError is a BUG here: a job killed for host memory is HTCondor's
    affair (`retry_request_memory`), and another machine would give it no more than it asked for.
    """
    chirp.publish(REASON, "")  # or a later crash shows the reason of an earlier try
    try:
        return main() or DONE
    except Checkpointed as saved:
        print(f"{saved} (exit code {CHECKPOINTED}: run the same command again to go on)", file=sys.stderr)
        return CHECKPOINTED
    except BadInput as fault:
        return _report(fault, str(fault), BAD_INPUT, debug)
    except BadMachine as fault:
        return _leave(fault, str(fault), debug)
    except Fault as fault:
        return _report(fault, str(fault), BUG, debug)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as fault:
        return _report(
            fault, "memory: the process ran out; it needs more than the slot has; raise request_memory", BUG, True
        )
    except OSError as fault:
        if fault.errno in _DISK_FAULTS:
            where = f"{fault.filename or 'disk'}: {fault.strerror}"
            return _leave(fault, f"{where}; this machine's disk cannot be written; the job is tried elsewhere", debug)
        return _known(fault)
    except Exception as fault:
        return _known(fault)


def end(code: int) -> NoReturn:
    """Ends the process at once, with what was printed. At the usual end a framework takes itself apart for a second or
    two, and a job that left to come back waits for it.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _known(fault: Exception) -> int:
    """What a framework raises is a BUG, unless the failure table knows its words: a GPU lost in the middle of the work
    is the machine's fault, a library missing in the image is the request's.
    """
    reason = f"{type(fault).__name__}: {fault}"
    found = failures.matches(reason, gpu_ad.facts(classad.machine_ad(), gpu_ad.assigned()))
    if not found or found[0].failure.verdict == failures.WARNING:
        return _report(fault, reason, BUG, True)
    known = found[0].failure
    traceback.print_exception(type(fault), fault, fault.__traceback__)
    line = f"{known.where}: {' '.join(found[0].text.split())[:LONGEST_HELD]}; {known.diagnosis}; {known.fix}"
    if known.verdict == failures.MACHINE:
        return _leave(fault, line, debug=False)
    return _report(fault, line, BAD_INPUT, False)


def _report(fault: BaseException, reason: str, code: int, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exception(type(fault), fault, fault.__traceback__)
    print(reason, file=sys.stderr)
    chirp.publish(REASON, reason)
    return code


def _leave(fault: BaseException, reason: str, debug: bool) -> int:
    """Adds this machine to those that the job avoids, and its site once two of its machines returned 75: only the job
    knows which machine did.
    """
    machine, site = classad.machine_ad().text("Machine"), classad.machine_ad().text("GLIDEIN_Site")
    if machine:
        chirp.publish(AVOID, ",".join(_added(AVOID, machine, AVOIDED_MACHINES)))
    if machine and site:
        returned = _added(RETURNED, f"{machine}@{site.replace(',', ' ')}", REMEMBERED)
        chirp.publish(RETURNED, ",".join(returned))
        sites = [name.rpartition("@")[2] for name in returned]
        bad = [name for name in dict.fromkeys(reversed(sites)) if name and sites.count(name) >= SITE_MACHINES]
        if bad:
            chirp.publish(AVOID_SITES, ",".join(bad[:AVOIDED_SITES]))
    return _report(fault, f"{reason} [on {machine}]" if machine else reason, BAD_MACHINE, debug)


def _added(attribute: str, name: str, most: int) -> list[str]:
    """A list in the job's ad with `name` as its last member, and no second time; the oldest members are forgotten where
    there are too many or chirp would cut the string.
    """
    earlier = [member.strip() for member in classad.job_ad().text(attribute).split(",")]
    members = [*(member for member in earlier if member and member.lower() != name.lower()), name][-most:]
    while len(members) > 1 and len(",".join(members)) > chirp.LONGEST_STRING:
        members.pop(0)
    return members
