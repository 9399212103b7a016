"""The command line as a user meets it: quick help, one line for a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("cookiecutter", "htcondor2", "matplotlib", "numpy", "rich", "tensorflow", "keras")


def osgdl(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "submit", *words], capture_output=True, text=True, cwd=cwd, timeout=60)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['osgdl', '--help']\nfrom submit import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    )
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "new",
        "doctor",
        "demo",
        "gpus",
        "check",
        "migrate",
        "match",
        "pool up",
        "pool status",
        "pool exec",
        "pool logs",
        "pool down",
        "image build",
        "image push",
        "image use",
        "pool osdf",
        "stage put",
        "stage plan",
        "stage verify",
        "stage list",
        "stage diff",
        "stage prune",
        "stage use",
        "stage results",
        "folds",
        "sweep make",
        "sweep results",
    ],
)
def test_every_command_has_help(command: str) -> None:
    done = osgdl(*command.split(), "--help")
    assert done.returncode == 0 and len(done.stdout.splitlines()) > 4


def test_a_mistake_is_one_line_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    words = ("image", "build", "nothing.def", "-o", "x.sif")
    done = osgdl(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "osgdl: nothing.def: no such file; want a definition such as the project's container.def\n"
    assert "Traceback" in osgdl("--debug", *words, cwd=tmp_path).stderr


def test_an_image_is_built_where_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "container.def").write_text("Bootstrap: docker\nFrom: x\n%post\n  true\n")
    done = osgdl("image", "build", "-o", "docker://a/b", cwd=tmp_path)
    assert done.returncode == 1 and "nothing can be built there; want NAME.sif or a /cvmfs path" in done.stderr
    (tmp_path / "old.sif").write_text("")
    done = osgdl("image", "build", "-o", "old.sif", cwd=tmp_path)
    assert done.returncode == 1 and "a new image wants a new name. Or: --force" in done.stderr
    done = osgdl("image", "build", "--cpu", "-o", "new.sif", cwd=tmp_path)
    assert done.returncode == 1 and "no `name==version` in it" in done.stderr


def test_new_says_what_is_not_there_yet(tmp_path: Path) -> None:
    done = osgdl("new", "--no-input", "image=unet-v1.sif", cwd=tmp_path)
    assert done.returncode == 0
    said = [line.removeprefix("before you submit: ") for line in done.stderr.splitlines() if "before you" in line]
    assert len(said) == 3
    assert said[0].startswith("image='unet-v1.sif': no such file")
    assert said[1].startswith("data = data: not there yet. Put the data there, or `osgdl stage` it")
    assert said[2].startswith("+ProjectName = My_OSPool_Project stands for yours on the OSPool, in each .sub: `grep")
    words = ["project_name=Other", "ospool_project=Brains", "data=osdf:///ospool/ap40/data/jane/brats.tar.gz"]
    assert "before you submit" not in osgdl("new", "--no-input", *words, cwd=tmp_path).stderr
    done = osgdl("new", "photon-propagation", "--no-input", "ospool_project=IceCube", cwd=tmp_path)
    assert "before you submit" not in done.stderr, "its ice is there"


def test_demo_wants_patients_to_train_on(tmp_path: Path) -> None:
    done = osgdl("demo", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 1 and "no train/ in it; want a folder with train/ and validation/" in done.stderr
    assert not (tmp_path / "out").exists()


def test_doctor_says_what_there_is() -> None:
    done = osgdl("doctor", "--json")
    report = json.loads(done.stdout)
    names = [row["name"] for row in report["findings"]]
    assert {"Python", "HTCondor", "project", "OSDF", "Apptainer", "user namespaces", "disk"} <= set(names)
    assert all(row["todo"] for row in report["findings"] if row["state"] == "missing")
    assert done.returncode == (0 if report["usable"] else 1)
    assert "You can" in osgdl("doctor").stdout


def test_gpus_prints_lines_or_json_and_fails_for_an_image_without_a_gpu() -> None:
    done = osgdl("gpus", "tensorflow==2.21")
    assert done.returncode == 0 and "gpus_minimum_capability = 6.0" in done.stdout
    held = json.loads(osgdl("gpus", "torch==2.8", "--memory", "40GB", "--json").stdout)
    assert (held["gpus_minimum_capability"], held["gpus_minimum_memory"]) == ("7.0", "37683MB")
    done = osgdl("gpus", "tensorflow/tensorflow:2.18.0-gpu")
    assert done.returncode == 1 and "sees no GPU" in done.stdout
    for words in (("--batch", "8"), ("--precision", "float32"), ("--model", "m.json", "--memory", "40GB")):
        done = osgdl("gpus", "tensorflow==2.21", *words)  # would do nothing, or not what it says
        assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    done = osgdl("gpus", "keras==3")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("osgdl: framework='keras': unknown")


def test_check_exits_by_severity_and_mends(tmp_path: Path) -> None:
    file = tmp_path / "job.sub"
    file.write_text("executable = run.sh\nrequest_gpu = 1\nqueue\n")
    (tmp_path / "run.sh").write_text("#!/bin/sh\ntrue\n")
    done = osgdl("check", "job.sub", cwd=tmp_path)
    assert done.returncode == 1 and "job.sub:2: error OSG107" in done.stdout
    found = json.loads(osgdl("check", "job.sub", "--json", cwd=tmp_path).stdout)
    assert set(found[0]) == {"file", "line", "rule", "severity", "message", "fix", "doc"}
    done = osgdl("check", "--fix", cwd=tmp_path)
    assert "mended" in done.stderr and "request_gpus = 1" in file.read_text()
    assert osgdl("check", cwd=tmp_path).returncode == 0  # warnings alone
    done = osgdl("check", "none.sub", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("osgdl: none.sub: no such file")


def test_migrate_shows_then_writes(tmp_path: Path) -> None:
    file = tmp_path / "old.sub"
    file.write_text("executable = a\nrequest_gpus = 1\nrequirements = (CUDACapability >= 7.0)\nqueue\n")
    done = osgdl("migrate", "old.sub", cwd=tmp_path)
    assert done.returncode == 1 and "+gpus_minimum_capability" in done.stdout and "CUDACapability" in file.read_text()
    done = osgdl("migrate", "old.sub", "--write", cwd=tmp_path)
    assert done.returncode == 0 and "CUDACapability" not in file.read_text()
    assert osgdl("migrate", cwd=tmp_path).returncode == 0
    (tmp_path / "flow.dag").write_text("JOB A old.sub\n")
    done = osgdl("migrate", "flow.dag", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == (
        "osgdl: flow.dag: a workflow; want a submit file. Name those of its nodes.\n"
    )


def test_match_wants_a_file_that_is_there(tmp_path: Path) -> None:
    assert osgdl("match").returncode == 2
    done = osgdl("match", "none.sub", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "") and "none.sub: no such file" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage", "data", "out", "--scored"), "--scored: no folds; it says what"),
        (("stage", "data", "out", "--i-know-it-is-allowed", " "), "--i-know-it-is-allowed: no reason; those who use"),
        (("stage", "plan", "data", "osdf://ospool/ap40/data/jane"), "DEST='osdf://ospool/ap40/data/jane': not an"),
        (("stage", "plan", "data", "osdf:///ospool/ap40/data//b"), "DEST='osdf:///ospool/ap40/data//b': an empty name"),
    ],
)  # fmt: skip
def test_a_wrong_staging_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    done = osgdl(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"osgdl: {said}")
    assert not (tmp_path / "out").exists()


def test_a_cache_that_cannot_be_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSGDL_CACHE", str(tmp_path / "file/cache"))
    done = osgdl("stage", "data", "out", "--no-verify", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "Not a directory; a folder that can be written is wanted. Set OSGDL_CACHE to one." in done.stderr


def test_what_stops_a_staging_says_how_to_go_on(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['osgdl', 'stage', 'data', 'out', '--no-verify']\n"
        "from submit import cli, staging\n"
        "def stopped(*_): raise KeyboardInterrupt\n"
        "staging.stage = stopped\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr.startswith("stopped; what was uploaded stays, and the same command")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text("000 (012.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n...\n")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "submit", "watch", "--once", "--json", str(tmp_path)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "osgdl: No space left on device\n"


def test_a_terminal_without_our_letters(tmp_path: Path) -> None:
    (tmp_path / "12.log").write_text(
        "000 (012.000.000) 2026-11-20 10:00:00 Job submitted from host: <1>\n...\n"
        '001 (012.000.000) 2026-11-20 10:00:10 Job executing on host: <1>\n\tGLIDEIN_Site = "Zürich ✓"\n...\n'
    )
    words = [sys.executable, "-m", "submit", "explain", "12", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, timeout=60, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0 and "Zürich ?".encode("latin-1") in done.stdout


def test_nothing_for_a_terminal_in_an_error() -> None:
    done = osgdl("explain", "no\x1b[2J\x07where")
    assert done.returncode == 1 and done.stderr.startswith("osgdl: no [2J where: not there")
