"""The process that touches OpenCL: `python3 -m submit.runtime.opencl_probe gpu|cpu`, started by `preflight --opencl`.

Speaks like `probe`, one JSON line before each call that may hang or crash and one after it. Where no device of the
wanted kind is there, it says how far the way to one goes: loader, file that names the driver, driver.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import asdict

from submit.runtime import known_photons, opencl
from submit.runtime.probe import say


def probe(kind: str, with_answer: bool) -> None:
    """Everything, in the order of what explains most; ends at the first call that fails."""
    say(stage="libOpenCL")
    loader = opencl.Loader()
    say(stage="clGetPlatformIDs")
    devices = loader.devices()
    wanted = [device for device in devices if device.kind == kind]
    say(driver={"count": len(wanted), "platforms": sorted({device.platform for device in devices})})
    for device in wanted:
        say(device=asdict(device))
    if not wanted:
        row, held = missing(kind)
        say(error={"row": row, "held": held})
        return
    for device in wanted if with_answer else []:
        say(stage="build")
        kernel = loader.kernel(device, known_photons.CODE.read_text(encoding="utf-8"), known_photons.KERNEL)
        say(stage="answer")
        wrong, photon_ns = known_photons.check(kernel)
        say(answer={"index": device.index, "wrong": wrong, "photon_ns": round(photon_ns, 3)})
    say(end=True)


def missing(kind: str) -> tuple[str, str]:
    """Why there is no device: a row of the failure table, and what was found."""
    if kind == "cpu":
        return "opencl-no-cpu", "no platform for the CPU"
    folder = opencl.vendors()
    named = {file.name: file.read_text(encoding="utf-8", errors="replace").strip() for file in folder.glob("*.icd")}
    if not named:
        hidden = os.path.ismount(folder)
        return "opencl-icd-hidden" if hidden else "opencl-no-icd", f"no .icd file in {folder}"
    for name, driver in sorted(named.items()):
        try:
            ctypes.CDLL(driver)
        except OSError as error:
            return "opencl-no-driver", f"{folder / name}: {error}"
    return "opencl-no-device", f"{', '.join(sorted(named))} in {folder}, and no GPU"


def main() -> int:
    words = sys.argv[1:]
    try:
        probe("cpu" if "cpu" in words else "gpu", with_answer="--no-known-answer" not in words)
    except opencl.OpenClError as error:
        if error.code == opencl.BUILD_PROGRAM_FAILURE:
            said = error.log or "the compiler fails without a word"
            say(error={"row": "opencl-no-compiler", "held": f"{error.call}: {said[:300]}"})
        else:
            say(error={"row": "opencl-other", "held": str(error)})
    except (OSError, AttributeError) as error:
        say(error={"row": "opencl-no-loader", "held": str(error)})
    except Exception as error:  # a fault of this file, not of the machine
        say(error={"row": "cannot-check", "held": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
