"""The photons by OpenCL: the device that computes, the kernel that is built for it, and a batch of photons.

pyopencl is imported only where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_propagation.hits import COUNTS, raw_dtype
from photon_propagation.world import World
from submit.runtime import devices, opencl, visible
from submit.runtime.exit_codes import BadInput, BadMachine

KERNEL = Path(__file__).with_name("kernel.cl")
FIRST_CAPACITY = 2**16  # hits; grows when a batch has more
GROUP = 64  # work items
LOST = ("INVALID_COMMAND_QUEUE", "INVALID_CONTEXT", "INVALID_DEVICE")  # what a GPU that is gone makes invalid
FATES = len(COUNTS) + 1  # and what the last of them carries


@dataclass(frozen=True)
class Ends:
    """What became of each photon of a batch; arrays in the order of the photons.

    Attributes:
        fate: number of a name in `hits.COUNTS`.
        scatters: how many.
        position: where, m; shape (photons, 3).
        path: its length, m.
    """

    fate: NDArray[np.uint32]
    scatters: NDArray[np.uint32]
    position: NDArray[np.float64]
    path: NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Hits as the kernel wrote them, in no order; how often each of `hits.COUNTS`; ends where they were asked for."""

    hits: NDArray[Any]
    counts: dict[str, int]
    ends: Ends | None


def choose(name: str = "") -> tuple[Any, str]:
    """The device, and what to record with the results.

    Without a name: the GPU that HTCondor assigned. The CPU computes only where no GPU was asked for, where it is named,
    or on a slot of the local pool, which says so.

    Args:
        name: part of a device's or a platform's name, or `cpu` or `gpu`.

    Raises:
        BadInput: no device has this name, or there is no pyopencl.
        BadMachine: no OpenCL, or not the GPU that the job was given.
    """
    try:
        import pyopencl
    except ImportError as fault:  # itself, a module that it needs, or the loader that it is linked with
        held = f"{type(fault).__name__}: {' '.join(str(fault).split())[:100]}"
        mend = "pip install pyopencl; for a job in container.def, and build the image again"
        raise BadInput("pyopencl", held, "the Python module pyopencl, which calls OpenCL", mend) from fault
    try:
        found = [device for platform in pyopencl.get_platforms() for device in platform.get_devices()]
    except pyopencl.Error as fault:  # no platform, a platform without a device
        held = f"none ({type(fault).__name__}: {' '.join(str(fault).split())[:100]})"
        wanted = "a platform with a device"
        raise BadMachine("OpenCL", held, wanted, "python3 -m submit.runtime.preflight --opencl says why") from fault
    with calls("device"):
        return _among(found, name)


def _among(found: Sequence[Any], name: str) -> tuple[Any, str]:
    if name:
        named = [device for device in found if _is(device, name)]
        if not named:
            there = ", ".join(f"{device.name} ({device.platform.name})" for device in found) or "none"
            raise BadInput(f"--device {name}", "no such device", f"part of a name among: {there}", "name another")
        return named[0], described(named[0])
    gpus = [device for device in found if _is(device, "gpu")]
    where = devices.require_gpu(len(gpus))
    if not where.startswith("cpu"):
        gpu = gpus[_assigned(found, gpus)]
        return gpu, described(gpu)
    cpus = [device for device in found if _is(device, "cpu")]
    if not cpus:
        raise BadMachine("OpenCL", "no CPU device", "PoCL", "pip install pocl-binary-distribution")
    return cpus[0], where.replace("cpu", described(cpus[0]), 1)


@contextmanager
def calls(name: str) -> Iterator[None]:
    """What OpenCL is called in: a call that fails is the machine's fault, unless it was a wrong one: a bug.

    A GPU that is lost in the middle of the work shows by whatever is called next, as OUT_OF_RESOURCES,
    DEVICE_NOT_AVAILABLE, INVALID_COMMAND_QUEUE or a number of the driver's own.

    Raises:
        BadMachine: it failed.
    """
    import pyopencl

    try:
        yield
    except pyopencl.Error as fault:
        if "INVALID_" in str(fault) and not any(word in str(fault) for word in LOST):
            raise
        held = f"{name}: {' '.join(str(fault).split())[:200]}"
        mend = "the job is tried elsewhere; what was saved is kept"
        raise BadMachine("OpenCL device", held, "a call that succeeds", mend) from fault


