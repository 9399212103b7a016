"""Stands at the trainer's place in a project's job/: ends the way that its case, the data's name, says."""

import os
import signal
import sys
from pathlib import Path

from submit.runtime import classad
from submit.runtime.exit_codes import BadInput, BadMachine, Checkpointed, run


def main():
    case = sys.argv[sys.argv.index("--data") + 1]
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    if case == "bad-machine-once" and not classad.job_ad().text("ChirpOsgdlAvoid"):
        raise BadMachine("GPU", "sick", "a healthy one", "it is tried elsewhere")
    if case == "bad-machine-always":
        raise BadMachine("GPU", "sick", "a healthy one", "it is tried elsewhere")
    if case == "bad-input":
        raise BadInput('patient_007/"t1c".nii.gz', "shape 240x240x154", "240x240x155", "re-export it, or 50% is lost")
    if case == "bug":
        raise KeyError("flair")
    if case == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if case == "checkpoints":
        count = Path("checkpoint") / "count"
        done = int(count.read_text()) if count.exists() else 0
        count.write_text(str(done + 1))
        if done < 3:
            raise Checkpointed(f"saved {done + 1}")
        (out / "count").write_text(str(done))
    (out / "machine").write_text(classad.machine_ad().text("Machine"))
    return 0


sys.exit(run(main))
