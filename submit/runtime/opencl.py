"""OpenCL through ctypes: which platforms and devices there are, and one kernel built and run on one of them.

The thin seam of `cuda`, for jobs that compute with OpenCL. Calls can hang or crash on a broken machine, so only
`opencl_probe`, a process of its own, makes them. Names, types and codes are those of CL/cl.h (OpenCL 1.2) and, for the
UUID, of CL/cl_ext.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

# For tests alone: a loader that stands in its place
LIBRARY_VARIABLE = "OSGDL_LIBOPENCL"
LIBRARY = "libOpenCL.so.1"

DEVICE_NOT_FOUND = -1
BUILD_PROGRAM_FAILURE = -11
PLATFORM_NOT_FOUND = -1001  # cl_khr_icd: the loader found no platform

PLATFORM_VERSION, PLATFORM_NAME = 0x0901, 0x0902
DEVICE_TYPE, DEVICE_COMPUTE_UNITS, DEVICE_MEMORY = 0x1000, 0x1002, 0x101F
DEVICE_NAME, DRIVER_VERSION, DEVICE_VERSION, DEVICE_EXTENSIONS = 0x102B, 0x102D, 0x102F, 0x1030
DEVICE_UUID = 0x106A  # with cl_khr_device_uuid
PROGRAM_BUILD_LOG = 0x1183
WRITE_ONLY = 2
TYPE_CPU, TYPE_GPU, TYPE_ALL = 1 << 1, 1 << 2, 0xFFFFFFFF

_H = c_void_p  # cl_platform_id, cl_device_id, cl_context, cl_command_queue, cl_program, cl_kernel, cl_mem
_E = POINTER(c_int)  # cl_int *errcode_ret
_S = POINTER(c_size_t)
# name: arguments; what returns a handle, with its error in the last argument, stands in _HANDLES
SIGNATURES: dict[str, list[Any]] = {
    "clGetPlatformIDs": [c_uint, POINTER(_H), POINTER(c_uint)],
    "clGetPlatformInfo": [_H, c_uint, c_size_t, c_void_p, _S],
    "clGetDeviceIDs": [_H, c_uint64, c_uint, POINTER(_H), POINTER(c_uint)],
    "clGetDeviceInfo": [_H, c_uint, c_size_t, c_void_p, _S],
    "clBuildProgram": [_H, c_uint, POINTER(_H), c_char_p, c_void_p, c_void_p],
    "clGetProgramBuildInfo": [_H, _H, c_uint, c_size_t, c_void_p, _S],
    "clSetKernelArg": [_H, c_uint, c_size_t, c_void_p],
    "clEnqueueNDRangeKernel": [_H, _H, c_uint, _S, _S, _S, c_uint, c_void_p, c_void_p],
    "clEnqueueReadBuffer": [_H, _H, c_uint, c_size_t, c_size_t, c_void_p, c_uint, c_void_p, c_void_p],
    "clFinish": [_H],
}
_HANDLES: dict[str, list[Any]] = {
    "clCreateContext": [c_void_p, c_uint, POINTER(_H), c_void_p, c_void_p, _E],
    "clCreateCommandQueue": [_H, _H, c_uint64, _E],
    "clCreateProgramWithSource": [_H, c_uint, POINTER(c_char_p), _S, _E],
    "clCreateKernel": [_H, c_char_p, _E],
    "clCreateBuffer": [_H, c_uint64, c_size_t, c_void_p, _E],
}


class OpenClError(Exception):
    """A call that did not return CL_SUCCESS.

    Attributes:
        call: such as `clBuildProgram`.
        code: its cl_int.
        log: what the compiler said; None where nothing was compiled.
    """

    def __init__(self, call: str, code: int, log: Optional[str] = None) -> None:
        super().__init__(f"{call}: OpenCL error {code}" + (f": {log}" if log else ""))
        self.call, self.code, self.log = call, code, log


@dataclass(frozen=True)
class Device:
    """One device of one platform.

    Attributes:
        index: among all devices of all platforms.
        platform: its platform's name and version.
        kind: `gpu`, `cpu` or `other`.
        uuid: 32 hexadecimal digits with dashes, as `cuda.Device` has it; empty if the platform cannot say.
        memory_mb: global memory, in MiB.
        units: compute units; a streaming multiprocessor or a core.
    """

    index: int
    platform: str
    name: str
    kind: str
    version: str
    driver: str
    uuid: str
    memory_mb: int
    units: int


def library() -> str:
    """The loader that the job's own program will use: the one in pyopencl's wheel, else the system's."""
    given = os.environ.get(LIBRARY_VARIABLE)
    if given:
        return given
    folder = wheel()
    own = sorted((folder / ".libs").glob("libOpenCL*.so*")) if folder else []
    return str(own[0]) if own else LIBRARY


