"""Answers from a bad day: each is refused in one line, or stands in the job ad exactly as it was given."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from submit.errors import AnswerError
from tests.conftest import Condor
from tests.templates.conftest import render
from tests.templates.test_dry_run import ad, dry_run

FRAGMENTS = [
    '"', "'", "`id`", "$(touch pwned)", "$(data)", "$$(Machine)", "$(DOLLAR)", "(DOLLAR)", "${HOME}",
    "$ENV(HOME)", "$F(data)", "$", "\\", "\\n", "\n", "\r", "\t", ";", "|", "&&", "#", "%", ",", "=", "@=end",
    "queue 9", "{{ 7 * 7 }}", "{% raw %}", "{# x #}", "{{ cookiecutter }}", "}}", "../", "/etc/passwd", "-",
    "~", " ", "é", "脳", "\u202e", "\u2028", "🧠", "\x00", "\x7f", "True", "undefined", "osdf:///a/", ".zip",
    ".sif",
]  # fmt: skip
TEXT = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=5).map("".join),
    st.tuples(st.just("Tumour "), st.sampled_from(FRAGMENTS), st.just(" x")).map("".join),
    st.text(min_size=1, max_size=30),
    st.sampled_from(["x" * 10_000, "../" * 20, "a" * 100, "é" * 100]),
)
QUESTIONS = [
    "project_name",
    "data",
    "image",
    "ospool_project",
    "username",
    "access_point",
    "gpu_memory",
    "gpus",
    "epochs",
]
# project_name and data take the widest range of characters
ANSWER = st.tuples(st.sampled_from([*QUESTIONS, *["project_name", "data"] * 4]), TEXT)

WHERE = {
    "project_name": lambda job: job["OsgdlProject"],
    "data": lambda job: str(job["TransferInput"]).split(",")[2],
    "image": lambda job: job["SingularityImage"] if "SingularityImage" in job else job["ContainerImage"],
    "ospool_project": lambda job: job["ProjectName"],
    "gpus": lambda job: str(job["RequestGPUs"]),
}


def in_the_ad(job: Any, name: str, value: str) -> None:
    if name == "data":
        assert shlex.split(job["Arguments"])[1] == value.split("/")[-1]
    if name in WHERE:
        found = WHERE[name](job)
        # a container's file is named by its last part where it is transferred
        assert found == value or (name == "image" and value.endswith("/" + found)), (name, value, found)


def render_or_refuse(folder: Path, name: str, value: str) -> Path | None:
    """The project, or None after a message that names the question, on one line, with nothing written."""
    try:
        return render(folder, **{name: value})
    except AnswerError as refusal:
        text = str(refusal)
        assert text.startswith(f"{name}="), text
        assert text.isprintable() and len(text) < 700
        assert not list(folder.iterdir())
        return None


@pytest.mark.pool
@pytest.mark.slow
def test_refused_or_exactly_as_given(condor: Condor, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    taken: list[tuple[str, str]] = []

    @settings(
        max_examples=150 if request.config.getoption("--soak") else 12,
        deadline=None,
        phases=[Phase.generate],  # an example is eight renderings: too slow to shrink
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(ANSWER, min_size=8, max_size=8))
    def trial(answers: list[tuple[str, str]]) -> None:
        made = []
        for name, value in answers:
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            project = render_or_refuse(folder, name, value)
            if project:
                assert [path.name for path in folder.iterdir()] == [project.name]
                assert json.loads((project / "osgdl.json").read_text())["answers"][name] == value
                made.append((name, value, project))
        if made:
            dry_run(condor, [project for _, _, project in made])
        for name, value, project in made:
            in_the_ad(ad(project), name, value)
            in_the_ad(ad(project, "predict"), name, value)
            taken.append((name, value))

    trial()
    assert taken, "every answer was refused: the test tests nothing"


TAKEN = [
    ("project_name", 'Dong\'s "U-Net", 2017; #1 100% {{ 7 * 7 }} {% if %} $(touch pwned) $ENV(HOME) `id` 脳 🧠 %s'),
    ("project_name", "{{ cookiecutter.username }}"),
    ("project_name", "../../etc/passwd"),
    ("project_name", "-rf *"),
    ("project_name", '"'),
    ("project_name", "'''"),
    ("project_name", "$"),
    ("project_name", "$(x) (DOLLAR) $ (DOLLAR)"),
    ("data", "sets/Köln data+v1=a@b"),
    ("data", "../shared/brats2015"),
    ("image", "../a-1_b+c.sif"),
    ("image", "docker://localhost:5000/a/b@sha256:00ff"),
]


@pytest.mark.pool
def test_answers_that_look_bad_and_are_taken(condor: Condor, tmp_path: Path) -> None:
    made = []
    for number, (name, value) in enumerate(TAKEN):
        (tmp_path / str(number)).mkdir()
        made.append(render(tmp_path / str(number), **{name: value}))
    dry_run(condor, made)
    for project, (name, value) in zip(made, TAKEN, strict=True):
        in_the_ad(ad(project), name, value)
        in_the_ad(ad(project, "predict"), name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_name", 'x"\nqueue 99\n+y="'),
        ("project_name", "x" * 10_000),
        ("project_name", "$$(Machine)"),
        ("data", "{{ 7 * 7 }}"),
        ("data", "a, /etc/passwd"),
        ("data", "$(touch pwned)"),
        ("data", "x\nqueue 99"),
        ("image", "x.sif\nqueue 99"),
        ("image", '"; rm -rf /; ".sif'),
        ("ospool_project", 'X"\n+y = "'),
        ("username", "../../root"),
        ("gpus", "{{ 1 + 1 }}"),
        ("epochs", "1\nsteps = 0"),
        ("gpu_memory", "1GB\nqueue 9"),
    ],
)
def test_answers_that_are_refused_leave_nothing(tmp_path: Path, name: str, value: str) -> None:
    assert render_or_refuse(tmp_path, name, value) is None
