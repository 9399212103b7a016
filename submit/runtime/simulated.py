"""A GPU that exists in its slot's ad alone: stands in the driver's place on the local pool, and nowhere else.

Its facts are those that the slot advertises. A bad site of the pool says in its machine ad what is wrong with it:

    OsgdlSimulatedFault = "wrong-answer"   the GPU computes wrongly
    OsgdlSimulatedFault = "lost"           it is lost in the middle of the training, OsgdlSimulatedLostAfter seconds
                                           after the first step
    OsgdlSimulatedRuntime = 11040          the driver's real CUDA version, whatever is advertised
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Optional

from submit.runtime import classad, devices, gpu_ad, known_answer
from submit.runtime.cuda import CudaError, Device

CUDA_ERROR_INVALID_DEVICE = 101


class Driver:
    """Has the methods of `cuda.Driver`; of the answers the CPU computes one copy.

    Raises:
        ValueError: the slot does not say that its GPU is simulated.
    """

    def __init__(self, machine: Optional[classad.Ad] = None) -> None:
        self._machine = classad.machine_ad() if machine is None else machine
        if self._machine.get("OsgdlSimulatedGPU") is not True:
            raise ValueError("not a simulated slot: its GPU is real or absent")
        self._assigned = devices.assigned_gpus()

    def init(self) -> None:
        """Nothing to start."""

    def version(self) -> int:
        advertised = gpu_ad.facts(self._machine, self._assigned).get("runtime", 0)
        return int(self._machine.number("OsgdlSimulatedRuntime", advertised))

    def count(self) -> int:
        return len(self._assigned)

    def device(self, index: int) -> Device:
        if not 0 <= index < self.count():
            raise CudaError("cuDeviceGet", CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE")
        name = self._assigned[index]
        known = gpu_ad.properties(self._machine, name)
        facts = gpu_ad.facts(self._machine, [name])
        return Device(
            index=index,
            name=str(known.get("DeviceName", "")),
            capability=facts.get("capability", 0.0),
            uuid=(str(known.get("DeviceUuid", "")) or name).rpartition("MIG-")[2].rpartition("GPU-")[2],
            memory_mb=int(facts.get("memory_mb", 0)),
            ecc=known.get("ECCEnabled") is True,
        )

    @contextmanager
    def context(self, index: int) -> Iterator[None]:
        self._current = self.device(index)
        yield

    def free_mb(self) -> int:
        return self._current.memory_mb

    def compute(
        self, code: bytes, kernel: str, inputs: Sequence[bytes], size: int, result_bytes: int, grid: tuple[int, int]
    ) -> bytes:
        first, second = ([round(value) for (value,) in struct.iter_unpack("<f", content)] for content in inputs)
        result = known_answer.answer(kernel, first, second, size)
        if self._machine.text("OsgdlSimulatedFault") == "wrong-answer":
            result[len(result) // 2] += 1
        return struct.pack(f"<{len(result)}f", *result) * grid[1]
