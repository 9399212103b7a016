from __future__ import annotations

import pytest

from submit.runtime import known_answer
from tests.runtime import ptx


def test_the_answers_are_those_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    size = 12
    first, second = known_answer.inputs("matrix_product", size)
    product = numpy.array(first).reshape(size, size) @ numpy.array(second).reshape(size, size)
    assert known_answer.answer("matrix_product", first, second, size) == product.ravel().tolist()
    image, taps = known_answer.inputs("convolution", size)
    views = numpy.lib.stride_tricks.sliding_window_view(numpy.array(image).reshape(size, size), (3, 3))
    convolved = (views * numpy.array(taps).reshape(3, 3)).sum(axis=(2, 3))
    assert known_answer.answer("convolution", image, taps, size) == convolved.ravel().tolist()
    assert len(set(first)) == 17 and max(map(abs, product.ravel())) < 2**24


class Cpu:
    """Computes what it is asked, and changes one number of one copy by the least that float32 can show."""

    def __init__(self, spoilt: int) -> None:
        self._spoilt = spoilt

    def compute(self, code: bytes, kernel: str, inputs: object, size: int, result_bytes: int, grid: object) -> bytes:
        result = known_answer._pack(known_answer.answer(kernel, *known_answer.inputs(kernel, size), size))
        content = bytearray(result * (result_bytes // len(result)))
        if self._spoilt >= 0:
            content[self._spoilt % len(content)] ^= 1
        return bytes(content)


def test_right_is_right_and_one_bit_is_wrong() -> None:
    assert known_answer.check(Cpu(-1), size=8, copies=3) == ""
    for byte in range(0, 8 * 8 * 4 * 3, 7):
        assert "1 of 192 numbers of a matrix product wrong" in known_answer.check(Cpu(byte), size=8, copies=3)


def test_the_code_has_both_kernels_for_the_oldest_target() -> None:
    code = known_answer.CODE.read_text()
    assert ".version 6.0\n.target sm_50\n" in code
    assert all(f".visible .entry {kernel}(" in code for kernel in known_answer.KERNELS)


@pytest.mark.parametrize("kernel", known_answer.KERNELS)
@pytest.mark.parametrize("size", [5, 17])
def test_the_code_itself_computes_the_answer(kernel: str, size: int) -> None:
    """known_answer.ptx, interpreted: no thread writes anywhere but its own place, in every copy."""
    copies, block = 2, 64
    first, second = known_answer.inputs(kernel, size)
    expected = known_answer.answer(kernel, first, second, size)
    starts = (1 << 40, 2 << 40, 3 << 40)
    memory: ptx.Memory = {}
    for start, values in zip(starts, (first, second), strict=False):
        memory.update((start + 4 * place, float(value)) for place, value in enumerate(values))
    before = dict(memory)
    grid = (-(-len(expected) // block), copies)
    ptx.run(known_answer.CODE.read_text(), kernel, [*starts, size], grid, block, memory)
    written = {address: value for address, value in memory.items() if address not in before}
    assert written == {starts[2] + 4 * place: value for place, value in enumerate(expected * copies)}
    assert {address: memory[address] for address in before} == before
