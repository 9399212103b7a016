"""Interprets the few PTX instructions of known_answer.ptx, one thread at a time: the kernels are tested as they are
written, where there is no GPU to run them. Semantics: NVIDIA's PTX ISA 6.0, chapter 9. (That they assemble was checked
with ptxas 12.9 and 13.5, from sm_50 to sm_120.)
"""

from __future__ import annotations

import re
import struct

Memory = dict[int, float]  # address to float32

_KERNEL = re.compile(r"\.visible \.entry (\w+)\(([^)]*)\)\s*\{(.*?)\n\}", re.DOTALL)
_MASK = {"u32": 2**32 - 1, "b32": 2**32 - 1, "u64": 2**64 - 1}


def run(text: str, kernel: str, arguments: list[int], grid: tuple[int, int], block: int, memory: Memory) -> None:
    """Runs a kernel over a grid; `memory` is changed."""
    found = {name: (parameters, body) for name, parameters, body in _KERNEL.findall(text)}
    parameters, body = found[kernel]
    names = re.findall(r"\.param \.u\d+ (\w+)", parameters)
    program, labels = _program(body)
    for y in range(grid[1]):
        for x in range(grid[0]):
            for thread in range(block):
                special = {"%ctaid.x": x, "%ctaid.y": y, "%ntid.x": block, "%tid.x": thread}
                _thread(program, labels, dict(zip(names, arguments, strict=True)), special, memory)


def _program(body: str) -> tuple[list[list[str]], dict[str, int]]:
    program: list[list[str]] = []
    labels: dict[str, int] = {}
    for line in body.split("\n"):
        line = line.strip().rstrip(";")
        if line.endswith(":"):
            labels[line[:-1]] = len(program)
        elif line and not line.startswith("."):
            program.append(line.replace(",", " ").split())
    return program, labels


def _thread(
    program: list[list[str]],
    labels: dict[str, int],
    parameters: dict[str, int],
    special: dict[str, int],
    memory: Memory,
) -> None:
    registers: dict[str, float] = {}

    def value(word: str) -> float:
        if word.startswith("0f"):
            return float(struct.unpack(">f", bytes.fromhex(word[2:]))[0])
        if word in special:
            return special[word]
        return registers[word] if word.startswith("%") else int(word)

    at = 0
    while True:
        words = program[at]
        at += 1
        if words[0].startswith("@"):
            if not registers[words[0][1:]]:
                continue
            words = words[1:]
        operation, *rest = words
        name, _, kind = operation.partition(".")
        if name == "ret":
            return
        if name == "bra":
            at = labels[rest[0]]
            continue
        if name == "st":
            memory[int(value(rest[0].strip("[]")))] = value(rest[1])
            continue
        target, *sources = rest
        if operation.startswith("ld.param"):
            registers[target] = parameters[sources[0].strip("[]")]
        elif operation == "ld.global.f32":
            registers[target] = memory[int(value(sources[0].strip("[]")))]
        elif name in ("mov", "cvta"):
            registers[target] = value(sources[0])
        elif operation == "fma.rn.f32":
            a, b, c = map(value, sources)
            registers[target] = struct.unpack("<f", struct.pack("<f", a * b + c))[0]
        else:
            registers[target] = _integer(name, kind, [int(value(source)) for source in sources])


def _integer(name: str, kind: str, values: list[int]) -> int:
    a, b, *rest = values
    if name == "setp":
        return int(a >= b if kind.startswith("ge") else a < b)
    mask = 2**64 - 1 if "wide" in kind else _MASK[kind.rpartition(".")[2]]
    results = {"add": a + b, "sub": a - b, "mul": a * b, "mad": a * b + sum(rest)}
    if name in results:
        return results[name] & mask
    return {"div": a // b, "rem": a % b}[name]
