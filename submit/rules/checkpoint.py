"""Checkpoints and retries: what is kept at exit 85, what counts as a try, and who is tried again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from submit.findings import Edit, Hit, looks_for
from submit.rules.scripts import shell_scripts
from submit.rules.sent import readable, sent_texts
from submit.submission import Submission

MOST_RUNS = 30  # the OSPool holds a job that was started more often (policy)
_POLICY = ("on_exit_hold", "on_exit_remove", "retry_until", "periodic_hold", "periodic_remove", "periodic_release")
_COUNTED = re.compile(r"\b(?:Num\w*|JobRunCount|TotalSuspensions|JobStartDate|QDate|CompletionDate)\b", re.IGNORECASE)
_HISTORY = re.compile(r"\bMachineAttr([A-Za-z_]\w*?)(\d+)\b")


@looks_for("OSG501", Submission)
def no_checkpoint_files(job: Submission) -> Iterator[Hit]:
    if job.has("checkpoint_exit_code") and job.lacks("transfer_checkpoint_files"):
        yield Hit(job.line("checkpoint_exit_code"), "checkpoint_exit_code without transfer_checkpoint_files")


@looks_for("OSG502", Submission)
def no_checkpoint_code(job: Submission) -> Iterator[Hit]:
    others = ("checkpoint_exit_code", "+CheckpointExitCode", "+SuccessCheckpointExitCode", "+WantFTOnCheckpoint")
    if job.has("transfer_checkpoint_files") and all(job.lacks(name) for name in others):
        says = any(re.search(r"\bexit\s*\(?\s*85\b", text) for text in sent_texts(job).values())
        edits = job.addition("checkpoint_exit_code", "85") if says else ()
        message = "transfer_checkpoint_files without checkpoint_exit_code: never sent"
        yield Hit(job.line("transfer_checkpoint_files"), message, edits=edits)


@looks_for("OSG503", Submission)
def code_never_used(job: Submission) -> Iterator[Hit]:
    code = job.value("checkpoint_exit_code")
    if not re.fullmatch(r"\d+", code) or not readable(job):
        return
    texts = [*sent_texts(job).values(), job.value("arguments"), job.value("environment")]
    if not any(re.search(rf"(?<!\d){code}(?!\d)", text) for text in texts):
        message = f"checkpoint_exit_code = {code}: no script that is sent leaves with {code}"
        yield Hit(job.line("checkpoint_exit_code"), message)


@looks_for("OSG504", Submission)
def flattened(job: Submission) -> Iterator[Hit]:
    if job.flag("preserve_relative_paths") or job.has("checkpoint_destination"):
        return
    others = job.entries("transfer_input_files") + job.entries("transfer_output_files")
    edits = job.addition("preserve_relative_paths", "True") if not any("/" in other for other in others) else ()
    for entry in job.entries("transfer_checkpoint_files"):
        name = entry.removeprefix("./").rstrip("/")
        if "/" in name and "$" not in name and not name.startswith("/"):
            message = f"transfer_checkpoint_files: {name} comes back as {name.rsplit('/', 1)[1]}"
            yield Hit(job.line("transfer_checkpoint_files"), message, edits=edits)


@looks_for("OSG505", Submission)
def sent_at_eviction(job: Submission) -> Iterator[Hit]:
    listed = job.entries("transfer_output_files")
    if job.value("when_to_transfer_output").upper() == "ON_EXIT_OR_EVICT" and listed and listed != ['""']:
        message = f"when_to_transfer_output = ON_EXIT_OR_EVICT: an eviction before {listed[0]} exists is a hold"
        yield Hit(job.line("when_to_transfer_output"), message)


@looks_for("OSG506", Submission)
def missing_output_wins(job: Submission) -> Iterator[Hit]:
    listed = job.entries("transfer_output_files")
    tried = job.has("max_retries") and job.value("max_retries") != "0"
    if tried and listed and listed != ['""'] and job.lacks("success_exit_code"):
        yield Hit(
            job.line("max_retries"),
            f"max_retries without success_exit_code: a failed run without {listed[0]} is held, not tried again",
            edits=job.addition("success_exit_code", "0"),
        )


@looks_for("OSG507", Submission)
def stale_exit_code(job: Submission) -> Iterator[Hit]:
    again = ("max_retries", "retry_until", "on_exit_remove", "checkpoint_exit_code", "periodic_release")
    policies = {name: job.value(name) for name in _POLICY if job.has(name)}
    if any(re.search(r"\bExit(?:BySignal|Signal)\b", value, re.I) for value in policies.values()):
        return
    for name, value in policies.items():
        if re.search(r"\bExitCode\b", value, re.I) and any(job.has(other) for other in again):
            yield Hit(job.line(name), f"{name} asks for ExitCode, which after a signal is that of the run before")
            return


@looks_for("OSG508", Submission)
def released_for_ever(job: Submission) -> Iterator[Hit]:
    value = job.value("periodic_release")
    if value and value.lower() not in ("false", "0") and not _COUNTED.search(value):
        yield Hit(job.line("periodic_release"), "periodic_release has no bound: the job is released for ever")


@looks_for("OSG509", Submission)
def own_machine(job: Submission) -> Iterator[Hit]:
    command = job.command("requirements")
    found = re.search(r"\bMachineAttr[A-Za-z_]+0\b", job.value("requirements"))
    if not command or not found:
        return
    mended = re.sub(r"\b(MachineAttr[A-Za-z_]+)0\b", r"\g<1>1", command.value)
    length = job.value("job_machine_attrs_history_length")
    edits = job.edit(command, mended) if mended != command.value else ()
    if edits and (not length.isdecimal() or int(length) < 2):
        kept = job.command("job_machine_attrs_history_length")
        longer = job.edit(kept, "2") if kept else job.addition("job_machine_attrs_history_length", "2")
        edits = (*edits, *longer) if longer else ()
    message = f"requirements: {found.group()} is the machine that the job runs on, while it runs"
    yield Hit(command.first, message, edits=edits)


@looks_for("OSG510", Submission)
def unknown_machine(job: Submission) -> Iterator[Hit]:
    listed = [name.lower() for name in re.split(r"[,\s]+", job.value("job_machine_attrs")) if name]
    length = job.value("job_machine_attrs_history_length") or "1"  # HTCondor's default
    found = [(name, int(at)) for name, at in _HISTORY.findall(job.value("requirements"))]
    unlisted = [name for name, _ in found if name.lower() not in listed]
    if unlisted and len(set(unlisted)) == 1 and job.lacks("job_machine_attrs"):
        edits: tuple[Edit, ...] = job.addition("job_machine_attrs", unlisted[0])
        message = f"requirements: MachineAttr{unlisted[0]}... is never set: no job_machine_attrs"
        yield Hit(job.line("requirements"), message, edits=edits)
    elif unlisted:
        message = f"requirements: {unlisted[0]} is not in job_machine_attrs"
        yield Hit(job.line("requirements"), message)
    elif found and length.isdecimal() and max(at for _, at in found) >= int(length):
        message = f"requirements: MachineAttr{found[-1][0]}{max(at for _, at in found)} is beyond the history kept"
        yield Hit(job.line("requirements"), message)


@looks_for("OSG511", Submission)
def timeout_not_told(job: Submission) -> Iterator[Hit]:
    code = job.value("checkpoint_exit_code")
    for path, lines in shell_scripts(job) if code else ():
        text = "\n".join(lines)
        for number, line in enumerate(lines, 1):
            if (
                re.match(r"\s*(?:exec\s+)?timeout\s", line)
                and code != "124"
                and not re.search(r"\b124\b|\btrap\b", text)
            ):
                message = f"{path.name}: timeout leaves with 124, which is no checkpoint here"
                yield Hit(number, message, file=path)


@looks_for("OSG512", Submission)
def too_many_tries(job: Submission) -> Iterator[Hit]:
    value = job.value("max_retries")
    if value.isdecimal() and int(value) >= MOST_RUNS:
        command = job.command("max_retries")
        message = f"max_retries = {value}: the OSPool holds a job after {MOST_RUNS} starts"
        yield Hit(job.line("max_retries"), message, edits=job.edit(command, "10") if command else ())
