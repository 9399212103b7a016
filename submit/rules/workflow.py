"""Workflows: DAGMan files and the submit files of their nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from submit.findings import Hit, looks_for
from submit.rules.sent import from_workflow, is_file, there
from submit.submission import Submission
from submit.workflow import Workflow

_DEFINES = ("JOB", "NODE", "FINAL", "PROVISIONER", "SERVICE", "SUBDAG", "SPLICE")
# commands whose first word is a node's name
_ABOUT_NODE = ("RETRY", "VARS", "PRIORITY", "CATEGORY", "ABORT-DAG-ON", "PRE_SKIP", "DONE", "SCRIPT")


def words(workflow: Workflow) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that is a command (not of inline submit descriptions), the first in capitals."""
    inside, joined, first = "", "", 0
    for number, line in enumerate(workflow.lines, 1):
        parts = line.split()
        if inside:
            inside = "" if parts[:1] == [inside] else inside
            continue
        if parts[:1] and parts[0].startswith("#"):
            continue
        first = first if joined else number
        joined += line.rstrip()
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        parts, joined = joined.split(), ""
        if parts:
            parts[0] = parts[0].upper()
            if "{" in parts[2:3]:
                inside = "}"
            elif len(parts) > 2 and parts[2].startswith("@="):
                inside = f"@{parts[2][2:]}"
            yield first, parts


def defined(workflow: Workflow) -> Iterator[tuple[int, str]]:
    """Line and name of each node, splice and sub-DAG."""
    for number, parts in words(workflow):
        if parts[0] in _DEFINES:
            at = 2 if parts[0] == "SUBDAG" else 1  # SUBDAG EXTERNAL NAME FILE
            if len(parts) > at:
                yield number, parts[at]


def mentioned(workflow: Workflow) -> Iterator[tuple[int, str, str]]:
    """Line, command and name of each use of a node."""
    for number, parts in words(workflow):
        if parts[0] == "PARENT":
            for name in parts[1:]:
                if name.upper() != "CHILD":
                    yield number, parts[0], name
        elif parts[0] in _ABOUT_NODE:
            names = parts[1:]
            if parts[0] == "SCRIPT":  # SCRIPT [DEFER STATUS TIME] [DEBUG FILE TYPE] PRE|POST|HOLD NAME PROGRAM
                kind = next((at for at, word in enumerate(names) if word.upper() in ("PRE", "POST", "HOLD")), None)
                names = names[kind + 1 :] if kind is not None else []
            if names:
                yield number, parts[0], names[0]


def whole(workflow: Workflow) -> bool:
    """Whether all of the workflow stands in this file."""
    return not any(parts[0] in ("INCLUDE", "SPLICE") for _, parts in words(workflow))


def edges(workflow: Workflow) -> dict[str, dict[str, int]]:
    """Parent -> its children, and the line that says so."""
    found: dict[str, dict[str, int]] = {}
    for number, parts in words(workflow):
        upper = [part.upper() for part in parts]
        if parts[0] == "PARENT" and "CHILD" in upper:
            at = upper.index("CHILD")
            for parent in parts[1:at]:
                for child in parts[at + 1 :]:
                    found.setdefault(parent, {}).setdefault(child, number)
    return found


def submissions(workflow: Workflow) -> Iterator[tuple[str, int, Path, Submission]]:
    """Name, line, path and submit file of every node whose submit file is there."""
    for name, (number, path) in workflow.nodes.items():
        if is_file(path):
            yield name, number, path, Submission.read(path)


@looks_for("OSG801", Workflow)
def missing_submit_file(workflow: Workflow) -> Iterator[Hit]:
    inline = {parts[1] for _, parts in words(workflow) if parts[0] == "SUBMIT-DESCRIPTION" and len(parts) > 1}
    # a PRE script may make it
    prepared = {name for _, command, name in mentioned(workflow) if command == "SCRIPT"}
    if prepared & {"ALL_NODES"} or not whole(workflow):
        return
    for number, parts in words(workflow):
        if parts[0] not in _DEFINES[:5] or len(parts) < 3 or parts[1] in prepared or parts[2] in inline:
            continue
        upper = [part.upper() for part in parts]
        folder = parts[upper.index("DIR") + 1] if "DIR" in upper[3:-1] else ""
        unknown = "$" in parts[2] or parts[2].startswith(("@=", "{"))
        here = there(workflow.folder / folder / parts[2])
        # a splice's files are looked for from the workflow around it
        if not unknown and not here and not from_workflow(workflow.folder, f"{folder}/{parts[2]}".lstrip("/")):
            yield Hit(number, f"node {parts[1]}: there is no {parts[2]}")


