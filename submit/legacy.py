"""Conditions of `requirements` as older HTCondors had them, and the submit commands that say the same today."""

from __future__ import annotations

import re

# of every NVIDIA GPU since Kepler
CAPABILITIES = (3.5, 3.7, 5.0, 5.2, 6.0, 6.1, 7.0, 7.5, 8.0, 8.6, 8.9, 9.0, 10.0, 10.3, 12.0, 12.1)
MINIMUM, MAXIMUM = "gpus_minimum_capability", "gpus_maximum_capability"
RUNTIME, MEMORY = "gpus_minimum_runtime", "gpus_minimum_memory"
PROPERTY = {
    "cudacapability": "Capability",
    "gpus_capability": "Capability",
    "cudadriverversion": "DriverVersion",
    "gpus_driverversion": "DriverVersion",
    "cudamaxsupportedversion": "MaxSupportedVersion",
    "gpus_maxsupportedversion": "MaxSupportedVersion",
    "cudaglobalmemorymb": "GlobalMemoryMb",
    "gpus_globalmemorymb": "GlobalMemoryMb",
}
LEGACY = re.compile(rf"\b(?:{'|'.join(PROPERTY)}|CUDADeviceName|CUDARuntimeVersion|HAS_AVX2?)\b", re.IGNORECASE)
BOUND = re.compile(rf"(?:TARGET\.)?({'|'.join(PROPERTY)})\s*(>=|<=|>|<|==|=\?=)\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
AVX = re.compile(r"(?:TARGET\.)?HAS_AVX2?(?:\s*(?:==|=\?=)\s*True)?", re.IGNORECASE)

MICROARCH = 'Microarch >= "x86_64-v3"'  # OSPool guide: the replacement of HAS_AVX and HAS_AVX2


def commands(of: str, operator: str, text: str) -> dict[str, str]:
    """`Capability >= 7.5` as submit commands; empty where no command says it."""
    number = float(text)
    if of == "Capability":
        lowest = {
            ">=": number,
            "==": number,
            "=?=": number,
            ">": min((c for c in CAPABILITIES if c > number), default=0),
        }
        highest = {
            "<=": number,
            "==": number,
            "=?=": number,
            "<": max((c for c in CAPABILITIES if c < number), default=0),
        }
        found = {MINIMUM: lowest.get(operator, 0), MAXIMUM: highest.get(operator, 0)}
        return {name: f"{value:.1f}" for name, value in found.items() if value}
    if operator not in (">=", ">"):
        return {}
    if of == "GlobalMemoryMb" and number.is_integer() and number > 100:
        return {MEMORY: f"{int(number) + (operator == '>')}MB"}
    # the highest CUDA that the driver runs: 12.4, or 12040; 450 and more is a driver's own number, which it never was
    if of == "DriverVersion" and operator == ">=" and re.fullmatch(r"\d{1,2}(?:\.\d)?", text):
        return {RUNTIME: f"{number:.1f}"}
    if of == "MaxSupportedVersion" and operator == ">=" and re.fullmatch(r"\d{1,2}0\d0", text):
        return {RUNTIME: f"{int(text) // 1000}.{int(text) % 1000 // 10}"}
    return {}


def stricter(name: str, there: str, value: str) -> str | None:
    """Of two bounds the one that takes less, as it is written; None where one is no plain number."""
    numbers = []
    for text in (there, value):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG]?)B?", text, re.IGNORECASE)
        if not found or (found.group(2) and name != MEMORY):
            return None
        numbers.append(float(found.group(1)) * (1024 if found.group(2).upper() == "G" else 1))
    keeps = numbers[0] <= numbers[1] if name == MAXIMUM else numbers[0] >= numbers[1]
    return there if keeps else value


def joined(clauses: list[str]) -> str:
    """The conditions as one expression, each in brackets that may need them."""
    return " && ".join(f"({text})" if re.search(r"[|?<>=&$]", text) else text for text in clauses)
