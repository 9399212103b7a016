"""The command lines of the pages are typed in the order of the page, on an access point whose pool is the local one.

`condor_...` are HTCondor's own programs. What is submitted is put on hold, and a workflow is not started: that jobs run
through is seen in tests/pool. A line that is not typed here stands in one of the tables below, with who types it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from submit import pool_root, project
from tests.conftest import Condor
from tests.docs.commands import PAGES, ROOT, blocks, commands
from tests.pages import written

# a line, and the test that types it
ELSEWHERE = {
    r"make demo\b.*": "test_the_demo_with_a_shorter_training",
    r"make (test|soak|setup|data|docs|notebooks)\b.*": "test_the_makefile_knows_them",
    r"condor_(tail|ssh_to_job)\b.*": "test_looking_inside_a_running_job",
    r"osgdl try \S+\.sub.*": "test_a_fault_comes_to_what_the_table_says",
    r"osgdl image build --cpu .*": "test_it_leaves_comes_back_and_is_through",
    r"(osgdl ensemble\b.*|condor_submit ensemble\.sub)": "test_networks_predict_together_in_chunks",
    r"osgdl (submit|watch) .*--local": "test_watch_sees_it_run_and_end",
    r"osgdl submit folds\.dag": "test_a_workflow",
    r"osgdl sweep results": "test_a_sweep_comes_home_best_first",
    r"jupyter lab notebooks": "test_a_notebook_runs_from_top_to_bottom",
    r"pip install \S+": "test_the_wheel_has_the_templates_and_no_caches",
    r"python3 -m venv .*": "test_the_wheel_has_the_templates_and_no_caches",
}
# a line, and why it is parsed alone
NOT_HERE = {
    r"make bench\b.*": "hours, and a quiet machine",
    r"\.venv/bin/python -m benchmarks\..*": "hours, and a quiet machine",
}
# what stands for a reader's own names
YOURS = {
    "/path/to/patients": "$PATIENTS",
    "MY_PROJECT": "OSGDL_Tests",
    "/data/USER/": "/data/$USER/",
    "staged/VALIDATION-VIEW.json": '"$(ls -t staged/*-manifest-*.json | head -n 1)"',
    "staged/patients-manifest-HASH.json": '"$(ls staged/patients-manifest-*.json | head -n 1)"',
    "staged/A.json staged/B.json": "$(ls staged/*-manifest-*.json | head -n 2)",
    "CLUSTER": "$CLUSTER",
    "logs/12.log": "logs/$CLUSTER.log",
    "osgdl report brain-tumours photons": "cp -r . ../photons; osgdl report . ../photons",
}
INSTEAD = {
    "for fold in 0 1 2 3 4;": "for fold in 0 1;",  # five trainings, of which two show it
    "osgdl image build -o": "echo image >",  # its base comes from a registry of images
}
BARE = {"README.md", "CONTRIBUTING.md", "ospool-quick-start.md", "your-own-data.md", "your-own-script.md"}
# examples of --help: their files are not there
PARSED_ALONE = {"commands.md"}
TYPED = [page for page in PAGES if blocks(page) and page.name not in PARSED_ALONE]

SHIM = """#!/bin/sh
# HTCondor's programs of the pool; a submit holds its jobs, a workflow is written and not started
name=$(basename "$0")
case $name in
    condor_submit) set -- "$@" -append "hold = True" ;;
    condor_submit_dag) set -- -no_submit "$@" ;;
    condor_watch_q) # wants a terminal, and never ends
        script -qefc "timeout 3 $OSGDL pool exec -- condor_watch_q $*" /dev/null < /dev/null > /dev/null
        [ $? = 124 ]; exit ;;
esac
exec "$OSGDL" pool exec -- "$name" "$@"
"""
PROGRAMS = ("submit", "submit_dag", "q", "watch_q", "status", "history", "rm", "release", "version")
OSGDL_SHIM = """#!/bin/sh
# a reader's `osgdl pool exec -- condor_submit` is held too
[ "$1 $2 $3" = "pool exec --" ] && case $4 in condor_*) shift 3; exec "$@" ;; esac
# 1 says that a job failed or is held: ours is, and watch waits for it for ever
case "$*" in
    watch*--once* | explain*) limit=120 ;;
    watch*) limit=8 ;;
    *) exec "$OSGDL" "$@" ;;
esac
timeout $limit "$OSGDL" "$@" > seen 2> said; code=$?
cat seen; cat said >&2
! grep -q ^osgdl: said && case $code in 0 | 1) ;; 124) [ -s seen ] && [ $limit = 8 ] ;; *) exit 1 ;; esac
"""
PYTHON_SHIM = """#!/bin/sh
# trainings of four steps
case "$*" in
    "-m unet_segmentation train "*)
        set -- "$@" --set train.minutes=0 --set train.steps=4 --set train.patch=32 --set model.width=4 \\
            --set train.batch_size=2 ;;
