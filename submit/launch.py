"""`osgdl submit`: checks, previews the match, submits, and records the run in the project."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from submit import check, check_table, osdf_local, preview, preview_table, runs, schedd
from submit.errors import KitError, NoMatch, wrong
from submit.findings import ERROR, Finding
from submit.preview import Preview
from submit.project import shown
from submit.rendering import version
from submit.rules import syntax
from submit.rules.sent import there, varies
from submit.runs import Input, Run
from submit.submission import Submission, assignments

Ask = Callable[[str], str]  # a question; what was typed
Say = Callable[[str], None]
PRIVACY = "privacy"  # among the rules of a record that says what was overridden
NO_PROJECT = "OSG622"  # a placeholder stands there
IMAGES = ("container_image", "+SingularityImage", "docker_image")


def run(file: Path, words: Sequence[str], *, local: bool, force: str, yes: bool, ask: Ask, say: Say) -> Run:
    """Submits `file`, a submit file or a workflow, where nothing is against it; the record of it.

    Args:
        words: NAME=VALUE, as for condor_submit.
        local: to the local pool, though HTCondor is installed here.
        force: why it may be submitted although `osgdl check` finds errors; "": it may not.
        yes: submit though no slot of the pool would take it now.
        ask: a question to a person; "" where there is none.

    Raises:
        KitError: errors that nobody says are none; HTCondor refuses it; or it is queued, and the record cannot be
            written.
        NoMatch: no slot would take it, and nobody says that it may wait.
    """
    if not file.is_file():
        raise KitError(f"{file}: no such file; want a submit file or a .dag. See `ls {file.parent}`.")
    dag = file.suffix == check.WORKFLOW_SUFFIX
    given = {} if dag else assignments(words)
    job = None if dag else Submission.read(file, given)
    if job:
        _refuse_lost(job, given)
    reason = _past_errors(check.check([file], given), file, schedd.is_local(local), force, ask, say)
    if job:
        _refuse_missing(job, force)
        if schedd.is_local(local):
            _refuse_not_in_local_osdf(job, force)
    nodes = [job] if job else [Submission.read(path) for path in _nodes(file)]
    if not schedd.is_local(local) and _private(file, nodes, force, say):
        reason = {"rules": [*reason.get("rules", []), PRIVACY], "reason": force.strip()}
    if job:
        _past_no_match(preview.preview(file, local=local, words=words), yes, ask, say)
    sent, manifest = runs.inputs(job) if job else _of_workflow(file)
    digest = runs.sha256(file)
    moment = int(time.time())
    done = schedd.submit(file, words, local)
    for warning in done.warnings:
        say(f"condor_submit: {warning}")
    record = Run(
        cluster=done.cluster,
        jobs=done.jobs,
        time=moment,
        file=file.name,
        sha256=digest,
        words=list(words),
        pool=schedd.name(local),
        log=_log(job, done.cluster) if job else f"{file.name}.nodes.log",
        image=next((value for name in IMAGES if (value := job.value(name).strip('"'))), "") if job else "",
        manifest=manifest,
        inputs=sent,
        kit=version(),
        overridden=reason,
    )
    runs.append(file.parent, record)
    return record


def _refuse_lost(job: Submission, given: Mapping[str, str]) -> None:
    """A name of the command line that changes nothing: a line of the file wins in silence, or nothing uses it."""
    used = syntax.used_macros(job) | set(syntax.known()["commands"])
    for name, value in given.items():
        command = job.command(name)
        if command and command.unless.lower() != name.lower():
            what = f"{job.path}:{command.first} sets it too, and that line wins"
            mend = f"Edit that line, or write `if ! defined {name}`, the line, `endif` there"
            raise KitError(wrong(name, value, what, "a name that the file leaves open is wanted", mend))
        known = name.lower() in used or name.lower().startswith(("+", "my.", "request_"))
        if not known and job.safe_lines == job.lines:  # what an include brings is not seen from here
            near = get_close_matches(name.lower(), sorted(used), n=1)
            mend = f"The nearest that counts is {near[0]}" if near else "Leave it out"
            raise KitError(wrong(name, value, f"nothing in {job.path} uses it", "a name that counts is wanted", mend))


def _refuse_missing(job: Submission, force: str) -> None:
    """What would hold the job seconds after it is queued. `osgdl check` says nothing where the file leaves a name open,
    as for `data`; here its value is known.
    """
    sent = [(one.text, one.path) for one in job.inputs if one.path and not varies(job, one.text)]
    missing = [f"there is no {text}" for text, path in sent if not there(path)]
    missing += [f"nothing is in {text}" for text, path in sent if there(path) and path.is_dir() and _is_empty(path)]
    if missing and not force.strip() and not job.has("initialdir"):
        raise KitError(
            f"{job.path}:{job.line('transfer_input_files')}: {', '.join(missing)}, not submitted; what the job is sent "
            'is wanted. Put it there, name another (data=FOLDER), or say why: --force "REASON"'
        )


def _is_empty(folder: Path) -> bool:
    """One that may not be read is HTCondor's to refuse."""
    with suppress(OSError):
        return not any(folder.iterdir())
    return False


