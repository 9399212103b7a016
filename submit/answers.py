"""The answers to a template's questions: what each may be, and the names made from them.

An answer ends up in a submit file, where `$(...)` is a macro, a comma parts a list and a line ends a command. So each
answer is either taken exactly as given or refused with one line. Runs at render time: standard library, Python 3.9.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from submit import images
from submit.errors import AnswerError, wrong
from submit.gpus import MOST_GPUS
from submit.units import mebibytes

JOB_DURATIONS = ("Medium", "Long")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
LONGEST_NAME = 100
LONGEST_PATH = 400
# whole numbers from 1 on
MOST = {"gpus": MOST_GPUS, "epochs": 100_000, "photons": 10**14, "jobs": 10_000}
# of photon-propagation: what photon_propagation knows
CHOICES = {
    "job_duration": JOB_DURATIONS,
    "source": ("cascade", "track", "point"),
    "ice": ("layered", "uniform"),
    "detector": ("strings", "one"),
}
# names that lie in the job's working directory, or in the project, for another purpose
TAKEN = (
    *("job", "run.sh", "train.py", "config.toml", "checkpoint", "results", "logs", "container.def"),
    *("train.sub", "predict.sub", "evaluate.sub"),
)
_WORDS = {
    "ospool_project": (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}", re.ASCII),
        "want the name of a project, such as UNL_Swanson",
        "Find yours on the access point: `grep $USER /etc/condor/UserToProjectMap.txt`",
    ),
    "access_point": (
        re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII),
        "want the short name of your access point, such as ap40",
        "Take the part after /ospool/ in your data folder's name: /ospool/ap40/data/USER",
    ),
    "username": (
        re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", re.ASCII),
        "want your user name on the access point",
        "See `whoami` there",
    ),
}


def check(template: str, answers: Mapping[str, object]) -> None:
    """Accepts the answers to a template's questions, or names the first that cannot be used.

    Raises:
        AnswerError: an answer, alone or with another, cannot go into a submit file.
        ImageError: the image, or its syntax.
    """
    texts = {}
    for name, value in answers.items():
        if not isinstance(value, str):
            raise AnswerError(wrong(name, value, "not text", "want one line of text", f"Write {name} in quotes"))
        texts[name] = value
    for name, check_one in _CHECKS.items():
        if name in texts:
            check_one(name, texts[name])
    if int(texts.get("jobs", "1")) > int(texts.get("photons", "1")) and "photons" in texts:
        photons, wanted = texts["photons"], "want at least one photon for each job"
        raise AnswerError(
            wrong("photons", photons, f"fewer than jobs={texts['jobs']}", wanted, f"Write jobs={photons}")
        )
    if "framework" in texts:
        choice("framework", texts["framework"], images.answered(template))
    choice("image_syntax", texts["image_syntax"], images.SYNTAXES)
    images.lines(images.parse(texts["image"]), texts["image_syntax"])


def choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises AnswerError unless `value` is one of `choices`; names them and the nearest."""
    known = list(choices)
    if value not in known:
        nearest = get_close_matches(value, known, n=1, cutoff=0.4)
        raise AnswerError(
            wrong(
                name,
                value,
                "no such choice",
                f"want one of {', '.join(known)}",
                f"Write {name}={nearest[0] if nearest else known[0]}",
            )
        )


def slug(project_name: str) -> str:
    """The project's folder: `Brain tumours, 2nd try` -> `brain-tumours-2nd-try`. Never a path: letters, digits and
    dashes alone.
    """
    plain = unicodedata.normalize("NFKD", project_name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:50].strip("-") or "project"


def login() -> str:
    """The name of whoever answers, for a default; `username` where it is no user name."""
    name = os.environ.get("USER", "")
    return name if _WORDS["username"][0].fullmatch(name) else "username"


def submit_string(value: str) -> str:
    """A string literal for a submit file that ends up in the job ad as `value`, for values that `check` accepts.

    Every `$` is written `$(DOLLAR)`: condor_submit expands macros inside quotes too.
    """
    return '"' + value.replace("$", "$(DOLLAR)").replace('"', '\\"') + '"'


