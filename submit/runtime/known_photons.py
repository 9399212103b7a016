"""A computation in OpenCL whose answer is known: 256 photons that scatter, each by its own random numbers.

The numbers are integers, so they must be right to the last bit; the places are float32, whose rounding a device may
choose, so they must agree with Python's to `TOLERANCE`. The same photons are computed by many work items, so that every
compute unit takes part, and all of them must give the same bits. How long that takes is the device's time per photon.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

CODE = Path(__file__).with_name("known_photons.cl")
KERNEL = "photons"
PHOTONS, SCATTERS, G = 256, 16, 0.9  # as in the code
KEY = (1, 2)
# of a place, in scattering lengths: what was seen is a hundredth of it (tests/runtime/test_opencl.py)
TOLERANCE = 1e-3
LONG_ENOUGH_S = 0.05  # a launch, to be timed
MOST_COPIES = 8192  # of the photons: 2 million work items
_BYTES = 16  # of a photon's result

Vector = tuple[float, float, float]


class Computer(Protocol):
    """What `opencl.Kernel` is."""

    def run(self, items: int, result_bytes: int) -> tuple[bytes, float]: ...


def check(kernel: Computer) -> tuple[str, float]:
    """Runs the photons on a device: what was wrong, in words, or nothing; and nanoseconds for each photon."""
    expected, copies = list(answer()), 1
    while True:
        items = PHOTONS * copies
        # the first launch of a size may compile: the second is timed
        for _ in range(2):
            got, seconds = kernel.run(items, items * _BYTES)
            wrong = judge(got, expected)
            if wrong or seconds < LONG_ENOUGH_S:
                break
        if wrong or seconds >= LONG_ENOUGH_S or copies >= MOST_COPIES:
            return wrong, 1e9 * seconds / items
        copies *= 4


def judge(got: bytes, expected: Sequence[tuple[Vector, int]]) -> str:
    """What is wrong with a result, in words; empty where it is right."""
    first = got[: PHOTONS * _BYTES]
    for photon, (place, bits) in enumerate(expected):
        *there, said = struct.unpack_from("<3fI", first, photon * _BYTES)
        if said != bits:
            return f"random numbers of photon {photon}: {said:08x} for {bits:08x}"
        if not math.dist(there, place) <= TOLERANCE:  # nan too
            return f"photon {photon} at {_shown(there)}, not at {_shown(place)} scattering lengths"
    if got != first * (len(got) // len(first)):
        return "work items that compute the same photon disagree"
    return ""


def answer() -> Iterator[tuple[Vector, int]]:
    """Place after the last scatter, in scattering lengths, and the bits of all random numbers; by photon."""
    return (_photon(number) for number in range(PHOTONS))


def philox(counter: tuple[int, int, int, int], key: tuple[int, int] = KEY) -> tuple[int, int, int, int]:
    """Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC11)."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32) ^ b ^ k0, right & 0xFFFFFFFF, (left >> 32) ^ d ^ k1, left & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def _photon(number: int) -> tuple[Vector, int]:
    x, y, z = 0.0, 0.0, 0.0
    ahead, bits = (0.0, 0.0, 1.0), 0
    for scatter in range(SCATTERS):
        words = philox((scatter, 0, number, 0))
        bits = ((bits << 1 | bits >> 31) & 0xFFFFFFFF) ^ words[0] ^ words[1] ^ words[2] ^ words[3]
        free = -math.log(_uniform(words[0]))
        x, y, z = x + free * ahead[0], y + free * ahead[1], z + free * ahead[2]
        s = 2 * _uniform(words[1]) - 1
        lost = (1 - G) * (1 - s) / (1 + G * s) * ((1 - G * G) / (1 + G * s) + 1 - G) / 2
        sine, around = math.sqrt(lost * (2 - lost)), 2 * math.pi * _uniform(words[2])
        first = _unit(_cross(ahead, (0.0, 0.0, 1.0) if abs(ahead[2]) < 0.7 else (1.0, 0.0, 0.0)))
        parts = zip(ahead, first, _cross(ahead, first))  # noqa: B905 - strict= is Python 3.10's
        turned = [a * (1 - lost) + sine * (f * math.cos(around) + g * math.sin(around)) for a, f, g in parts]
        ahead = _unit((turned[0], turned[1], turned[2]))
    return (x, y, z), bits


def _uniform(word: int) -> float:
    return ((word >> 9) + 0.5) * 2.0**-23


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Vector) -> Vector:
    length = math.hypot(*a)
    return (a[0] / length, a[1] / length, a[2] / length)


def _shown(place: Sequence[float]) -> str:
    return "(" + ", ".join(f"{part:.4g}" for part in place) + ")"