def _refuse_not_in_local_osdf(job: Submission, force: str) -> None:
    """Objects of the real OSDF, which the local pool does not see: the job would be held."""
    named = [one.text for one in job.inputs if not varies(job, one.text)]
    if job.image and job.image.kind == "osdf":
        named.append(job.image_reference)
    objects = [text for text in named if text.startswith(osdf_local.URL)]
    missing = [text for text in objects if not osdf_local.origin(text.partition("?")[0]).exists()]
    if missing and not force.strip():
        raise KitError(
            f"{job.path}: {', '.join(missing)}: not in the local pool's OSDF, not submitted; what the job is sent is "
            'wanted. Put it there (osgdl stage --local, osgdl image push --local), or say why: --force "REASON"'
        )


def _private(file: Path, jobs: Sequence[Submission], force: str, say: Say) -> bool:
    """Whether a folder that a job's `data` names holds what looks as if it identified a person, and somebody said why
    it may leave. What goes onto the OSDF was looked at by `osgdl stage`.

    Raises:
        KitError: it does, and nobody said why.
    """
    from submit import privacy

    passed = False
    for folder, named in _data_folders(jobs).items():
        say(f"{named}: looking for what identifies people")
        serious = [one for one in privacy.examine(folder, _files(folder), skulls=False) if one.serious]
        for line in privacy.describe(serious)[:-1]:  # the last one is of `osgdl stage`
            say(line)
        if serious and not force.strip():
            raise KitError(
                f"{file}: data={named}: something may identify a person, not submitted; the OSPool forbids such data. "
                f"Clean copies: osgdl stage {named} osdf:///... --scrub DIR; or say why it may leave (codes, shifted "
                'dates): --force "REASON"'
            )
        passed = passed or bool(serious)
    return passed


def _data_folders(jobs: Sequence[Submission]) -> dict[Path, str]:
    """The folders that `data` names and that are sent as they lie here, and the names."""
    named = [(one.path, one.text) for job in jobs for one in job.inputs if one.path and one.text == job.value("data")]
    return {path: text for path, text in named if there(path) and path.is_dir()}


def _files(folder: Path) -> list[Path]:
    """All files below, relative to it; links are followed, but not back above themselves."""
    found: list[Path] = []
    for current, folders, names in os.walk(folder, followlinks=True):
        here = Path(current)
        above = {here.resolve(), *here.resolve().parents}
        folders[:] = [name for name in folders if (here / name).resolve() not in above]
        found += [(here / name).relative_to(folder) for name in names if (here / name).is_file()]
    return sorted(found)


def _past_errors(found: Sequence[Finding], file: Path, local: bool, force: str, ask: Ask, say: Say) -> dict[str, Any]:
    """What is overridden, and why. `local`: to the local pool, which takes jobs of any project."""
    if found:
        say(check_table.text(found, len({one.file for one in found})))
    errors = [one for one in found if one.rule.severity == ERROR or (one.rule.id == NO_PROJECT and not local)]
    if not errors:
        return {}
    named = sorted({one.rule.id for one in errors})
    count = f"{len(errors)} error{'s' * (len(errors) > 1)} ({', '.join(named)})"
    if not force:
        force = ask(f"{count}. To submit all the same, type why; Enter stops").strip()
    if not force.strip():
        raise KitError(
            f"{file}: {count}, not submitted. Mend them (osgdl check --fix does what is certain), or say why they are "
            'none: --force "REASON"'
        )
    return {"rules": named, "reason": force.strip()}


def _past_no_match(found: Preview, yes: bool, ask: Ask, say: Say) -> None:
    say(preview_table.verdict(found))
    if found.found.matching_slots or yes:
        return
    question = "It would wait until the pool has such a slot. Submit all the same? [y/N]"
    if ask(question).strip().lower() in ("y", "yes"):
        return
    mend = "Let" if found.found.no_gpu_free else f"Relax its request: osgdl match {found.file}; or let"
    raise NoMatch(f"{found.file}: no slot of {found.pool} would take it, not submitted. {mend} it wait: --yes")


def _log(job: Submission, cluster: int) -> str:
    """`log` as this cluster has it."""
    if job.parsed is None:
        return ""
    for name in ("Cluster", "ClusterId"):
        job.parsed[name] = str(cluster)
    return os.path.join(job.value("initialdir"), job.value("log"))  # noqa: PTH118 - as the file has them


def _of_workflow(file: Path) -> tuple[list[Input], str]:
    """The submit files of its nodes."""
    return [Input(name=str(path.relative_to(file.parent)), sha256=runs.sha256(path)) for path in _nodes(file)], ""


def _nodes(file: Path) -> list[Path]:
    from submit.workflow import Workflow

    return [path for path in Workflow.read(file).submit_files if path.is_file()]


def text(run: Run, file: Path) -> str:
    """What was done, and what to type next."""
    jobs = f"{run.jobs} job{'s' * (run.jobs != 1)}"
    return f"cluster {run.cluster}: {jobs} of {file} in the queue of {run.pool or 'this access point'}"


def following(file: Path) -> str:
    """What to type next."""
    folder = file.parent.resolve()
    return "osgdl watch" if folder == Path.cwd() else f"osgdl watch {shown(folder)}"


def as_json(run: Run) -> dict[str, object]:
    """The record."""
    return dataclasses.asdict(run)
