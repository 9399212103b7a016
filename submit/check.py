"""`osgdl check`: every rule over submit files and workflows, what to leave out, what to mend, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from submit.description import Description
from submit.errors import KitError
from submit.findings import ERROR, Finding, look, rules
from submit.rules import load
from submit.submission import Submission
from submit.workflow import Workflow

DAGMAN = ".dag.condor.sub"  # condor_submit_dag writes it beside the workflow

_IGNORE = re.compile(r"\s*#\s*osgdl:\s*ignore\b\s*((?:OSG\d{3}[\s,]*)*)$")
WORKFLOW_SUFFIX = ".dag"


@dataclass(frozen=True)
class Mended:
    """What `--fix` did to one file."""

    path: Path
    rules: tuple[str, ...]


def check(files: Iterable[Path], given: Mapping[str, str] | None = None) -> list[Finding]:
    """Every finding of every file, files in the order given, lines in the order of the file. A workflow's submit files
    are checked with it, each file once. `given`: what stands on the command line of condor_submit.

    Raises:
        KitError: a file cannot be read.
    """
    load()
    found: list[Finding] = []
    seen: set[Path] = set()
    waiting = list(files)
    while waiting:
        path = waiting.pop(0)
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        if path.suffix == WORKFLOW_SUFFIX:
            workflow = Workflow.read(path)
            found += _kept(look(workflow, path), {path: workflow.lines})
            waiting[:0] = [file for file in workflow.submit_files if file.is_file()]
            continue
        if not path.is_file():
            raise KitError(f"{path}: no such file; want a submit file or a .dag. See `ls {path.parent}`.")
        submission = Submission.read(path, given)
        found += _kept(look(submission, path), {path: submission.lines})
    # a script that two submit files send is at fault once
    return list({(finding.file, finding.line, finding.rule.id, finding.message): finding for finding in found}.values())


def files_here(folder: Path, workflows: bool = True) -> list[Path]:
    """The submit files, and workflows, of a folder, but DAGMan's own. Raises KitError where there is none."""
    suffixes = [".sub", WORKFLOW_SUFFIX][: 1 + workflows]
    there = (path for suffix in suffixes for path in folder.glob(f"*{suffix}"))
    found = sorted(path for path in there if not path.name.endswith(DAGMAN))
    if not found:
        raise KitError(f"{folder.resolve()}: no {' and no '.join(suffixes)} file here; want one. Name it.")
    return found


def fix(files: Iterable[Path]) -> list[Mended]:
    """Makes the certain mends of each submit file, in place; what it did."""
    mended = []
    for path in dict.fromkeys(finding.file for finding in check(files) if finding.edits):
        done = []
        for finding in check([path]):
            if finding.file == path and finding.edits:
                description = Description.read(path)
                for edit in finding.edits:
                    if edit.value is None:
                        description.remove(edit.name)
                    else:
                        description.set(edit.name, edit.value, edit.replaces)
                description.write()
                done.append(finding.rule.id)
        mended.append(Mended(path, tuple(dict.fromkeys(done))))
    return mended


def exit_code(found: Iterable[Finding]) -> int:
    """1 where a finding is an error, 0 for warnings alone."""
    return int(any(finding.rule.severity == ERROR for finding in found))


def _kept(found: Iterable[Finding], texts: dict[Path, list[str]]) -> list[Finding]:
    """Without those that a comment above the line says to ignore, in the order of the lines."""
    kept = []
    for finding in found:
        lines = texts.get(finding.file)
        if lines is None:
            lines = finding.file.read_text(encoding="utf-8", errors="replace").split("\n")
            texts[finding.file] = lines
        if finding.rule.id not in _ignored(lines, finding.line):
            kept.append(finding)
    return sorted(kept, key=lambda finding: (str(finding.file), finding.line))


def _ignored(lines: list[str], number: int) -> set[str]:
    """The rules named by `# osgdl: ignore OSG101` in the comment lines right above a line (no rule named: all)."""
    ignored: set[str] = set()
    at = number - 2
    while 0 <= at < len(lines) and lines[at].lstrip().startswith("#"):
        match = _IGNORE.match(lines[at])
        if match:
            ignored |= set(re.findall(r"OSG\d{3}", match.group(1))) or set(rules())
        at -= 1
    return ignored
