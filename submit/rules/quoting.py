"""Syntax, its second half: quotes, and what separates the entries of a list."""

from __future__ import annotations

import re
from collections.abc import Iterator

from submit.description import key
from submit.findings import Hit, looks_for
from submit.submission import Submission

# free text, in which a hash, an apostrophe or a curly quote is itself
FREE_TEXT = {"batch_name", "jobbatchname", "description", "submit_event_notes"}
# attributes whose value is text: without quotes it would be the name of another attribute
TEXT_ATTRIBUTES = {"projectname", "jobdurationcategory", "desired_sites", "undesired_sites", "accountinggroup"}


def outside_quotes(value: str) -> str:
    """The value with everything inside straight quotes blanked, letter for letter."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", lambda match: "\0" * len(match.group()), value)


@looks_for("OSG112", Submission)
def curly_quotes(job: Submission) -> Iterator[Hit]:
    for command in job.commands:
        bare = outside_quotes(command.value)
        if key(command.name) not in FREE_TEXT and (re.search("[“”„]", bare) or re.match("[‘’]", bare)):
            straight = re.sub("[“”„]", '"', re.sub("[‘’]", "'", command.value))
            yield Hit(command.first, f"{command.name}: curly quotes are letters", edits=job.edit(command, straight))


@looks_for("OSG113", Submission)
def unquoted_text(job: Submission) -> Iterator[Hit]:
    import htcondor2  # noqa: F401 - before classad2
    from classad2 import ExprTree

    for command in job.commands:
        name = key(command.name)
        value = job.value(command.name)
        if not name.startswith("my.") or name == "my.singularityimage" or re.search("[“”„‘’]|\\s#", value):
            continue
        try:
            ExprTree(value)
            bare = re.fullmatch(r"[A-Za-z][\w-]*|'[^']*'", value)  # single quotes enclose the name of an attribute
            wrong = name[3:] in TEXT_ATTRIBUTES and bare is not None
        except Exception:
            wrong = bool(value) and value.count('"') < 2
        if wrong and value.lower() != "undefined":
            text = value.strip("\"'")
            edits = job.edit(command, f'"{text}"') if "$" not in command.value and '"' not in text else ()
            yield Hit(command.first, f"{command.name} = {value} is no text: it lacks quotes", edits=edits)


@looks_for("OSG114", Submission)
def quoting(job: Submission) -> Iterator[Hit]:
    for name in ("arguments", "environment"):
        command = job.command(name)
        value = job.value(name)
        if not command or re.search("[“”„]|\\s#", value):
            continue
        inner = value[1:-1].replace('""', "")
        if value.startswith('"'):
            wrong = len(value) < 2 or not value.endswith('"') or '"' in inner or inner.count("'") % 2 == 1
        else:
            wrong = name == "arguments" and re.search(r'(?<!\\)"', value) is not None
        if wrong:
            yield Hit(command.first, f"{name}: the quotes do not pair up: {value}")


@looks_for("OSG115", Submission)
def environment_separators(job: Submission) -> Iterator[Hit]:
    command, value = job.command("environment"), job.value("environment")
    if not command:
        return
    if not value.startswith('"') and ";" not in value and re.search(r"^\w+=\S*\s+\w+=", value):
        edits = job.edit(command, f'"{command.value}"') if not set("\"'") & set(command.value) else ()
        yield Hit(command.first, "environment: without double quotes, blanks do not end a value", edits=edits)
    elif value.startswith('"') and re.match(r"\w+=[^\s;,']*[;,]\s*\w+=", value[1:]):
        yield Hit(command.first, "environment: in double quotes, blanks separate, not commas or semicolons")


@looks_for("OSG116", Submission)
def list_separators(job: Submission) -> Iterator[Hit]:
    for name in ("transfer_input_files", "transfer_output_files", "transfer_checkpoint_files"):
        for entry in job.entries(name):
            parts = [part for part in re.split(r"[;\s]+", entry) if part]
            files = all(re.search(r"\.\w+$|/$", part) or (job.folder / part).exists() for part in parts)
            if len(parts) > 1 and files and not re.search(r"#|://\S+\s", entry) and not (job.folder / entry).exists():
                yield Hit(job.line(name), f"{name}: {entry!r} is one name to HTCondor", "Put commas between the names.")
    if re.search(r",\s*[^\s,;=]+\s*=", remaps := job.value("transfer_output_remaps")) and ";" not in remaps:
        yield Hit(
            job.line("transfer_output_remaps"),
            "transfer_output_remaps: entries are separated by commas",
            "Put a semicolon between them.",
        )
