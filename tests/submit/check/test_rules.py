"""Every rule of `osgdl check` against a file that breaks it and one that nearly does; mends, JSON, ignore comments."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from submit import check, description, findings
from submit.errors import KitError
from submit.findings import Finding
from submit.rules import load
from tests.templates.conftest import IMAGES, render

HERE = Path(__file__).parent
CASES = sorted(folder for folder in (HERE / "cases").iterdir() if folder.is_dir())
CORRECT = sorted((HERE / "correct").glob("*.sub"))
load()


def case(folder: Path, tmp_path: Path) -> Path:
    """A copy of a case's folder; with the large files that `sizes` names (NAME BYTES a line), which hold nothing, and
    the permissions that `modes` names (NAME MODE a line).
    """
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    if (copy / "sizes").exists():
        for line in (copy / "sizes").read_text().splitlines():
            name, size = line.split()
            (copy / name).touch()
            os.truncate(copy / name, int(size))
    if (copy / "modes").exists():  # git keeps none of a folder
        for line in (copy / "modes").read_text().splitlines():
            name, mode = line.split()
            (copy / name).chmod(int(mode, 8))
    return copy


def subject(folder: Path, name: str) -> Path:
    """bad.sub or bad.dag."""
    return next(folder.glob(f"{name}.dag"), folder / f"{name}.sub")


def found(path: Path) -> set[str]:
    return {finding.rule.id for finding in check.check([path])}


def allowed(folder: Path) -> set[str]:
    file = folder / "also"
    return set(re.findall(r"OSG\d{3}", file.read_text())) if file.exists() else set()


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_file_that_breaks_the_rule_is_found_by_it_alone(folder: Path, tmp_path: Path) -> None:
    copy = case(folder, tmp_path)
    assert found(subject(copy, "bad")) - allowed(folder) == {folder.name}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_file_that_nearly_breaks_the_rule_is_not(folder: Path, tmp_path: Path) -> None:
    assert folder.name not in found(subject(case(folder, tmp_path), "good"))


@pytest.mark.parametrize("rule", findings.rules())
def test_every_rule_has_a_function_and_a_case(rule: str) -> None:
    assert rule in findings._LOOKS
    assert (HERE / "cases" / rule).is_dir()


def test_ids_count_up_within_a_family() -> None:
    numbers = [int(rule[3:]) for rule in findings.rules()]
    for first in {number // 100 for number in numbers}:
        family = [number for number in numbers if number // 100 == first]
        assert family == list(range(first * 100 + 1, first * 100 + 1 + len(family)))


@pytest.mark.parametrize("rule", findings.rules().values(), ids=lambda rule: rule.id)
def test_a_rule_says_what_goes_wrong_and_where_that_is_written(rule: findings.Rule) -> None:
    assert rule.severity in (findings.ERROR, findings.WARNING)
    assert all(len(text) > 5 for text in (rule.reason, rule.fix, rule.source))


FIXED = [
    folder
    for folder in CASES
    if (folder / "bad.sub").exists()
    and any(finding.edits for finding in check.check([folder / "bad.sub"]) if finding.rule.id == folder.name)
]


def test_certain_mends_are_many() -> None:
    assert len(FIXED) >= 15


@pytest.mark.parametrize("folder", FIXED, ids=lambda folder: folder.name)
def test_fix_mends_the_finding_and_changes_nothing_else(folder: Path, tmp_path: Path) -> None:
    file = case(folder, tmp_path) / "bad.sub"
    before = file.read_text(encoding="utf-8").split("\n")
    edits = [edit for finding in check.check([file]) for edit in finding.edits]
    check.fix([file])
    after = file.read_text(encoding="utf-8").split("\n")
    assert folder.name not in found(file)
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    names = {name for edit in edits for name in (edit.name, edit.replaces) if name}
    assert changed and all(line[1:].strip().split("=")[0].strip() in names for line in changed)
    check.fix([file])
    assert file.read_text(encoding="utf-8").split("\n") == after


def put(folder: Path, text: str) -> Path:
    path = folder / "job.sub"
    path.write_text(text, encoding="utf-8")
    return path


SILENT = (HERE / "cases" / "OSG110" / "good.sub").read_text()


@pytest.mark.parametrize("comment", ["# osgdl: ignore OSG104", "# osgdl: ignore OSG102, OSG104", "# osgdl: ignore"])
def test_a_comment_above_silences(comment: str, tmp_path: Path) -> None:
    bad = SILENT.replace("request_memory = 2GB", "request_memory = 2048")
    assert "OSG104" in found(put(tmp_path, bad))
    assert "OSG104" not in found(put(tmp_path, bad.replace("request_memory", f"{comment}\nrequest_memory")))


def test_a_comment_silences_its_rule_alone(tmp_path: Path) -> None:
    bad = SILENT.replace("request_memory = 2GB", "# osgdl: ignore OSG102\nrequest_memory = 2048")
    assert "OSG104" in found(put(tmp_path, bad))


def test_a_finding_as_json(tmp_path: Path) -> None:
    path = put(tmp_path, SILENT.replace("request_memory = 2GB", "request_memory = 2048"))
    (finding,) = (one for one in check.check([path]) if one.rule.id == "OSG104")
    fields = json.loads(json.dumps(finding.as_json()))
    assert fields == {
        "file": str(path),
        "line": SILENT.split("\n").index("request_memory = 2GB") + 1,
        "rule": "OSG104",
        "severity": "warning",
        "message": "request_memory = 2048 has no unit: HTCondor takes it for MB",
        "fix": "Write `request_memory = 2048MB`.",
        "doc": "docs/rules/OSG104.md",
    }


def test_the_exit_code_tells_errors_from_warnings(tmp_path: Path) -> None:
    def code(text: str) -> int:
        return check.exit_code(one for one in check.check([put(tmp_path, text)]) if one.rule.id in ("OSG104", "OSG105"))

    assert code(SILENT) == 0
    assert code(SILENT.replace("request_memory = 2GB", "request_memory = 2048")) == 0
    assert code(SILENT.replace("request_memory = 2GB", "request_memory = 2")) == 1


def test_two_guards_are_both_added(tmp_path: Path) -> None:
    image = "/cvmfs/singularity.opensciencegrid.org/htc/rocky:9"
    path = put(tmp_path, SILENT.replace("queue", f'+SingularityImage = "{image}"\nrequirements = A || B\nqueue'))
    check.fix([path])
    assert (
        "requirements = (A || B) && (HAS_SINGULARITY =?= True) && (HAS_CVMFS_singularity_opensciencegrid_org =?= True)"
        in path.read_text()
    )


@pytest.mark.parametrize(
    "text",
    [
        "include command : touch ran\n",
        "include : touch ran |\n",
        "@include : touch ran|\n",
        "inc\\\n  lude comm\\\nand : touch ran\n",
        "# a comment \\\ninclude command into ran : echo a=1\n",
        "include : other.inc\n",
        "executable = a\nqueue x from touch ran |\n",
    ],
)
def test_a_check_runs_nothing_that_the_file_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.inc").write_text("include command : touch ran\n")
    check.check([put(tmp_path, text)])
    assert not (tmp_path / "ran").exists()


def test_an_image_is_looked_for_where_the_osdf_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, (HERE / "cases" / "OSG308" / "good.sub").read_text())
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    assert "OSG308" not in found(path), "nobody can see it from here"
    folder = tmp_path / "ospool/ap40/data/jane"
    folder.mkdir(parents=True)
    assert "OSG308" in found(path)
    (folder / "net-v1.sif").touch()
    assert "OSG308" not in found(path)


def test_an_image_is_no_submit_file(tmp_path: Path) -> None:
    for head in (b"#!/usr/bin/env run-singularity\n" + bytes(100), b"a" * description.MOST_BYTES):
        (tmp_path / "x.sif").write_bytes(head + b"\n\n")
        with pytest.raises(KitError, match=r"x\.sif: [\d,]+ bytes that are no submit file's; text is wanted"):
            check.check([tmp_path / "x.sif"])


def test_what_an_included_file_sets_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "other.inc").write_text("executable = run.sh\nlog = a.log\n")
    assert not {"OSG101", "OSG117", "OSG608"} & found(put(tmp_path, "include : other.inc\nqueue\n"))
    assert {"OSG117", "OSG608"} <= found(put(tmp_path, "arguments = 1\nqueue\n"))


ANSWERS: list[tuple[dict[str, str], set[str]]] = [
    ({}, set()),
    (
        {"framework": "tensorflow-2.17", "image": IMAGES["osdf"], "data": "osdf:///ospool/ap40/data/jane/b-v1.tar.gz"},
        set(),
    ),
    ({"image": IMAGES["sif"], "data": "sets/my data.zip", "image_syntax": "container_image"}, set()),
    ({"image": IMAGES["osdf"], "image_syntax": "+SingularityImage", "data": "/data/brats"}, set()),
    # what was asked for and is a warning on the OSPool
    ({"gpus": "8"}, {"OSG619"}),
    ({"ospool_project": "My_OSPool_Project"}, {"OSG622"}),
    ({"job_duration": "Long"}, {"OSG603"}),
    ({"image": "docker://tensorflow/tensorflow:2.17.0-gpu", "framework": "tensorflow-2.17"}, {"OSG618"}),
]


@pytest.mark.parametrize(("answers", "warned"), ANSWERS, ids=lambda value: "-".join(map(str, value)) or "plain")
def test_a_rendered_project_has_no_findings(answers: dict[str, str], warned: set[str], tmp_path: Path) -> None:
    folder = render(tmp_path, **{"ospool_project": "BrainTumours", **answers})
    (folder / "unet.sif").touch()  # what `osgdl image build` makes
    report: list[Finding] = check.check(sorted(folder.glob("*.sub")))
    assert {finding.rule.id for finding in report} == warned, [f"{f.line}: {f.rule.id} {f.message}" for f in report]


@pytest.mark.parametrize("file", CORRECT, ids=lambda file: file.stem)
def test_correct_files_have_no_findings(file: Path) -> None:
    """A file of the OSPool has none; one of any pool (any-*.sub) none but those of the OSPool's policy."""
    report = [one for one in check.check([file]) if not (file.stem.startswith("any-") and one.rule.id[3] == "6")]
    assert [f"{one.line}: {one.rule.id} {one.message}" for one in report] == []


LINES = st.sampled_from(
    [
        "queue", "queue 3", "queue x in (1, 2)", "if defined a", "endif", "executable = a", "request_gpus = 1",
        "+SingularityImage = \"a", "container_image = $(x", "arguments = \"'", "environment = \"A=",
        "requirements = ((",
        "gpus_minimum_capability = $(a)", "request_memory = 1GiB \\", "require_gpus = Capability >", "#", "\\", "a @=b",
        "transfer_input_files = ,;,", "transfer_input_files = \0", "container_image = \0.sif", "include : nosuch",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES | st.text(max_size=40), max_size=12).map("\n".join))
def test_no_text_makes_the_check_fail(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.sub"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        check.check([path])
        check.fix([path])
    except KitError:
        pass


def test_every_finding_points_at_a_page(tmp_path: Path) -> None:
    (finding, *_) = check.check([put(tmp_path, SILENT.replace("request_memory = 2GB", "request_memory = 2048"))])
    page = Path(__file__).parents[3] / finding.doc
    assert page.read_text().splitlines()[2] == f"# {finding.rule.id}: {finding.rule.name}"
