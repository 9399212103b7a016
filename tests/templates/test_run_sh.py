"""run.sh in a folder as bare as a job's, with an empty environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.templates.conftest import render

CODES = [0, 85, 75, 65, 1, 3, 137]
# stands at the trainer's place: notes how it was called, and leaves with the code that is the data's name
STUB = """\
import json, os, sys
here = {"arguments": sys.argv[1:], "folders": sorted(os.listdir(".")), "trainer": __file__}
print(json.dumps(here))
sys.exit(int(sys.argv[sys.argv.index("--data") + 1].split("-")[-1]))
"""


def run(
    folder: Path, *arguments: str, script: str = "./run.sh", environment: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = ["env", "-i", f"PATH={path}", *environment, script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A job's folder: what train.sub transfers, and nothing else."""
    made = render(tmp_path / "made")
    folder = tmp_path / "the job's folder"
    folder.mkdir()
    for name in ("run.sh", "config.toml"):
        shutil.copy(made / name, folder)
    shutil.copytree(made / "job", folder / "job")
    (folder / "job" / "unet_segmentation" / "__main__.py").write_text(STUB)
    return folder


@pytest.mark.parametrize("code", CODES)
def test_the_exit_code_passes_through(stub: Path, code: int) -> None:
    assert run(stub, "train", f"my data-{code}", "results/1.0").returncode == code


PACKED = ("OSGDL_LARGER_THAN=1kB",)


@pytest.mark.parametrize("code", CODES)
def test_the_exit_code_passes_through_where_large_results_are_packed(stub: Path, code: int) -> None:
    done = run(stub, "train", f"my data-{code}", "results/1.0", environment=PACKED)
    assert done.returncode == code
    assert (stub / "large.tar").exists() == (code == 0), "only what is done has results"


def test_large_results_are_packed_when_the_trainer_is_done(stub: Path) -> None:
    trainer = 'import sys; open(sys.argv[sys.argv.index("--out") + 1] + "/model.keras", "wb").write(bytes(2000))'
    (stub / "job" / "unet_segmentation" / "__main__.py").write_text(trainer)
    done = run(stub, "predict", "data", "results/1.0", "model.keras", environment=PACKED)
    assert (done.returncode, done.stdout) == (0, "large.tar  1 files of more than 1kB, 10,240 bytes\n")
    with tarfile.open(stub / "large.tar") as packed:
        assert packed.getnames() == ["results/1.0/model.keras"]
    assert sorted(path.name for path in (stub / "results/1.0").iterdir()) == ["large.json", "preflight.json"]
    # without it nothing is packed
    (stub / "large.tar").unlink()
    assert run(stub, "train", "data", "results/1.0").returncode == 0
    assert not (stub / "large.tar").exists() and (stub / "results/1.0/model.keras").exists()


def test_a_size_that_is_none_is_wrong_input(stub: Path) -> None:
    done = run(stub, "train", "data-0", "results/1.0", environment=("OSGDL_LARGER_THAN=1",))
    assert done.returncode == 65 and "--larger-than: '1'; a whole number" in done.stderr


