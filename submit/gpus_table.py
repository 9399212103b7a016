"""`osgdl gpus` for people and for programs: bounds as submit lines, with the reasons above them."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from submit import gpu_memory
from submit.compatibility import Bounds, data
from submit.gpu_memory import Estimate
from submit.units import mebibytes

COMMANDS = ("gpus_minimum_capability", "gpus_maximum_capability", "gpus_minimum_runtime")


def as_json(bounds: Bounds, memory: str = "", estimate: Estimate | None = None) -> str:
    """An object whose keys are HTCondor's commands, beside reasons, sources and confidence."""
    found: dict[str, Any] = {command: getattr(bounds, command) for command in COMMANDS if getattr(bounds, command)}
    if memory:
        found["gpus_minimum_memory"] = memory
    found |= {
        "image": bounds.name,
        "usable": bounds.usable,
        "python": bounds.python,
        "glibc": bounds.glibc,
        "strict_runtime": bounds.strict_runtime,
        "reasons": list(bounds.reasons),
        "warnings": list(bounds.warnings),
        "sources": [f"{key}: {data()['sources'][key]}" for key in bounds.sources],
        "confidence": bounds.confidence,
        "gpus": cards(bounds, memory),
    }
    if estimate:
        found["memory"] = estimate.as_json()
    return json.dumps(found, indent=1)


def text(bounds: Bounds, explain: bool, memory: str = "", estimate: Estimate | None = None) -> str:
    """Lines to paste into a submit file; with `explain` why, on what GPUs, and who says so."""
    lines = [
        f"# {bounds.name}"
        + (f": Python {bounds.python}" if bounds.python else "")
        + (f", glibc {bounds.glibc}" if bounds.glibc else "")
    ]
    if explain:
        lines += [line for reason in bounds.reasons for line in _comment(reason)]
    if bounds.usable:
        lines.append("request_gpus            = 1")
        lines += [f"{command:<23} = {getattr(bounds, command)}" for command in COMMANDS if getattr(bounds, command)]
        if memory:
            if estimate:
                lines += _comment(str(estimate))
            lines.append(f"{'gpus_minimum_memory':<23} = {memory}")
    for trap in bounds.warnings:
        lines += _comment("Take care: " + trap)
    if explain:
        admitted = cards(bounds, memory)
        lines += _comment("Runs on: " + (", ".join(admitted["admitted"]) or "no GPU"))
        lines += _comment("Left out: " + (", ".join(admitted["refused"]) or "none"))
        lines += _comment(
            f"Confidence: {bounds.confidence}. Sources: {'; '.join(data()['sources'][key] for key in bounds.sources)}"
        )
    return "\n".join(lines)


def cards(bounds: Bounds, memory: str = "") -> dict[str, list[str]]:
    """The GPUs that the data knows, with their newest driver: admitted and refused."""
    small = gpu_memory.left_out(mebibytes(memory)) if memory else ()
    newest = max(row["max_supported_version"] for row in data()["drivers"])
    drivers = {row["branch"]: row["max_supported_version"] for row in data()["drivers"]}
    sorted_out: dict[str, list[str]] = {"admitted": [], "refused": []}
    for row in data()["gpus"]:
        can = bounds.admits(row["capability"], drivers.get(row.get("last_driver", ""), newest))
        sorted_out["admitted" if can and row["model"] not in small else "refused"].append(row["model"])
    return sorted_out


def _comment(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, 116, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