def wheel() -> Optional[Path]:
    """The folder of pyopencl where it is installed; it is not imported."""
    spec = importlib.util.find_spec("pyopencl")
    return Path(spec.origin).parent if spec and spec.origin else None


def _as_pyopencl() -> None:
    """The wheel brings a loader, and perhaps PoCL: found as they are by `import pyopencl`."""
    folder = wheel()
    if folder:
        os.environ["PYOPENCL_HOME"] = str(folder)  # the loader opens the drivers that .libs/*.icd name
        for file in sorted((folder / ".libs").glob("*.icd")):  # by the library path of pyopencl, which we have not
            with suppress(OSError, UnicodeDecodeError):
                ctypes.CDLL(str(folder / ".libs" / file.read_text(encoding="utf-8").strip()))


class Loader:
    """The machine's platforms and devices.

    Raises:
        OSError: there is no loader, or it cannot be loaded.
        AttributeError: it lacks a function.
    """

    def __init__(self) -> None:
        _as_pyopencl()
        self._library = ctypes.CDLL(library())
        for name, arguments in SIGNATURES.items():
            self._declare(name, arguments, c_int)
        for name, arguments in _HANDLES.items():
            self._declare(name, arguments, c_void_p)
        self._handles: list[int] = []

    def devices(self) -> list[Device]:
        """Every device of every platform; none where the loader finds no platform.

        Raises:
            OpenClError: as every method here.
        """
        found: list[Device] = []
        self._handles = []
        for platform in self._ids("clGetPlatformIDs", PLATFORM_NOT_FOUND):
            name = " ".join(
                self._text("clGetPlatformInfo", platform, part) for part in (PLATFORM_NAME, PLATFORM_VERSION)
            )
            for handle in self._ids("clGetDeviceIDs", DEVICE_NOT_FOUND, platform, TYPE_ALL):
                found.append(self._device(handle, len(found), name))
                self._handles.append(handle)
        return found

    def kernel(self, device: Device, source: str, name: str) -> Kernel:
        """A kernel `(result)` built for a device that `devices` returned."""
        return Kernel(self, self._handles[device.index], source, name)

    def call(self, name: str, *arguments: Any) -> None:
        function: Callable[..., int] = getattr(self._library, name)
        code = function(*arguments)
        if code:
            raise OpenClError(name, code)

    def handle(self, name: str, *arguments: Any) -> c_void_p:
        """What a clCreate... returns."""
        code = c_int()
        function: Callable[..., int] = getattr(self._library, name)
        made = function(*arguments, byref(code))
        if code.value:
            raise OpenClError(name, code.value)
        return c_void_p(made)

    def _declare(self, name: str, arguments: list[Any], result: Any) -> None:
        function = getattr(self._library, name)
        function.argtypes, function.restype = arguments, result

    def _ids(self, call: str, none: int, *about: Any) -> Iterator[int]:
        """The handles that a clGet...IDs lists; empty where it returns the code `none`."""
        count = c_uint()
        try:
            self.call(call, *about, 0, None, byref(count))
        except OpenClError as error:
            if error.code != none:
                raise
            return
        handles = (c_void_p * count.value)()
        self.call(call, *about, count, handles, None)
        yield from (handle for handle in handles if handle)

    def info(self, call: str, *about: Any) -> bytes:
        """What a clGet...Info returns, however long."""
        size = c_size_t()
        self.call(call, *about, 0, None, byref(size))
        held = ctypes.create_string_buffer(size.value or 1)
        self.call(call, *about, size, held, None)
        return held.raw[: size.value]

    def _text(self, call: str, *about: Any) -> str:
        return self.info(call, *about).rstrip(b"\0").decode(errors="replace").strip()

    def _number(self, handle: int, what: int) -> int:
        return int.from_bytes(self.info("clGetDeviceInfo", handle, what), "little")

    def _device(self, handle: int, index: int, platform: str) -> Device:
        def text(what: int) -> str:
            return self._text("clGetDeviceInfo", handle, what)

        kind = self._number(handle, DEVICE_TYPE)
        digits = ""
        if "cl_khr_device_uuid" in text(DEVICE_EXTENSIONS).split():
            digits = self.info("clGetDeviceInfo", handle, DEVICE_UUID).hex()
        return Device(
            index=index,
            platform=platform,
            name=text(DEVICE_NAME),
            kind="gpu" if kind & TYPE_GPU else "cpu" if kind & TYPE_CPU else "other",
            version=text(DEVICE_VERSION),
            driver=text(DRIVER_VERSION),
            uuid="-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])) if digits else "",
            memory_mb=self._number(handle, DEVICE_MEMORY) >> 20,
            units=self._number(handle, DEVICE_COMPUTE_UNITS),
        )


