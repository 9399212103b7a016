"""Data protection: keys that everybody can read, and data of patients where they must not be."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from submit.findings import Hit, looks_for
from submit.rules.files import remaps, sent
from submit.rules.sent import files_below, is_file, sent_texts
from submit.submission import Submission
from submit.transfers import Transfer

# keys whose form gives them away
_KEY = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}|\bhf_[A-Za-z0-9]{30,}\b|"
    r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}|\bglpat-[\w-]{20}\b|\bxox[bp]-[\w-]{20,}|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
# NAME=value with a name that says what the value is, and a value that no macro or variable fills in
_NAMED = re.compile(
    r"\b(?:[A-Z0-9]+_)*(?:API_?KEY|(?:ACCESS|AUTH|HF|HUB|GITHUB|WANDB)_?TOKEN|SECRET(?:_ACCESS)?(?:_KEY)?|PASSWORD|PASSWD)"
    r"""["']?\]?\s*=\s*["']{0,2}([A-Za-z0-9+/_=.-]{12,})(?![A-Za-z0-9+/_=.(\[-])""",
)
# the name of a file, what a program computes, or a gap to fill in
_NO_KEY = re.compile(r"^os\.|\.(?:txt|json|ya?ml|env)$|your|xxx|example|change|replace|here|placeholder", re.IGNORECASE)
_FROM_HERE = re.compile(r"\b(\w*(?:API_?KEY|TOKEN|SECRET(?:_?KEY)?|PASSWORD|PASSWD))\s*=\s*'?\$ENV\(", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"(?:^|/)(?:\.ssh|\.aws|\.gnupg|\.kube|\.netrc|_netrc|\.env|\.git-credentials|\.pgpass|id_(?:rsa|dsa|ecdsa|ed25519)|"
    r"\.docker/config\.json|\.condor/tokens\.d)(?:/|$)"
)
_SECRET_FILE = re.compile(r"(?:^|[._-])(?:token|secret|secrets|password|apikey|api_key|credentials)(?:$|[._-])", re.I)
# a name as DICOM writes it, or a date of birth or a number of a patient, as converters leave them in NIfTI headers
_PERSON = re.compile(rb"[A-Za-z]{2,}\^[A-Za-z]{2,}|(?i:patient.?(?:id|name)|date.?of.?birth|\bdob\b)\W+\w{3,}")
MOST_HEADERS = 20
_HEADER = 348  # bytes of a NIfTI-1 header


def leaks(text: str) -> Iterator[tuple[int, str]]:
    """Line and kind of every key in a text."""
    for number, line in enumerate(text.split("\n"), 1):
        found = _KEY.search(line)
        named = _NAMED.search(line)
        if found:
            yield number, found.group()[:4].strip("-") or "private key"
        elif named and re.search(r"\d", named.group(1)) and not _NO_KEY.search(named.group(1)):
            yield number, named.group().split("=")[0].strip(" \"']")


@looks_for("OSG701", Submission)
def key_in_submit_file(job: Submission) -> Iterator[Hit]:
    for number, what in leaks(job.description.text):
        yield Hit(number, f"a key or password ({what}...) in the submit file")


@looks_for("OSG702", Submission)
def key_in_script(job: Submission) -> Iterator[Hit]:
    for path, text in sent_texts(job).items():
        for number, what in leaks(text):
            yield Hit(number, f"a key or password ({what}...) in {path.name}", file=path)


@looks_for("OSG703", Submission)
def key_in_the_ad(job: Submission) -> Iterator[Hit]:
    for name in ("environment", "arguments"):
        found = _FROM_HERE.search(job.raw(name))
        if found:
            yield Hit(
                job.line(name), f"{name}: {found.group(1)} becomes part of the job's ad, which everybody can read"
            )


@looks_for("OSG704", Submission)
def credentials(job: Submission) -> Iterator[Hit]:
    for entry in job.inputs:
        if _CREDENTIALS.search(entry.text):
            yield Hit(job.line("transfer_input_files"), f"transfer_input_files: {entry.text} opens more than this job")


@looks_for("OSG705", Submission)
def readable_secret(job: Submission) -> Iterator[Hit]:
    for entry in sent(job):
        path = entry.path
        secret = path and path.suffix not in (".py", ".sh") and _SECRET_FILE.search(entry.name)
        if secret and path and is_file(path) and path.stat().st_mode & 0o044:
            message = f"{entry.name} can be read by every user of the access point"
            yield Hit(job.line("transfer_input_files"), message, f"`chmod 600 {entry.text}`.")


def dicom(job: Submission, entry: Transfer) -> Path | None:
    """The first DICOM file of an input; a folder is looked through as long as that is quick."""
    for at, file in enumerate(files_below(job, entry.path) if entry.path else ()):
        if file.suffix.lower() in (".dcm", ".dicom") or (file.suffix == "" and at < 200 and _marked(file)):
            return file
    return None


def _marked(file: Path) -> bool:
    """Whether a file has DICOM's mark at byte 128."""
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


@looks_for("OSG706", Submission)
def dicom_files(job: Submission) -> Iterator[Hit]:
    for entry in sent(job):
        file = dicom(job, entry)
        if file:
            message = f"transfer_input_files: {entry.text} holds DICOM, as {file.name}: its headers name the patient"
            yield Hit(job.line("transfer_input_files"), message)


@looks_for("OSG707", Submission)
def named_in_header(job: Submission) -> Iterator[Hit]:
    looked = 0
    for entry in sent(job):
        for file in files_below(job, entry.path) if entry.path else ():
            if looked < MOST_HEADERS and file.name.endswith((".nii", ".nii.gz")):
                looked += 1
                found = _PERSON.search(_texts_of_header(file))
                if found:
                    message = f"the header of {file.name} seems to name a patient, in descrip, db_name or aux_file"
                    yield Hit(job.line("transfer_input_files"), message)
                    return


def _texts_of_header(file: Path) -> bytes:
    """The free texts of a NIfTI-1 header: db_name, descrip, aux_file and intent_name."""
    try:
        with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as opened:
            header = bytes(opened.read(_HEADER))
    except (OSError, EOFError, ValueError):
        return b""
    fields = (header[14:32], header[148:228], header[228:252], header[328:344]) if len(header) == _HEADER else ()
    return b"\n".join(field.split(b"\0")[0] for field in fields)


@looks_for("OSG708", Submission)
def published(job: Submission) -> Iterator[Hit]:
    targets = [("transfer_output_remaps", f"{name} {to}", to) for name, to in remaps(job)]
    targets.append(("output_destination", job.raw("output_destination"), job.raw("output_destination")))
    for command, text, to in targets:
        public = re.match(r"(?:osdf|pelican)://\S*/(?:public|osg-public)/", to)
        if public and re.search(r"\.nii\b|\.dcm\b|\b(?:dicom|nifti|patients?|mri)(?:\b|_)", text, re.IGNORECASE):
            yield Hit(job.line(command), f"{command}: everybody can read {public.group()}")