def described(device: Any) -> str:
    """Kind, name, platform and driver."""
    kind = "gpu" if _is(device, "gpu") else "cpu" if _is(device, "cpu") else "other"
    return f"{kind} {device.name.strip()} ({device.platform.name.strip()}, driver {device.driver_version.strip()})"


def _is(device: Any, name: str) -> bool:
    import pyopencl

    kinds = {"gpu": pyopencl.device_type.GPU, "cpu": pyopencl.device_type.CPU}
    if name in kinds:
        return bool(device.type & kinds[name])
    return name.lower() in f"{device.name} {device.platform.name}".lower()


def _assigned(found: Sequence[Any], gpus: Sequence[Any]) -> int:
    """Which of the GPUs HTCondor gave this job; the first where that cannot be said."""
    given = devices.assigned_gpus()
    if len(gpus) > 1 and given:
        # the runtime asks the same loader, which lists them in the same order, and knows their UUIDs
        for device in opencl.Loader().devices():
            names = [f"{kind}-{device.uuid}" for kind in ("GPU", "MIG")]
            if device.uuid and any(visible.same(name, one) for name in names for one in given):
                return gpus.index(found[device.index])
    return 0


def header(numbers: Mapping[str, int | float | tuple[float, ...]], *switches: str) -> str:
    """The lines in front of the kernel.

    Args:
        switches: of DOUBLE (precision), NATIVE (the device's own functions), ENDS (what became of each photon).
    """
    double = "DOUBLE" in switches

    def text(number: int | float | tuple[float, ...]) -> str:
        if isinstance(number, tuple):
            return "{" + ", ".join(map(text, number)) + "}"
        if isinstance(number, int):
            return str(number)
        return f"({number!r})" if double else f"({float(np.float32(number))!r}f)"

    lines = [f"#define {name} {text(number)}" for name, number in numbers.items()]
    return "\n".join([*(f"#define {switch}" for switch in switches), *lines, ""])