class Kernel:
    """A kernel `(result)` of one device; `Loader.kernel` makes it."""

    def __init__(self, loader: Loader, device: int, source: str, name: str) -> None:
        self._loader, one = loader, (c_void_p * 1)(device)
        self._context = loader.handle("clCreateContext", None, 1, one, None, None)
        self._queue = loader.handle("clCreateCommandQueue", self._context, device, 0)
        text = (c_char_p * 1)(source.encode())
        program = loader.handle("clCreateProgramWithSource", self._context, 1, text, None)
        try:
            loader.call("clBuildProgram", program, 1, one, b"", None, None)
        except OpenClError as error:
            log = b""
            with suppress(OpenClError):
                log = loader.info("clGetProgramBuildInfo", program, device, PROGRAM_BUILD_LOG)
            said = " ".join(log.rstrip(b"\0").decode(errors="replace").split())
            raise OpenClError(error.call, error.code, said) from None
        self._kernel = loader.handle("clCreateKernel", program, name.encode())

    def run(self, items: int, result_bytes: int) -> tuple[bytes, float]:
        """The result of `items` work items, and the seconds from the launch to its end."""
        loader = self._loader
        result = loader.handle("clCreateBuffer", self._context, WRITE_ONLY, result_bytes, None)
        loader.call("clSetKernelArg", self._kernel, 0, ctypes.sizeof(result), byref(result))
        size = (c_size_t * 1)(items)
        began = time.perf_counter()
        loader.call("clEnqueueNDRangeKernel", self._queue, self._kernel, 1, None, size, None, 0, None, None)
        loader.call("clFinish", self._queue)
        took = time.perf_counter() - began
        held = ctypes.create_string_buffer(result_bytes)
        loader.call("clEnqueueReadBuffer", self._queue, result, 1, 0, result_bytes, held, 0, None, None)
        return held.raw, took


def vendors() -> Path:
    """The folder whose files name the drivers that the loader opens."""
    return Path(os.environ.get("OCL_ICD_VENDORS") or os.environ.get("OPENCL_VENDOR_PATH") or "/etc/OpenCL/vendors")
