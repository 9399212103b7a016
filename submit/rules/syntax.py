"""Syntax and units: what HTCondor reads otherwise than it was meant."""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from submit.description import Command, key
from submit.findings import Hit, looks_for
from submit.rules.quoting import FREE_TEXT, outside_quotes
from submit.submission import Submission

COMMANDS = Path(__file__).parent.parent / "data" / "commands.toml"
MEMORY = ("request_memory", "gpus_minimum_memory", "retry_request_memory")
# a bare number below this is no size that any job has: MiB for memory, KiB for disk
SMALLEST = {"request_memory": 64, "gpus_minimum_memory": 200, "retry_request_memory": 64, "request_disk": 1000}
EXPRESSIONS = (
    *("requirements", "rank", "require_gpus", "retry_until", "on_exit_hold", "on_exit_remove", "on_exit_hold_reason"),
    *("periodic_hold", "periodic_release", "periodic_remove", "periodic_vacate", "request_cpus", "request_gpus"),
    *("gpus_minimum_capability", "gpus_maximum_capability"),
)
_COMMENT = re.compile(r"\s#")
_MACRO = re.compile(r"(?<!\$)\$(?:F\w*)?\(\s*([A-Za-z_]\w*)\s*\)", re.ASCII)
_USED = re.compile(r"\$\w*\(\s*(\w+)|\bdefined\s+(\w+)", re.ASCII)
_ASSIGNMENT = re.compile(r"\s*(\+?[\w.]+)\s*=")


@cache
def known() -> dict[str, Any]:
    """data/commands.toml."""
    return tomllib.loads(COMMANDS.read_text(encoding="utf-8"))


def used_macros(job: Submission) -> set[str]:
    """The names in `$(name)`, `$Fnx(name)` and the like and in `if defined name`, anywhere but in comments."""
    text = "\n".join(line for line in job.lines if not line.lstrip().startswith("#"))
    return {name.lower() for pair in _USED.findall(text) for name in pair if name}


def sizes(job: Submission) -> Iterator[tuple[Command, str]]:
    """The commands that take a size, and what they hold."""
    for name in (*MEMORY, "request_disk", "retry_request_disk", "retry_request_memory_increase"):
        command = job.command(name)
        if command:
            yield command, job.value(name)


@looks_for("OSG101", Submission)
def unreadable(job: Submission) -> Iterator[Hit]:
    """HTCondor's parser refuses the file: the first line with which it does."""
    if job.parsed is not None:
        return
    import htcondor2

    for number in range(1, len(job.lines) + 1):
        try:
            with contextlib.chdir(job.folder):
                htcondor2.Submit("\n".join(job.safe_lines[:number]) + "\n")
        except ValueError:
            yield Hit(number, f"HTCondor cannot read this line: {job.lines[number - 1].strip()!r}")
            return


@looks_for("OSG102", Submission)
def comment_in_value(job: Submission) -> Iterator[Hit]:
    for command in job.commands:
        # a bare hash is an argument like any other; one that is followed by a blank is not
        pattern = re.compile(r"\s#\s") if key(command.name) in ("arguments", "args") else _COMMENT
        found = pattern.search(outside_quotes(command.value))
        if found and key(command.name) not in FREE_TEXT:
            kept = command.value[: found.start()].rstrip()
            comment = command.value[found.start() :].strip()
            edits = job.edit(command, kept) if kept else ()
            yield Hit(command.first, f"{command.name}: {comment!r} becomes part of the value", edits=edits)
    line = job.lines[job.queue_line - 1]
    if re.match(r"\s*queue\b[^(]*\s#", line, re.IGNORECASE):
        yield Hit(job.queue_line, "queue: a comment at its end is taken for what to queue")