def _word(name: str, value: str) -> None:
    pattern, wanted, fix = _WORDS[name]
    if not pattern.fullmatch(value):
        raise AnswerError(wrong(name, value, "not such a name", wanted, fix))


def _project_name(field: str, name: str) -> None:
    what = ""
    if not name.strip():
        what = "empty"
    elif name != name.strip():
        what = "blanks at its ends"
    elif len(name) > LONGEST_NAME:
        what = f"{len(name)} characters"
    elif not name.isprintable():
        what = "a character that is not printable"
    elif "$$" in name:
        what = "$$, which HTCondor replaces when the job is matched"
    elif "$(dollar)" in name.lower():
        what = "$(DOLLAR), which HTCondor replaces whatever stands before it"
    elif "\\" in name:
        what = "a backslash, which HTCondor reads as the start of an escape"
    if what:
        wanted = f"want a title of at most {LONGEST_NAME} printable characters on one line, without $$ or backslashes"
        raise AnswerError(wrong(field, name, what, wanted, "Choose a plainer title"))


def _number(name: str, value: str) -> None:
    most = MOST[name]
    if not re.fullmatch(r"[1-9][0-9]{0,17}", value, re.ASCII) or int(value) > most:
        raise AnswerError(
            wrong(name, value, "not such a number", f"want a whole number from 1 to {most}", f"Write {name}=1 or more")
        )


def _gpu_memory(name: str, value: str) -> None:
    try:
        mebibytes(value)
    except ValueError as fault:
        what, wanted = str(fault).split("; ")
        fix = "Cards show less than their name: 38GB for a 40 GB card"
        raise AnswerError(wrong(name, value, what, wanted, fix)) from None


def _choice(name: str, value: str) -> None:
    choice(name, value, CHOICES[name])


def _data(field: str, data: str) -> None:
    """A folder, an archive, or the osdf:// URL of an archive; its last part becomes a name in the job's working
    directory.
    """
    remote = data.startswith("osdf://")
    path = data[len("osdf://") :] if remote else data
    name = path.rsplit("/", 1)[-1]
    what, fix = "", "Rename it"
    if len(data) > LONGEST_PATH:
        what = f"{len(data)} characters"
    elif "://" in path or (remote and not re.match(r"/[^/]", path)):
        what, fix = "not such a URL", "Write it as osdf:///ospool/AP/data/USER/NAME.tar.gz"
    elif data.startswith("~"):
        what, fix = "HTCondor does not know ~", "Write the whole path"
    elif data.endswith("/"):
        what, fix = "a slash at the end, which would send the folder's files without the folder", "Leave the slash out"
    elif (
        not re.fullmatch(r"[\w ./@+=~:-]+", data)
        or not data.isprintable()
        or data != data.strip()
        or data.startswith("-")
    ):
        what = "empty, or with characters that a submit file takes for its own"
    elif ".." in path.split("/") and remote:
        what, fix = "not such a URL", "Write it without .."
    elif name in (".", "..", *TAKEN):
        what = "a name that means something else in the job's folder"
    elif remote and not name.lower().endswith(ARCHIVES):
        what, fix = "not an archive", "Pack it, `tar czf NAME.tar.gz NAME`, and put it there under a new name"
    if what:
        wanted = f"want a folder, an archive ({', '.join(ARCHIVES)}) or osdf:///ospool/AP/data/USER/NAME.tar.gz"
        raise AnswerError(wrong(field, data, what, wanted, fix))


# by question, in the order in which they are asked; each template asks some of them
_CHECKS: dict[str, Callable[[str, str], None]] = {
    "project_name": _project_name,
    **dict.fromkeys(_WORDS, _word),
    "gpu_memory": _gpu_memory,
    "data": _data,
    **dict.fromkeys(MOST, _number),
    **dict.fromkeys(CHOICES, _choice),
}