@looks_for("OSG802", Workflow)
def tries_multiply(workflow: Workflow) -> Iterator[Hit]:
    tries = {
        parts[1]: (number, parts[2]) for number, parts in words(workflow) if parts[0] == "RETRY" and len(parts) > 2
    }
    for name, _, _, job in submissions(workflow):
        number, count = tries.get(name) or tries.get("ALL_NODES") or (0, "0")
        most = job.value("max_retries")
        if number and most.isdecimal() and int(most) > 0 and count.isdecimal() and int(count) > 0:
            runs = (int(most) + 1) * (int(count) + 1)
            yield Hit(number, f"RETRY {count} of node {name} times max_retries = {most}: up to {runs} runs")


@looks_for("OSG803", Workflow)
def hold_hangs(workflow: Workflow) -> Iterator[Hit]:
    seen: set[Path] = set()
    for name, _, path, job in submissions(workflow):
        value = job.value("on_exit_hold")
        if path in seen or not value or value.lower() in ("false", "0") or job.has("periodic_release"):
            continue
        seen.add(path)
        removed = "jobstatus" in job.value("periodic_remove").lower()
        if "dagmanjobid" not in value.lower() and not removed:
            message = f"on_exit_hold: DAGMan waits for node {name} for as long as it is held"
            yield Hit(job.line("on_exit_hold"), message, file=path)


@looks_for("OSG804", Workflow)
def success_ignored(workflow: Workflow) -> Iterator[Hit]:
    seen: set[Path] = set()
    posted = {name for _, command, name in mentioned(workflow) if command == "SCRIPT"}
    for name, _, path, job in submissions(workflow):
        value = job.value("success_exit_code")
        if path not in seen and value.isdecimal() and int(value) != 0 and not posted & {name, "ALL_NODES"}:
            seen.add(path)
            message = f"success_exit_code = {value}: to DAGMan, node {name} has failed with it"
            yield Hit(job.line("success_exit_code"), message, file=path)


@looks_for("OSG805", Workflow)
def script_cannot_run(workflow: Workflow) -> Iterator[Hit]:
    folders = {name: path.parent for name, (_, path) in workflow.nodes.items()}
    for number, parts in words(workflow):
        kind = next((at for at, word in enumerate(parts) if word.upper() in ("PRE", "POST", "HOLD")), 0)
        if parts[0] != "SCRIPT" or not kind or len(parts) < kind + 3 or "$" in parts[kind + 2]:
            continue
        name, program = parts[kind + 1], parts[kind + 2]
        places = [workflow.folder / program, folders.get(name, workflow.folder) / program]
        found = next((place for place in places if is_file(place)), None)
        if found is None and not from_workflow(workflow.folder, program):
            yield Hit(number, f"SCRIPT of node {name}: there is no {program}")
        elif found and not os.access(found, os.X_OK):
            yield Hit(number, f"SCRIPT of node {name}: {program} may not be executed", f"`chmod +x {program}`.")


@looks_for("OSG806", Workflow)
def unknown_node(workflow: Workflow) -> Iterator[Hit]:
    known = {name for _, name in defined(workflow)} | {"ALL_NODES"}
    joins = {word for _, parts in words(workflow) if parts[0] == "JOIN" for word in parts[1:]}
    if not whole(workflow):
        return
    for number, command, name in mentioned(workflow):
        if name not in known | joins and not name.startswith("+"):
            yield Hit(number, f"{command}: there is no node {name}")


@looks_for("OSG807", Workflow)
def node_twice(workflow: Workflow) -> Iterator[Hit]:
    seen: dict[str, int] = {}
    for number, name in defined(workflow):
        if name in seen:
            yield Hit(number, f"node {name} is defined on line {seen[name]} already")
        seen.setdefault(name, number)


@looks_for("OSG808", Workflow)
def cycle(workflow: Workflow) -> Iterator[Hit]:
    children = edges(workflow)
    state: dict[str, int] = {}  # 1: on the way, 2: done
    for start in children:
        stack = [(start, iter(children.get(start, {}).items()))] if start not in state else []
        state.setdefault(start, 1)
        while stack:
            node, rest = stack[-1]
            child, number = next(rest, (None, 0))
            if child is None:
                state[node] = 2
                stack.pop()
            elif state.get(child) == 1:
                yield Hit(number, f"{child} comes after itself, by way of {node}")
                return
            elif child not in state:
                state[child] = 1
                stack.append((child, iter(children.get(child, {}).items())))