class Propagator:
    """The kernel of a world, built for a device.

    Args:
        ends: say of every photon what became of it; costs memory and time.
        capacity: hits that a batch has room for at first.

    Raises:
        BadMachine: the device cannot compute in double precision, its compiler fails, or another call of OpenCL.
    """

    def __init__(self, world: World, device: Any, ends: bool = False, capacity: int = FIRST_CAPACITY) -> None:
        import pyopencl

        self._cl, self._world, self._with_ends = pyopencl, world, ends
        self._name = str(device.name).strip()
        with calls(self._name):
            self._build(device, capacity)

    def _build(self, device: Any, capacity: int) -> None:
        world, pyopencl, ends = self._world, self._cl, self._with_ends
        config = world.config.run
        double = config.precision == "double"
        if double and not device.double_fp_config:
            wanted = "a device that computes in double precision"
            raise BadMachine("OpenCL device", f"{device.name}: single only", wanted, "--set run.precision=single")
        self._real = np.dtype(np.float64 if double else np.float32)
        self._raw = raw_dtype(double)
        self._end = np.dtype(
            [("fate", "<u4"), ("scatters", "<u4"), *((name, self._real) for name in ("x", "y", "z", "path"))]
        )
        self._context = pyopencl.Context([device])
        self._queue = pyopencl.CommandQueue(self._context)
        switches = {"DOUBLE": double, "NATIVE": _is(device, "gpu"), "ENDS": ends}
        code = header(world.numbers(), *(name for name, on in switches.items() if on)) + KERNEL.read_text(
            encoding="utf-8"
        )
        try:
            program = pyopencl.Program(self._context, code).build(options=["-cl-mad-enable", "-cl-no-signed-zeros"])
            self._kernel = pyopencl.Kernel(program, "propagate")
        except pyopencl.Error as fault:
            said = " ".join(str(fault).split())[:300]
            raise BadMachine("OpenCL compiler", said, "a kernel", f"this driver cannot build {KERNEL.name}") from fault
        self._tables = [
            self._buffer(self._four(world.ice.layers)),
            *(self._buffer(table.astype(self._real)) for table in (world.wavelengths, world.profile, world.acceptance)),
            self._buffer(world.grid.begins),
            self._buffer(world.grid.members),
            self._buffer(self._four(world.detectors)),
        ]
        self._found, self._fates = self._buffer(np.zeros(1, np.uint32)), self._buffer(np.zeros(FATES, np.uint32))
        self._ends, self._ends_room = self._buffer(np.zeros(1, self._end)), 1
        self._grow(capacity)

    def batch(self, first: int, photons: int) -> Batch:
        """Photons first, first + 1, ...

        A batch with more hits than there is room for is computed again with room for all.

        Raises:
            BadInput: so many hits that no buffer of the device holds them.
            BadMachine: a call of OpenCL failed, as where the GPU is lost.
        """
        with calls(self._name):
            return self._batch(first, photons)

    def _batch(self, first: int, photons: int) -> Batch:
        while True:
            found, counts = self._launch(first, photons)
            if found <= self._capacity:
                break
            print(f"{found} hits in a batch of {photons} photons: computed again with room for them", file=sys.stderr)
            self._grow(found + found // 4)
        raw = np.empty(found, self._raw)
        if found:
            self._cl.enqueue_copy(self._queue, raw, self._hits)
        return Batch(raw, counts, self._read_ends(photons) if self._with_ends else None)

    def _launch(self, first: int, photons: int) -> tuple[int, dict[str, int]]:
        """Number of hits, and the counts."""
        seed = self._world.config.run.seed
        if self._with_ends and photons > self._ends_room:
            self._ends, self._ends_room = self._buffer(np.zeros(photons, self._end)), photons
        self._cl.enqueue_copy(self._queue, self._found, np.zeros(1, np.uint32))
        self._cl.enqueue_copy(self._queue, self._fates, np.zeros(FATES, np.uint32))
        numbers = (np.uint64(first), np.uint32(photons), np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32))
        outputs = (self._hits, np.uint32(self._capacity), self._found, self._fates, self._ends)
        items = -(-photons // GROUP) * GROUP
        self._kernel(self._queue, (items,), (GROUP,), *numbers, *self._tables, *outputs)
        found, counts = np.empty(1, np.uint32), np.empty(FATES, np.uint32)
        self._cl.enqueue_copy(self._queue, found, self._found)
        self._cl.enqueue_copy(self._queue, counts, self._fates)
        *counted, carry = map(int, counts)
        counted[-1] += carry << 32
        return int(found[0]), dict(zip(COUNTS, counted, strict=True))

    def _read_ends(self, photons: int) -> Ends:
        raw = np.empty(photons, self._end)
        self._cl.enqueue_copy(self._queue, raw, self._ends)
        position = np.stack([raw[name] for name in "xyz"], axis=1).astype(np.float64)
        return Ends(raw["fate"].copy(), raw["scatters"].copy(), position, raw["path"].astype(np.float64))

    def _grow(self, capacity: int) -> None:
        size = capacity * self._raw.itemsize
        most = self._queue.device.max_mem_alloc_size
        if size > most:
            held = f"{capacity} hits in one batch, {size >> 20} MiB"
            raise BadInput("run.batch", held, f"at most {most >> 20} MiB", "make run.batch smaller")
        self._capacity = capacity
        self._hits = self._cl.Buffer(self._context, self._cl.mem_flags.WRITE_ONLY, size)

    def _four(self, three: NDArray[np.float64]) -> NDArray[Any]:
        """Padded to the four of a real4."""
        padded = np.zeros((len(three), 4), self._real)
        padded[:, :3] = three
        return padded

    def _buffer(self, array: NDArray[Any]) -> Any:
        flags = self._cl.mem_flags.READ_WRITE | self._cl.mem_flags.COPY_HOST_PTR
        return self._cl.Buffer(self._context, flags, hostbuf=np.ascontiguousarray(array))