@looks_for("OSG103", Submission)
def comment_ends_command(job: Submission) -> Iterator[Hit]:
    for command in job.commands:
        if command.first == command.last or command.last > len(job.lines):
            continue
        last = job.lines[command.last - 1].strip()
        unfinished = command.value.endswith(("&&", "||", ",", "(", "+")) or command.value.count("(") > (
            command.value.count(")")
        )
        if last.startswith("#") and not last.endswith("\\") and unfinished:
            yield Hit(command.last, f"{command.name}: this comment ends it; the next line is no longer part of it")


@looks_for("OSG104", Submission)
def no_unit(job: Submission) -> Iterator[Hit]:
    for command, value in sizes(job):
        unit = "KB" if "disk" in command.name.lower() else "MB"
        if re.fullmatch(r"\d+", value) and int(value) >= SMALLEST.get(key(command.name), 0):
            yield Hit(
                command.first,
                f"{command.name} = {value} has no unit: HTCondor takes it for {unit}",
                f"Write `{command.name} = {value}{unit}`.",
                job.edit(command, value + unit),
            )


@looks_for("OSG105", Submission)
def far_too_small(job: Submission) -> Iterator[Hit]:
    for command, value in sizes(job):
        unit = "KB" if "disk" in command.name.lower() else "MB"
        if re.fullmatch(r"\d+", value) and 0 < int(value) < SMALLEST.get(key(command.name), 0):
            yield Hit(
                command.first,
                f"{command.name} = {value} asks for {value} {unit}",
                f"Write the unit, as in `{command.name} = {value}GB`.",
            )


@looks_for("OSG106", Submission)
def unknown_unit(job: Submission) -> Iterator[Hit]:
    for command, value in sizes(job):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", value)
        if not found or re.fullmatch(r"[BKMGTP]B?", found.group(2), re.IGNORECASE):
            continue
        binary = re.fullmatch(r"([KMGT])iB?", found.group(2), re.IGNORECASE)
        mended = f"{found.group(1)}{binary.group(1).upper()}B" if binary else ""
        yield Hit(
            command.first,
            f"{command.name} = {value}: HTCondor knows no unit {found.group(2)!r}",
            f"Write `{command.name} = {mended}`, which is the same." if mended else "",
            job.edit(command, mended) if mended else (),
        )


@looks_for("OSG107", Submission)
def misspelt(job: Submission) -> Iterator[Hit]:
    commands = known()["commands"]
    squashed = {name.replace("_", "") for name in commands}
    ours = used_macros(job) | job.queue_variables
    for command in job.commands:
        name = command.name.lower()
        if name in ours or name.startswith(("+", "my.")) or name.replace("_", "") in squashed or "." in name:
            continue
        near = difflib.get_close_matches(name, commands, 1, 0.86) if len(name) > 4 else []
        meant = known()["meant"].get(name) or next(iter(near), "")
        if meant:
            edits = job.edit(command, command.value, meant) if not job.has(meant) and not meant.startswith("+") else ()
            yield Hit(
                command.first, f"{command.name} is no command of HTCondor's", f"Did you mean `{meant}`?", edits=edits
            )


@looks_for("OSG108", Submission)
def undefined_macro(job: Submission) -> Iterator[Hit]:
    defined = {command.name.lower() for command in job.commands} | job.queue_variables | set(known()["macros"])
    defined |= {name.lower() for name in job.parsed} if job.parsed is not None else set()
    defined |= set(re.findall(r"\bdefined\s+(\w+)", job.description.text.lower())) | _set_by_workflows(job.folder)
    seen: set[str] = set()
    for command in job.commands:
        for name in _MACRO.findall(command.value):
            if name.lower() not in defined | seen:
                seen.add(name.lower())
                yield Hit(command.first, f"{command.name}: $({name}) is set nowhere and becomes nothing")


def _set_by_workflows(folder: Path) -> set[str]:
    """The names that the DAG files here and up to two folders up give their nodes."""
    found: set[str] = set()
    for file in [*folder.glob("*.dag"), *folder.glob("../*.dag"), *folder.glob("../../*.dag")]:
        with contextlib.suppress(OSError):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if re.match(r"\s*VARS\b", line, re.IGNORECASE):
                    found |= {name.lower() for name in re.findall(r"\+?(\w+)\s*=", line)}
    return found