@pytest.mark.parametrize("environment", [(), PACKED], ids=["exec", "packed"])
def test_a_job_that_has_to_go_is_told_and_may_finish(stub: Path, environment: tuple[str, ...]) -> None:
    """SIGTERM reaches the trainer, which takes its time and leaves with 85."""
    trainer = """
import pathlib, signal, sys, time
def leave(*_):
    time.sleep(0.5)
    pathlib.Path("left").touch()
    sys.exit(85)
signal.signal(signal.SIGTERM, leave)
pathlib.Path("ready").touch()
time.sleep(60)
"""
    (stub / "job" / "unet_segmentation" / "__main__.py").write_text(trainer)
    path = f"PATH={Path(sys.executable).parent}:/usr/bin:/bin"
    job = subprocess.Popen(["env", "-i", path, *environment, "./run.sh", "train", "data", "results/1.0"], cwd=stub)
    deadline = time.monotonic() + 30
    while not (stub / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.terminate()
    time.sleep(0.1)
    job.terminate()  # a second one changes nothing
    assert job.wait(timeout=30) == 85
    assert (stub / "left").exists()


def test_how_the_trainer_is_called(stub: Path) -> None:
    called = json.loads(run(stub, "train", "$(x) 'a'-0", "results/1.0").stdout)
    wanted = ["train", "--data", "$(x) 'a'-0", "--out", "results/1.0", "--config", "config.toml"]
    assert called["arguments"] == wanted
    # the folders exist from the start: HTCondor holds a job that leaves without one it is to transfer
    assert called["folders"] == ["checkpoint", "config.toml", "job", "results", "run.sh"]
    assert called["trainer"].startswith(str(stub / "job"))
    called = json.loads(run(stub, "predict", "data-0", "results/1.0", "model.keras").stdout)
    assert called["arguments"] == ["predict", "--data", "data-0", "--out", "results/1.0", "--model", "model.keras"]
    called = json.loads(run(stub, "predict", "data-0", "results/1.0", "a b.keras", "--smallest", "1 0").stdout)
    assert called["arguments"][-4:] == ["--model", "a b.keras", "--smallest", "1 0"]


@pytest.mark.parametrize(
    ("ad", "code", "says"),
    [
        ("RequestGPUs = 1\n", 75, "CUDA_VISIBLE_DEVICES: '10000'"),
        ('OsgdlMinGlibc = "99.0"\n', 65, "99.0 (OsgdlMinGlibc)"),
    ],
)
@pytest.mark.parametrize("task", ["train", "predict"])
def test_a_machine_that_fails_the_preflight_never_sees_the_trainer(
    stub: Path, task: str, ad: str, code: int, says: str
) -> None:
    (stub / "dev").mkdir()
    (stub / "dev" / "nvidia0").touch()
    (stub / ".job.ad").write_text(ad)
    environment = (f"_CONDOR_JOB_AD={stub}/.job.ad", f"OSGDL_DEV={stub}/dev", "CUDA_VISIBLE_DEVICES=10000")
    done = run(stub, task, "data-0", "results/1.0", "model.keras", environment=environment)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr and done.stderr.count("\n") == 1
    report = json.loads((stub / "results/1.0/preflight.json").read_text())
    assert report["code"] == code and done.stderr.startswith(report["sentence"])


def test_a_fine_machine_is_said_to_be(stub: Path) -> None:
    done = run(stub, "train", "data-0", "results/1.0")
    assert done.stderr.startswith("preflight  fine: no GPU asked for")
    assert json.loads((stub / "results/1.0/preflight.json").read_text())["verdict"] == "fine"


def test_it_runs_under_any_name_and_from_any_path(stub: Path, tmp_path: Path) -> None:
    """HTCondor may start a copy that lies elsewhere, in the job's folder."""
    copy = tmp_path / "condor_exec.exe"
    shutil.copy(stub / "run.sh", copy)
    assert run(stub, "train", "data-0", "results/1.0", script=str(copy)).returncode == 0
    assert run(tmp_path, "train", "data-0", "results/1.0", script=str(stub / "run.sh")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data='': no name; want a folder or an archive. Leave out the slash at the end of data."),
        (["train", "", "results/1.0"], "data='': no name; want a folder or an archive. Leave out the slash at the end"),
        (["train", "data", ""], "result='': no folder; want run.sh train DATA RESULT, or run.sh predict DATA RESULT"),
        (
            ["predict", "data", "r", ""],
            "model='': no file; want the model.keras of a training, or a folder of several. ",
        ),
        (
            ["dance", "data", "r"],
            "task='dance': unknown; want train, predict or evaluate. Change arguments in the submit file.",
        ),
    ],
)
def test_a_wrong_call_is_wrong_input(stub: Path, arguments: list[str], message: str) -> None:
    done = run(stub, *arguments)
    assert done.returncode == 65
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_project_trains_and_predicts_on_phantoms(tmp_path: Path) -> None:
    """The real trainer, a few steps: leaves with 85 halfway, goes on, and predicts with what it made."""
    pytest.importorskip("tensorflow", reason="needs the train extra")
    folder = render(tmp_path)
    settings = (folder / "config.toml").read_text()
    settings = settings.replace("width = 16", "width = 4").replace("\nepochs = ", "\nsteps = 4\nepochs = ")
    (folder / "config.toml").write_text(settings.replace("leave_every_minutes = 60.0", "leave_every_steps = 2"))
    phantom = [sys.executable, "-m", "unet_segmentation", "phantom", "--out", str(folder / "data"), "--split", "2:1"]
    subprocess.run([*phantom, "--size", "48", "48", "32"], cwd=folder / "job", check=True, capture_output=True)
    first = run(folder, "train", "data", "results/1.0")
    assert first.returncode == 85, first.stderr
    assert list((folder / "checkpoint").iterdir())
    for _ in range(2):
        code = run(folder, "train", "data", "results/1.0").returncode
        if code != 85:
            break
    assert code == 0
    assert (folder / "results/1.0/model.keras").is_file()
    shutil.copy(folder / "results/1.0/model.keras", folder)
    done = run(folder, "predict", "data/validation", "results/2.0", "model.keras")
    assert done.returncode == 0, done.stderr
    assert list((folder / "results/2.0").glob("**/*.nii.gz"))


def test_settings_of_one_job_reach_the_trainer_as_they_stand(stub: Path) -> None:
    words = ["train.loss=dice", 'data.modalities=["flair", "t1c"]', "x.y= a 'b'  c"]
    called = json.loads(run(stub, "train", "data-0", "results/1.0", *words).stdout)["arguments"]
    assert called[called.index("--config") + 2 :] == [word for one in words for word in ("--set", one)]


def test_how_the_scoring_is_called(stub: Path) -> None:
    called = json.loads(run(stub, "evaluate", "data-0", "results/r", "predict-0", "train 1/predictions").stdout)
    assert called["arguments"] == [
        "evaluate", "--data", "data-0", "--out", "results/r", "--config", "config.toml",
        "--predictions", "predict-0", "--predictions", "train 1/predictions",
    ]  # fmt: skip
    done = run(stub, "evaluate", "data-0", "results/r")
    assert done.returncode == 65 and "predictions=''" in done.stderr


def test_a_folder_of_networks_predicts_together(stub: Path) -> None:
    (stub / "models").mkdir()
    for name in ("train-1.keras", "train 0.keras", "notes.txt"):
        (stub / "models" / name).touch()
    called = json.loads(run(stub, "predict", "data-0", "results/p", "models").stdout)["arguments"]
    assert called[5:] == ["--model", "models/train 0.keras", "--model", "models/train-1.keras"]
