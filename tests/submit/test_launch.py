"""What `osgdl submit` refuses before anything is asked of HTCondor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from submit import check, launch, pool, schedd
from submit.cli import app
from submit.errors import KitError
from submit.submission import Submission, assignments

SUB = """executable = run.sh
if ! defined data
    data = data
endif
request_cpus = 1
request_memory = 1GB
arguments = $(data) $(settings:)
log = logs/$(Cluster).log
queue 1
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "job.sub").write_text(SUB)
    return tmp_path / "job.sub"


def start(file: Path, *words: str, force: str = "", typed: str = "") -> tuple[list[str], str]:
    said: list[str] = []
    with pytest.raises(KitError) as refused:
        launch.run(file, words, local=False, force=force, yes=False, ask=lambda question: typed, say=said.append)
    return said, str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    assert "no such file; want a submit file or a .dag" in start(tmp_path / "none.sub")[1]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("request_cpus=2", r"job.sub:5 sets it too, and that line wins"),
        ("dta=x", r"nothing in .*job.sub uses it; .* The nearest that counts is data"),
        ("zzzzzz=x", r"Leave it out"),
        ("data", r"assignment='data': none; NAME=VALUE in one line is wanted"),
        ("data=a\nqueue 5", r"NAME=VALUE in one line is wanted"),
        ("2=x", r"NAME=VALUE in one line is wanted"),
    ],
    ids=["lost", "typo", "unused", "no-value", "two-lines", "no-name"],
)
def test_words_that_would_change_nothing(job: Path, word: str, wanted: str) -> None:
    assert re.search(wanted, start(job, word)[1], re.DOTALL)


def test_a_name_twice(job: Path) -> None:
    assert "data='b': given twice" in start(job, "data=a", "Data=b")[1].replace("Data", "data")


def test_words_that_count_are_seen_by_every_rule(job: Path) -> None:
    given = assignments(["data=/far/away", "settings='a b'", '+ProjectName="X"', "priority = 5", "request_tpus=1"])
    seen = Submission.read(job, given)
    launch._refuse_lost(seen, given)
    assert seen.value("arguments") == "/far/away 'a b'" and seen.value("data") == "/far/away"
    assert seen.has("priority") and seen.value("+ProjectName") == '"X"'
    assert Submission.read(job).value("arguments") == "data"
    without, having = ({one.rule.id for one in check.check([job], words)} for words in (None, given))
    assert "OSG601" in without and "OSG601" not in having, "the project's name"


def test_what_is_sent_must_be_there(job: Path) -> None:
    """The file leaves `data` open, so `osgdl check` cannot know; here its value is known."""
    job.write_text(
        '+ProjectName = "X"\nshould_transfer_files = YES\n'
        + SUB.replace(
            "queue 1", "transfer_input_files = run.sh, $(data), osdf:///ospool/ap40/data/jane/x-1.tar\nqueue 1"
        )
    )
    assert re.search(r"job\.sub:\d+: there is no data, not submitted; .*data=FOLDER", start(job)[1])
    assert "there is no patients, not submitted" in start(job, "data=patients")[1]
    (job.parent / "patients").mkdir()
    assert "nothing is in patients, not submitted" in start(job, "data=patients")[1]
    (job.parent / "patients" / "one.nii").touch()
    assert "patients, not submitted" not in start(job, "data=patients")[1]
    assert "there is no" not in start(job, force="made by then")[1]


def test_what_the_local_pool_cannot_see_is_not_sent_there(
    job: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "osdf:///ospool/ap40/data/jane/x-1.tar"
    job.write_text(SUB.replace("queue 1", f"transfer_input_files = run.sh, {url}\nqueue 1"))
    assert f"{url}: not in the local pool's OSDF, not submitted" in start(job, force="")[1]
    place = pool.osdf() / url.removeprefix("osdf:///")
    place.parent.mkdir(parents=True)
    place.touch()
    assert "not in the local pool's OSDF" not in start(job)[1]
    monkeypatch.setattr(schedd, "is_local", lambda local: False)
    place.unlink()
    assert "not in the local pool's OSDF" not in start(job)[1]


def test_a_placeholder_is_no_project_of_the_ospool(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job.write_text(SUB.replace("queue 1", '+ProjectName = "MY_PROJECT"\nqueue 1'))
    workflow = job.with_name("two.dag")
    workflow.write_text("JOB one job.sub\n")
    assert "OSG622" not in start(job)[1], "the local pool takes any"
    monkeypatch.setattr(schedd, "is_local", lambda local: False)
    for file in (job, workflow):
        said, why = start(file)
        assert "MY_PROJECT" in said[0] and re.search(r"1 error \(OSG622\), not submitted", why), why
        assert "OSG622" not in start(file, force="it is its name")[1]


def test_patients_names_do_not_leave(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`osgdl stage` looks at what goes onto the OSDF; a folder that is sent along is looked at here."""
    lines = '+ProjectName = "X"\nshould_transfer_files = YES\ntransfer_input_files = run.sh, $(data)\nqueue 1'
    job.write_text(SUB.replace("queue 1", lines))
    patient = job.parent / "data" / "Smith_John_1961-03-04"
    patient.mkdir(parents=True)
    (patient / "scan.json").write_text('{"PatientName": "Smith^John"}')
    assert "identify a person" not in start(job)[1], "to the local pool nothing leaves"
    monkeypatch.setattr(schedd, "is_local", lambda local: False)
    said, why = start(job)
    assert "data=data: something may identify a person, not submitted" in why and "--scrub DIR" in why
    assert any(line.startswith("found: ") for line in said) and "Smith" not in "".join(said)
    assert "identify a person" not in start(job, force="a phantom's name")[1]
    workflow = job.with_name("one.dag")
    workflow.write_text("JOB one job.sub\n")
    assert "data=data: something may identify a person" in start(workflow)[1]
    elsewhere = job.parent / "elsewhere"
    (job.parent / "data").rename(elsewhere)
    (job.parent / "data").mkdir()
    (job.parent / "data" / "linked").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(elsewhere)
    assert "identify a person" in start(job)[1], "links are followed"
    (job.parent / "data" / "linked").unlink()
    (job.parent / "data").rmdir()
    elsewhere.rename(job.parent / "data")
    patient.rename(patient.with_name("case-0001"))
    (job.parent / "data/case-0001/scan.json").write_text('{"EchoTime": 0.1}')
    assert "identify a person" not in start(job)[1]
    monkeypatch.chdir(job.parent)
    assert "identify a person" not in start(Path("job.sub"))[1]


def test_errors_stop_it(job: Path) -> None:
    job.write_text(SUB.replace("request_cpus", "request_cpu"))
    said, why = start(job)
    assert "OSG107" in said[0] and "request_cpus" in said[0]
    assert "not submitted. Mend them (osgdl check --fix does what is certain), or say why they are none" in why
    assert "not submitted" in start(job, force="  ")[1], "a reason has words"
    # past the errors it asks HTCondor, which is not here or whose pool is down
    assert "OSG107" not in start(job, force="it is fine")[1]
    assert "OSG107" not in start(job, typed="it is fine")[1]


@pytest.fixture(autouse=True)
def no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSGDL_POOL", "none-such")


def test_no_pool(job: Path) -> None:
    assert "condor_submit: not here, and the local pool is down" in start(job, force="what is missing is missing")[1]


def test_the_command_s_line(job: Path) -> None:
    done = CliRunner().invoke(app, ["submit", str(job), "dta=x"])
    assert done.exit_code == 1 and isinstance(done.exception, KitError)
