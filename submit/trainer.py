"""The project's own trainer, run here in a process of its own as the job runs it there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submit.errors import KitError

TRAINER = "unet_segmentation"


def run(
    project: Path, words: Sequence[str], module: str = TRAINER, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m MODULE WORDS`, with `given` on standard input; what it printed, errors too, is in `stdout`. On a
    terminal its errors, and its progress bar with them, go there.

    Raises:
        KitError: neither the project's job/ nor this Python has it.
    """
    job, environment = project / "job", dict(os.environ)
    if (job / TRAINER).is_dir():
        environment["PYTHONPATH"] = os.pathsep.join([str(job.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    elif importlib.util.find_spec(TRAINER) is None:
        raise KitError(f"{job}: no {TRAINER} in it; a project's folder is wanted. Change into it.")
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *words],
        env=environment, input=given, stdout=subprocess.PIPE, text=True,
        stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
    )  # fmt: skip


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="osgdl-") as folder:
        yield Path(folder)
