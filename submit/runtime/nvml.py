"""NVML through ctypes, where it is there: the driver's name, memory errors that were counted, why the clock is low,
how busy a GPU is.

`--nv` mounts it into a container as it does libcuda; its absence is no fault. Types and codes are those of nvml.h.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from typing import Any, Optional

LIBRARY_VARIABLE = "OSGDL_LIBNVML"  # for tests alone
LIBRARY = "libnvidia-ml.so.1"

UNCORRECTED, SINCE_LOADED = 1, 0  # nvmlMemoryErrorType_t, nvmlEccCounterType_t (volatile)
# nvmlClocksEventReasons that mean trouble; idle, power cap and application clocks do not
SLOW = {
    0x08: "hardware slowdown",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}

SIGNATURES: dict[str, list[Any]] = {
    "nvmlInit_v2": [],
    "nvmlSystemGetDriverVersion": [c_void_p, c_uint],
    "nvmlDeviceGetHandleByUUID": [c_char_p, POINTER(c_void_p)],
    "nvmlDeviceGetTotalEccErrors": [c_void_p, c_int, c_int, POINTER(c_ulonglong)],
    "nvmlDeviceGetCurrentClocksThrottleReasons": [c_void_p, POINTER(c_ulonglong)],
    "nvmlDeviceGetUtilizationRates": [c_void_p, POINTER(c_uint * 2)],  # nvmlUtilization_t: GPU, memory; percent
}


class NvmlError(Exception):
    """A call that did not return NVML_SUCCESS.

    Attributes:
        code: its nvmlReturn_t.
    """

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: NVML error ({code})")
        self.call, self.code = call, code


class Nvml:
    """Raises OSError or AttributeError where there is no library to use, NvmlError where it does not start."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ.get(LIBRARY_VARIABLE) or LIBRARY)
        for name, arguments in SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, c_int
        self._call("nvmlInit_v2")

    def driver(self) -> str:
        """The driver's own version, such as `570.86.15`."""
        text = ctypes.create_string_buffer(96)
        self._call("nvmlSystemGetDriverVersion", text, len(text))
        return text.value.decode(errors="replace")

    def uncorrected_errors(self, uuid: str) -> Optional[int]:
        """Uncorrectable memory errors since the driver was loaded; None where it does not count (no ECC, MIG)."""
        count = c_ulonglong()
        handle = self._handle(uuid)
        if handle is None or not self._tried("nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, SINCE_LOADED, count):
            return None
        return count.value

    def slow(self, uuid: str) -> list[str]:
        """Why the clock is held down, in words; empty where it is not."""
        reasons = c_ulonglong()
        handle = self._handle(uuid)
        if handle is None or not self._tried("nvmlDeviceGetCurrentClocksThrottleReasons", handle, reasons):
            return []
        return [word for bit, word in SLOW.items() if reasons.value & bit]

    def busy(self, uuid: str) -> Optional[float]:
        """The share of the last second or less in which a kernel ran, 0 to 1; None where it is not counted (MIG)."""
        percent = (c_uint * 2)()
        handle = self._handle(uuid)
        if handle is None or not self._tried("nvmlDeviceGetUtilizationRates", handle, percent):
            return None
        return min(percent[0], 100) / 100

    def _handle(self, uuid: str) -> Optional[c_void_p]:
        handle = c_void_p()
        for kind in ("GPU-", "MIG-"):
            if self._library.nvmlDeviceGetHandleByUUID((kind + uuid).encode(), byref(handle)) == 0:
                return handle
        return None

    def _tried(self, name: str, *arguments: Any) -> bool:
        """True if the call worked, its last argument being the result. A lost GPU is an error; that something is not
        supported is not.
        """
        *given, result = arguments
        code = getattr(self._library, name)(*given, byref(result))
        if code == 15:  # NVML_ERROR_GPU_IS_LOST
            raise NvmlError(name, code)
        return bool(code == 0)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise NvmlError(name, code)
