"""Philox in NumPy and in the kernel, against the known answers of Random123 (kat_vectors, philox4x32 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from photon_propagation import opencl
from photon_propagation.philox import block, philox

ONES = 0xFFFFFFFF
KNOWN = {
    "zeros": ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    "pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}
CALLER = """
__kernel void call(const uint4 counter, const uint2 key, __global uint4 *words) { words[0] = philox(counter, key); }
"""


@pytest.mark.parametrize("name", KNOWN)
def test_numpy_knows_the_answer(name: str) -> None:
    counter, key, words = KNOWN[name]
    a, b, c, d = (np.array([word], np.uint32) for word in counter)
    assert [int(word[0]) for word in philox((a, b, c, d), key)] == list(words)


@pytest.mark.parametrize("name", KNOWN)
def test_the_kernel_knows_the_answer(name: str, device: Any, worlds: Any) -> None:
    import pyopencl

    counter, key, words = KNOWN[name]
    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    code = opencl.header(worlds().numbers()) + opencl.KERNEL.read_text() + CALLER
    kernel = pyopencl.Kernel(pyopencl.Program(context, code).build(), "call")
    found = np.zeros(4, np.uint32)
    buffer = pyopencl.Buffer(context, pyopencl.mem_flags.WRITE_ONLY, 16)
    kernel(queue, (1,), None, np.array(counter, np.uint32), np.array(key, np.uint32), buffer)
    pyopencl.enqueue_copy(queue, found, buffer)
    assert found.tolist() == list(words)


UNIFORMS = """
__kernel void call(__global real *x) { x[0] = UNIFORM(0u); x[1] = UNIFORM(0xFFFFFFFFu); x[2] = UNIFORM(0x80000000u); }
"""


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_no_number_rounds_to_0_or_1(real: Any, device: Any, worlds: Any) -> None:
    import pyopencl

    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    switches = ("DOUBLE",) if real is np.float64 else ()
    code = opencl.header(worlds().numbers(), *switches) + opencl.KERNEL.read_text() + UNIFORMS
    kernel = pyopencl.Kernel(pyopencl.Program(context, code).build(), "call")
    found = np.zeros(3, real)
    buffer = pyopencl.Buffer(context, pyopencl.mem_flags.WRITE_ONLY, found.nbytes)
    kernel(queue, (1,), None, buffer)
    pyopencl.enqueue_copy(queue, found, buffer)
    assert 0 < found[0] < 1e-6 and 1 - 1e-6 < found[1] < 1
    assert found[0] + found[1] == 1 and abs(found[2] - 0.5) < 1e-6


FUNCTIONS = """
__kernel void call(__global float *x) {
    uint i = get_global_id(0);
    real2 side = circle(x[4 * i]);
    x[4 * i + 1] = LOG2(x[4 * i]);
    x[4 * i + 2] = side.x;
    x[4 * i + 3] = side.y;
}
"""


@pytest.mark.parametrize("switches", [(), ("NATIVE",)], ids=["polynomials", "native"])
def test_the_kernels_functions_are_exact_enough(switches: tuple[str, ...], device: Any, worlds: Any) -> None:
    """Everywhere, close to 0 and close to 1, where the longest and the shortest paths come from."""
    import pyopencl

    count = 300_000
    ends = np.arange(1, 100_001) * 2.0**-24
    share = np.concatenate((np.linspace(2.0**-25, 1 - 2.0**-24, count - 200_000), ends, 1 - ends)).astype(np.float32)
    table = np.zeros((count, 4), np.float32)
    table[:, 0] = share
    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    code = opencl.header(worlds().numbers(), *switches) + opencl.KERNEL.read_text() + FUNCTIONS
    kernel = pyopencl.Kernel(pyopencl.Program(context, code).build(), "call")
    flags = pyopencl.mem_flags
    buffer = pyopencl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=table)
    kernel(queue, (count,), None, buffer)
    pyopencl.enqueue_copy(queue, table, buffer)
    exact = share.astype(float)
    assert np.abs(table[:, 1] - np.log2(exact)).max() < 2e-6
    assert np.abs(table[:, 2] - np.cos(2 * np.pi * exact)).max() < 1e-6
    assert np.abs(table[:, 3] - np.sin(2 * np.pi * exact)).max() < 1e-6


def test_numbers_are_between_0_and_1_and_differ_by_photon_step_and_seed() -> None:
    photon = np.array([0, 1, 2**32, 2**62], np.uint64)
    drawn = np.stack([block(step, photon, seed) for step in (0, 1) for seed in (1, 2, 2**40)])
    assert drawn.min() > 0 and drawn.max() < 1
    assert len(np.unique(drawn)) == drawn.size
