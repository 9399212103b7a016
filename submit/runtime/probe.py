"""The process that touches the driver: `python3 -m submit.runtime.probe`, started by `preflight`.

A broken machine's driver hangs or crashes whoever calls it, and must not take the job with it. So this process says in
one JSON line what it is about to do, and in the next what came of it; the last line tells where it ended.

    {"stage": "cuInit", "at": 0.03}
    {"driver": {"runtime": 12080, "count": 1}, "at": 0.21}
    {"device": {"name": "NVIDIA H100 80GB HBM3", ...}, "at": 0.21}
    {"answer": {"index": 0, "wrong": ""}, "at": 0.9}
    {"end": true, "at": 0.9}
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any, Union

from submit.runtime import classad, cuda, failures, known_answer, simulated
from submit.runtime.nvml import Nvml, NvmlError

BEGAN = time.monotonic()


def say(**values: Any) -> None:
    """One line, at once: the next call may be the last."""
    print(json.dumps({**values, "at": round(time.monotonic() - BEGAN, 4)}), flush=True)


def probe(with_answer: bool) -> None:
    """Everything, in the order of what explains most; ends at the first call that fails."""
    library: Union[Nvml, None] = None
    if classad.machine_ad().get("OsgdlSimulatedGPU") is True:
        driver: Union[cuda.Driver, simulated.Driver] = simulated.Driver()
    else:
        say(stage="NVML")
        library = _nvml()
        say(stage="libcuda")
        driver = cuda.Driver()
    say(stage="cuInit")
    driver.init()
    say(stage="query")
    count = driver.count()
    say(driver={"runtime": driver.version(), "count": count, "driver": library.driver() if library else ""})
    devices = [driver.device(index) for index in range(count)]
    for device in devices:
        counted = (
            {"ecc_errors": library.uncorrected_errors(device.uuid), "slow": library.slow(device.uuid)}
            if library
            else {}
        )
        say(device={**asdict(device), **counted})
    for device in devices:
        say(stage="context")
        with driver.context(device.index):
            say(memory={"index": device.index, "free_mb": driver.free_mb()})
            if with_answer:
                say(stage="answer")
                say(answer={"index": device.index, "wrong": known_answer.check(driver)})
    say(end=True)


def _nvml() -> Union[Nvml, None]:
    try:
        return Nvml()
    except (OSError, AttributeError):
        return None  # not every site mounts it
    except NvmlError as error:
        row = failures.by_nvml_result(error.code)
        if row:
            say(error={"row": row.id, "held": str(error)})
        return None


def main() -> int:
    try:
        probe(with_answer="--no-known-answer" not in sys.argv[1:])
    except cuda.CudaError as error:
        row = failures.by_cuda_result(error.code)
        say(error={"row": row.id, "held": f"{error}, {row.diagnosis}"})
    except NvmlError as error:
        row = failures.by_nvml_result(error.code) or failures.by_check("cuda-other")
        say(error={"row": row.id, "held": str(error)})
    except (OSError, AttributeError) as error:
        say(error={"row": "libcuda-missing", "held": str(error)})
    except Exception as error:  # a fault of this file, not of the machine
        say(error={"row": "cannot-check", "held": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