@looks_for("OSG109", Submission)
def set_twice(job: Submission) -> Iterator[Hit]:
    before: dict[str, Command] = {}
    for command in job.commands:
        name = key(command.name)
        earlier = before.get(name)
        if command.conditional or (name not in known()["commands"] and not name.startswith("my.")):
            continue
        extends = f"$({command.name.lower()})" in command.value.lower()
        if earlier and earlier.value != command.value and not extends:
            yield Hit(command.first, f"{command.name} is set on line {earlier.first} already, which no longer counts")
        before[name] = command


@looks_for("OSG110", Submission)
def no_queue(job: Submission) -> Iterator[Hit]:
    if job.commands and not any(re.match(r"\s*queue\b", line, re.IGNORECASE) for line in job.lines):
        yield Hit(job.queue_line, "the file has no queue")


@looks_for("OSG111", Submission)
def after_queue(job: Submission) -> Iterator[Hit]:
    queues = [number for number, line in enumerate(job.lines, 1) if re.match(r"\s*queue\b", line, re.IGNORECASE)]
    if not queues or re.search(r"\(\s*[^)]*$", job.lines[queues[-1] - 1]):
        return  # a list of items goes on over the next lines
    for number, line in enumerate(job.lines[queues[-1] :], queues[-1] + 1):
        found = _ASSIGNMENT.match(line)
        if found:
            yield Hit(number, f"{found.group(1)} stands after the last queue: it reaches no job")
            return


@looks_for("OSG117", Submission)
def no_executable(job: Submission) -> Iterator[Hit]:
    names = ("executable", "cmd", "shell", "container_image", "docker_image")
    other = job.value("universe").lower() in ("docker", "container", "vm", "grid", "java")
    if job.commands and not other and all(job.lacks(name) for name in names):
        yield Hit(job.queue_line, "neither executable nor shell: there is nothing to run")


@looks_for("OSG118", Submission)
def open_end(job: Submission) -> Iterator[Hit]:
    last = max((number for number, line in enumerate(job.lines, 1) if line.strip()), default=0)
    if last and job.lines[last - 1].rstrip().endswith("\\") and not job.lines[last - 1].lstrip().startswith("#"):
        yield Hit(last, "the file ends in a backslash: this line goes on in nothing")


@looks_for("OSG119", Submission)
def unknown_universe(job: Submission) -> Iterator[Hit]:
    universe = job.value("universe").lower()
    if job.has("universe") and re.fullmatch(r"[a-z]+", universe) and universe not in known()["universes"]:
        near = next(iter(difflib.get_close_matches(universe, known()["universes"], 1, 0.7)), "vanilla")
        yield Hit(job.line("universe"), f"universe = {universe}: there is none of that name", f"Did you mean {near}?")


@looks_for("OSG120", Submission)
def no_expression(job: Submission) -> Iterator[Hit]:
    import htcondor2  # noqa: F401 - before classad2
    from classad2 import ExprTree

    known_here = {name.lower() for name in job.parsed} if job.parsed is not None else set()
    for name in EXPRESSIONS:
        command, value = job.command(name), job.value(name)
        if not command or not value or re.search(r"\$|\s#|[“”]", value):
            continue
        if any(macro.lower() not in known_here for macro in _MACRO.findall(command.value)):
            continue  # a workflow may give it a value that makes this an expression
        try:
            ExprTree(value)
        except Exception:
            yield Hit(command.first, f"{command.name}: {value} is no expression")


@looks_for("OSG121", Submission)
def no_number(job: Submission) -> Iterator[Hit]:
    for name in ("request_cpus", "request_gpus"):
        value = job.value(name)
        if re.fullmatch(r"[A-Za-z_]\w*", value) and job.lacks(f"+{value}"):
            yield Hit(
                job.line(name), f"{name} = {value} is the name of an attribute, and this job has none of that name"
            )
