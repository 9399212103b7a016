"""Two computations whose answer is known: a matrix product and a 2-D convolution of small integers.

float32 holds every integer up to 2**24, and no sum here gets near it, so the answer is exact in whatever order a GPU
adds, and Python computes it with integers. The same work is done `COPIES` times at once, so that every multiprocessor
takes part.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from submit.runtime.cuda import BLOCK

CODE = Path(__file__).with_name("known_answer.ptx")
SIZE = 48  # rows and columns of the matrices and of the image; larger costs Python more than the GPU
COPIES = 96  # of the result: 9 blocks each, several for every multiprocessor of any GPU
FILTER = 3  # rows and columns of the convolution's filter
KERNELS = ("matrix_product", "convolution")


class Computer(Protocol):
    """What `cuda.Driver` and `simulated.Driver` have in common."""

    def compute(
        self, code: bytes, kernel: str, inputs: Sequence[bytes], size: int, result_bytes: int, grid: tuple[int, int]
    ) -> bytes: ...


def check(computer: Computer, size: int = SIZE, copies: int = COPIES) -> str:
    """Computes both on the current device; empty if the answers are right, else what was wrong, in words."""
    code = CODE.read_bytes()
    for kernel in KERNELS:
        first, second = inputs(kernel, size)
        expected = answer(kernel, first, second, size)
        blocks = -(-len(expected) // BLOCK)
        got = computer.compute(
            code, kernel, [_pack(first), _pack(second)], size, 4 * len(expected) * copies, (blocks, copies)
        )
        if got != _pack(expected) * copies:
            return _difference(kernel, expected, struct.unpack(f"<{len(expected) * copies}f", got))
    return ""


def inputs(kernel: str, size: int) -> tuple[list[int], list[int]]:
    """Two lists of integers from -8 to 8, the same for ever."""
    second = size * size if kernel == "matrix_product" else FILTER * FILTER
    return _integers(1, size * size), _integers(2, second)


def answer(kernel: str, first: Sequence[int], second: Sequence[int], size: int) -> list[int]:
    """The result in integers: `first` x `second`, or the valid cross-correlation of image and filter, by rows."""
    if kernel == "matrix_product":
        columns = [second[column::size] for column in range(size)]
        rows = [first[start : start + size] for start in range(0, size * size, size)]
        return [sum(map(int.__mul__, row, column)) for row in rows for column in columns]
    out = size - FILTER + 1
    taps = [(value, place // FILTER * size + place % FILTER) for place, value in enumerate(second)]
    return [
        sum(value * first[row * size + column + shift] for value, shift in taps)
        for row in range(out)
        for column in range(out)
    ]


def _integers(seed: int, count: int) -> list[int]:
    """A linear congruential generator (Numerical Recipes), its high bits."""
    state, values = seed, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append((state >> 16) % 17 - 8)
    return values


def _pack(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _difference(kernel: str, expected: Sequence[int], got: Sequence[float]) -> str:
    wrong = [place for place, value in enumerate(got) if value != expected[place % len(expected)]]
    place = wrong[0] if wrong else 0
    return (
        f"{len(wrong)} of {len(got)} numbers of a {kernel.replace('_', ' ')} wrong, "
        f"such as {got[place]:g} for {expected[place % len(expected)]}"
    )
