"""Stands at the trainer's place in a project's job/: fails in the way that the last part of its data's name says.

Every failure is the real one: a real exception, a real signal, a real full device. A name in messages.json beside this
file raises that message, as a framework would on a GPU that is not here.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from submit.runtime import exit_codes
from submit.runtime.progress import Progress


def _attribute():
    import numpy

    return numpy.zeros(3).reshap(1, 3)


def _shape():
    import numpy

    return numpy.ones((4, 240, 240)) + numpy.ones((4, 155, 240))


def _module():
    import medpy

    return medpy


def _name():
    from unet_segmentation.nets import UNet

    return UNet


def _training():
    bar = Progress(400, "training", publish=True)
    for step in range(400):
        time.sleep(0.25)
        bar.update(step, f"loss {1 / (step + 1):.3f}", epoch=0, loss=1 / (step + 1))


def _full():
    with open("/dev/shm/cache.bin", "wb") as file:  # noqa: PTH123, S108 - small in a container
        for _ in range(1 << 20):
            file.write(bytes(1 << 20))


def _read_only():
    with open("/opt/cache.bin", "w") as file:  # noqa: PTH123 - in the image
        file.write("x")


def _alone(code):
    """As a program that knows nothing of the kit."""
    print("step 1 of 100", file=sys.stderr)
    os._exit(code)


def _diverged():
    raise exit_codes.Fault(
        "loss",
        "nan at step 120, in a batch of BraTS2021_00002, for the second time",
        "a loss that falls",
        "lower train.learning_rate (0.001), or look at these patients",
    )


CASES = {
    "diverged": _diverged,
    "python-key": lambda: {"t1": 1, "t2": 2}["flair"],
    "python-module": _module,
    "python-import-name": _name,
    "python-attribute": _attribute,
    "python-shape": _shape,
    "python-file": lambda: open("patients.csv"),  # noqa: PTH123, SIM115
    "python-memory": lambda: b"x" * (1 << 60),
    "python-recursion": lambda: CASES["python-recursion"](),
    "disk-full": _full,
    "image-read-only": _read_only,
    "segmentation-fault": lambda: ctypes.string_at(0),
    "kernel-kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": lambda: os.abort(),
    "silent-1": lambda: _alone(1),
    "silent-65": lambda: _alone(65),
    "silent-75": lambda: _alone(75),
    "training": _training,
    "fine": lambda: None,
}


def main():
    case = Path(sys.argv[sys.argv.index("--data") + 1]).name
    messages = json.loads(Path(__file__).with_name("messages.json").read_text())
    if case in messages:
        raise RuntimeError(messages[case])
    CASES.get(case, CASES["fine"])()
    return 0


if __name__ == "__main__":
    sys.exit(exit_codes.run(main))