esac
exec "$PYTHON" "$@"
"""


@dataclass(frozen=True)
class AccessPoint:
    """A machine as the pages take it for granted."""

    environment: dict[str, str]

    def type(self, page: Path, script: str, folder: Path) -> None:
        """Runs a page's lines in one shell; the line that failed is the last that it shows."""
        command = ["bash", "-euo", "pipefail", "-c", f"set -x\n{script}"]
        done = subprocess.run(
            command, cwd=folder, env={**self.environment, "HOME": str(folder)},
            input="\n" * 40, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        # a sweep's jobs are not all on hold: they would take the slots that the next page looks for
        ours = f'substr(Iwd, 0, {len(str(folder))}) == "{folder}"'
        subprocess.run(["condor_rm", "-constraint", ours], env=self.environment, capture_output=True)
        if done.returncode:
            pytest.fail(f"{page.name}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", pytrace=False)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture(scope="session")
def access_point(condor: Condor, tmp_path_factory: pytest.TempPathFactory) -> AccessPoint:
    """Programs, patients (phantoms), /ospool and a user."""
    there = tmp_path_factory.mktemp("access-point")
    programs = there / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        program(programs, f"condor_{name}", SHIM)
    program(programs, "osgdl", OSGDL_SHIM)
    for name in ("python", "python3"):
        program(programs, name, PYTHON_SHIM)
    (there / "ospool" / "ap40" / "data" / "jane").mkdir(parents=True)
    patients = there / "patients"
    environment = {
        **os.environ,
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OSGDL": str(Path(sys.executable).parent / "osgdl"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "USER": "jane",
        "OSGDL_CACHE": str(pool_root.cache()),  # in whatever folder a page is at home
        "OSGDL_OSPOOL": str(there / "ospool"),
        "PATIENTS": str(patients),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [
        "-m",
        "unet_segmentation",
        "phantom",
        "--out",
        str(patients),
        "--patients",
        "6",
        "--size",
        "48",
        "48",
        "32",
    ]
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    return AccessPoint(environment)


def prostate(folder: Path, patients: Path) -> None:
    """The page's own organ: two images and two labels of each phantom, under the names that its layout says."""
    for patient in sorted(patients.iterdir()):
        for source, target in (("t2", "imagesTr/{}_t2"), ("flair", "imagesTr/{}_adc"), ("seg", "labelsTr/{}")):
            image = nibabel.load(patient / f"{patient.name}_{source}.nii.gz")
            values = np.asarray(image.dataobj)
            values = np.where(values == 4, 1, values) if source == "seg" else values
            file = folder / f"{target.format(patient.name)}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, image.affine), file)


def script(page: Path) -> str:
    """The lines of a page as this test types them."""
    lines: list[str] = []
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            bare = re.sub(r"\s+#.*", "", line).strip()
            if any(re.fullmatch(pattern, part) for part in bare.split(" && ") for pattern in (*ELSEWHERE, *NOT_HERE)):
                continue
            for written_there, typed in (YOURS | INSTEAD).items():
                line = line.replace(written_there, typed)
            lines.append(line)
    return "\n".join(lines)


@pytest.mark.pool
@pytest.mark.slow
@pytest.mark.xdist_group("pages")
@pytest.mark.parametrize("page", TYPED, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_lines_of_a_page_work(page: Path, access_point: AccessPoint, tmp_path: Path) -> None:
    typed = script(page)
    if not typed.strip():
        pytest.skip("each of its lines is typed by another test, or not here")
    folder = tmp_path
    if page.name not in BARE:
        folder = project.new(project.DEFAULT_TEMPLATE, {"ospool_project": "OSGDL_Tests"}, tmp_path, ask=False)
        (folder / "data").symlink_to(access_point.environment["PATIENTS"])
    for block in (block for language in ("toml",) for block in blocks(page, language)):
        name = re.match(r"# (\w+\.toml)\n", block.text)
        (folder / (name[1] if name else "space.toml")).write_text(block.text)
    if page.name == "your-own-data.md":
        for name in ("prostate", "new"):
            prostate(folder / name, Path(access_point.environment["PATIENTS"]))
    if page.name not in BARE:  # the job that a page talks about
        typed = f"CLUSTER=$(condor_submit -terse train.sub | cut -d. -f1)\n{typed}"
    access_point.type(page, typed, folder)


@pytest.mark.pool
@pytest.mark.slow
@pytest.mark.xdist_group("pages")
def test_the_demo_with_a_shorter_training(access_point: AccessPoint, tmp_path: Path) -> None:
    code = "from submit import cli, demo; demo.PHANTOM_EPOCHS = 1; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo"], cwd=tmp_path, env=access_point.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["job"]["exit_code"] == 0 and len(summary["dice"]) == 2
    assert all(Path(picture).is_file() for picture in [*summary["pictures"], summary["report"]])
    assert done.stdout.splitlines()[-1].split("  ")[1] == "osgdl pool down"


def test_who_types_the_others_is_there() -> None:
    assert set(ELSEWHERE.values()) <= written()
    lines = "\n".join(block.text for page in TYPED for block in blocks(page))
    for pattern in (*ELSEWHERE, *NOT_HERE):
        assert re.search(pattern, lines), f"{pattern}: no page says that any more"


def test_the_makefile_knows_them() -> None:
    """`make -n` of each target: its rules can be made. What they do, CI's own `make test` and tests/ do."""
    targets = {
        words[1] for page in TYPED for block in blocks(page) for words in commands(block.text) if words[0] == "make"
    }
    for target in sorted(targets):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.pool
@pytest.mark.xdist_group("pages")
def test_htcondor_has_the_programs(condor: Condor, tmp_path: Path) -> None:
    lines = [words for page in PAGES for block in blocks(page) for words in commands(block.text)]
    for name in sorted({word for words in lines for word in words if re.fullmatch(r"condor_[a-z_]+", word)}):
        assert condor.run(["sh", "-c", f"command -v {name}"], tmp_path).returncode == 0, name
