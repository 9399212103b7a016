"""The CUDA driver API through ctypes: what a GPU is, how much memory it has free, and one kernel run on it.

The thinnest seam between this kit and a GPU; `simulated.Driver` has the same methods. Calls can hang or crash on a
broken machine, so only `probe`, a process of its own, makes them. Types and codes are those of cuda.h (CUDA 12.9);
every function used is in drivers since CUDA 6.5, but for the UUID's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any, Callable, Optional

# For tests alone: a library that stands in the driver's place
LIBRARY_VARIABLE = "OSGDL_LIBCUDA"
LIBRARY = "libcuda.so.1"

# CUdevice_attribute
CAPABILITY_MAJOR = 75
CAPABILITY_MINOR = 76
ECC_ENABLED = 32

BLOCK = 256  # threads a block

Uuid = c_ubyte * 16

_C = c_int  # CUresult, CUdevice
_P = c_void_p  # CUcontext, CUmodule, CUfunction, CUstream
_ADDRESS = c_uint64  # CUdeviceptr
# name: arguments
SIGNATURES: dict[str, list[Any]] = {
    "cuInit": [c_uint],
    "cuDriverGetVersion": [POINTER(c_int)],
    "cuDeviceGetCount": [POINTER(c_int)],
    "cuDeviceGet": [POINTER(_C), c_int],
    "cuDeviceGetName": [c_void_p, c_int, _C],
    "cuDeviceGetAttribute": [POINTER(c_int), c_int, _C],
    "cuDeviceTotalMem_v2": [POINTER(c_size_t), _C],
    "cuCtxCreate_v2": [POINTER(_P), c_uint, _C],
    "cuCtxDestroy_v2": [_P],
    "cuCtxSynchronize": [],
    "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
    "cuModuleLoadData": [POINTER(_P), c_char_p],
    "cuModuleGetFunction": [POINTER(_P), _P, c_char_p],
    "cuMemAlloc_v2": [POINTER(_ADDRESS), c_size_t],
    "cuMemcpyHtoD_v2": [_ADDRESS, c_void_p, c_size_t],
    "cuMemcpyDtoH_v2": [c_void_p, _ADDRESS, c_size_t],
    "cuLaunchKernel": [_P, *[c_uint] * 7, _P, POINTER(c_void_p), POINTER(c_void_p)],
    "cuGetErrorName": [_C, POINTER(c_char_p)],
}
# the first one that is there: only the second version knows MIG slices, and CUDA 13 has it alone
UUID = {"cuDeviceGetUuid_v2": [POINTER(Uuid), _C], "cuDeviceGetUuid": [POINTER(Uuid), _C]}


class CudaError(Exception):
    """A call that did not return CUDA_SUCCESS.

    Attributes:
        call: such as `cuInit`.
        code: its CUresult.
        name: the code's name, such as `CUDA_ERROR_NO_DEVICE`; empty if the driver does not know it.
    """

    def __init__(self, call: str, code: int, name: str = "") -> None:
        super().__init__(f"{call}: {name or 'CUDA error'} ({code})")
        self.call, self.code, self.name = call, code, name


@dataclass(frozen=True)
class Device:
    """One visible GPU or MIG slice.

    Attributes:
        index: among the visible ones.
        capability: compute capability, such as 9.0.
        uuid: 32 hexadecimal digits with dashes, without `GPU-` or `MIG-`; empty if the driver cannot say.
        memory_mb: all of its memory, in MiB.
        ecc: whether error correction is on.
    """

    index: int
    name: str
    capability: float
    uuid: str
    memory_mb: int
    ecc: bool


class Driver:
    """The machine's driver.

    Raises:
        OSError: there is no library, or it cannot be loaded.
        AttributeError: it lacks a function.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        self._library = ctypes.CDLL(path or os.environ.get(LIBRARY_VARIABLE) or LIBRARY)
        for name, arguments in SIGNATURES.items():
            self._declare(name, arguments)
        self._uuid = next((name for name in UUID if hasattr(self._library, name)), "")
        if self._uuid:
            self._declare(self._uuid, UUID[self._uuid])

    def init(self) -> None:
        """Starts the driver; must come first.

        Raises:
            CudaError: as every method here.
        """
        self._call("cuInit", 0)

    def version(self) -> int:
        """The newest CUDA that the driver supports: 12040 is 12.4."""
        return self._integer("cuDriverGetVersion")

    def count(self) -> int:
        """Number of visible devices."""
        return self._integer("cuDeviceGetCount")

    def device(self, index: int) -> Device:
        """What a device is."""
        handle = self._handle(index)
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), handle)
        uuid, memory = Uuid(), c_size_t()
        if self._uuid:
            self._call(self._uuid, byref(uuid), handle)
        self._call("cuDeviceTotalMem_v2", byref(memory), handle)
        digits = bytes(uuid).hex()
        major, minor = self._attribute(CAPABILITY_MAJOR, handle), self._attribute(CAPABILITY_MINOR, handle)
        return Device(
            index=index,
            name=name.value.decode(errors="replace"),
            capability=major + minor / 10,
            uuid="-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])) if self._uuid else "",
            memory_mb=memory.value >> 20,
            ecc=bool(self._attribute(ECC_ENABLED, handle)),
        )

    @contextmanager
    def context(self, index: int) -> Iterator[None]:
        """Makes a device the current one: what `free_mb` and `compute` work on. Takes a few hundred MB of its
        memory.
        """
        context = c_void_p()
        self._call("cuCtxCreate_v2", byref(context), 0, self._handle(index))
        try:
            yield
        finally:
            # not checked: after a failed kernel it reports that kernel's error once more
            self._library.cuCtxDestroy_v2(context)

    def free_mb(self) -> int:
        """Free memory of the current device in MiB."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value >> 20

    def compute(
        self, code: bytes, kernel: str, inputs: Sequence[bytes], size: int, result_bytes: int, grid: tuple[int, int]
    ) -> bytes:
        """Runs a kernel `(input..., result, size)` on the current device and returns its result.

        Args:
            code: PTX.
            inputs: contents of the input buffers.
            size: the kernel's last argument.
            result_bytes: length of the result.
            grid: blocks in x and y, of `BLOCK` threads each.
        """
        module, function = c_void_p(), c_void_p()
        self._call("cuModuleLoadData", byref(module), code + b"\0")
        self._call("cuModuleGetFunction", byref(function), module, kernel.encode())
        addresses = [self._buffer(len(content)) for content in inputs]
        for address, content in zip(addresses, inputs):  # noqa: B905 - strict= is Python 3.10's
            self._call("cuMemcpyHtoD_v2", address, content, len(content))
        result = self._buffer(result_bytes)
        # what was there before must not pass for an answer
        self._call("cuMemcpyHtoD_v2", result, b"\xff" * result_bytes, result_bytes)
        arguments = [*addresses, result, c_uint(size)]
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        self._call("cuLaunchKernel", function, grid[0], grid[1], 1, BLOCK, 1, 1, 0, None, pointers, None)
        self._call("cuCtxSynchronize")
        answer = ctypes.create_string_buffer(result_bytes)
        self._call("cuMemcpyDtoH_v2", answer, result, result_bytes)
        return answer.raw

    def _declare(self, name: str, arguments: list[Any]) -> None:
        function = getattr(self._library, name)
        function.argtypes, function.restype = arguments, c_int

    def _call(self, name: str, *arguments: Any) -> None:
        function: Callable[..., int] = getattr(self._library, name)
        code = function(*arguments)
        if code:
            text = c_char_p()
            known = self._library.cuGetErrorName(code, byref(text)) == 0
            raise CudaError(name, code, (text.value or b"").decode(errors="replace") if known else "")

    def _integer(self, name: str) -> int:
        value = c_int()
        self._call(name, byref(value))
        return value.value

    def _handle(self, index: int) -> int:
        handle = c_int()
        self._call("cuDeviceGet", byref(handle), index)
        return handle.value

    def _attribute(self, attribute: int, handle: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), attribute, handle)
        return value.value

    def _buffer(self, size: int) -> c_uint64:
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), size)
        return address
