"""The record of runs: what is in it, whole at every moment, whoever writes at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import runs
from submit.errors import KitError
from submit.runs import Input, Run
from submit.submission import Submission

RUN = Run(cluster=12, jobs=2, time=1, file="train.sub", sha256="ab", log="logs/12.log", inputs=[Input(name="x")])


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert runs.read(tmp_path) == []
    for cluster in (12, 13):
        runs.append(tmp_path, Run(**{**vars(RUN), "cluster": cluster}))
    assert runs.read(tmp_path) == [RUN, Run(**{**vars(RUN), "cluster": 13})]
    lines = (tmp_path / runs.FILE).read_text().splitlines()
    assert [json.loads(line)["cluster"] for line in lines] == [12, 13]
    assert [path.name for path in tmp_path.iterdir()] == [runs.FILE]


def test_a_torn_line_of_another_program_costs_itself_alone(tmp_path: Path) -> None:
    runs.append(tmp_path, RUN)
    with (tmp_path / runs.FILE).open("a") as file:
        file.write('{"cluster": 13, "jo')
    runs.append(tmp_path, RUN)
    assert runs.read(tmp_path) == [RUN, RUN]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*vars(RUN), "later"]), json_values))
def test_any_json_is_a_run_or_none(found: dict[str, object]) -> None:
    run = runs._run(json.dumps(found))
    assert run is None or (type(run.cluster) is int and type(run.log) is str)


def test_a_later_kit_may_say_more(tmp_path: Path) -> None:
    runs.append(tmp_path, RUN)
    path = tmp_path / runs.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    assert runs.read(tmp_path) == [RUN]


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from submit.runs import Run, append\n"
        "for n in range(20): append(Path(sys.argv[1]), "
        "Run(cluster=int(sys.argv[2]) + n, jobs=1, time=0, file='f', sha256=''))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(100 * n)]) for n in range(4)]
    assert [one.wait() for one in started] == [0] * 4
    assert len({run.cluster for run in runs.read(tmp_path)}) == 80


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / runs.FILE).mkdir()
    with pytest.raises(KitError, match=r"runs\.jsonl: Is a directory; job 12 is queued and not in this record"):
        runs.append(tmp_path, RUN)


SUB = """executable = run.sh
transfer_input_files = config.toml, job, staged/brats-manifest-0123456789ab.json, osdf:///x/a.tar, {}
queue 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("run.sh", "config.toml", "job/a.py", "job/sub/b.py", "staged/brats-manifest-0123456789ab.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "train.sub").write_text(SUB.format("missing"))
    return tmp_path


def test_what_travels(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, manifest = runs.inputs(Submission.read(project / "train.sub"))
    by_name = {one.name: one for one in found}
    assert manifest == "staged/brats-manifest-0123456789ab.json"
    assert list(by_name) == ["run.sh", "config.toml", "job", manifest, "osdf:///x/a.tar", "missing"]
    assert by_name["run.sh"].sha256 == runs.sha256(project / "run.sh") and by_name["run.sh"].bytes == 6
    assert by_name["missing"] == Input(name="missing") and by_name["osdf:///x/a.tar"].sha256 is None
    script = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    whole = subprocess.run(["sh", "-c", script], cwd=project / "job", capture_output=True, text=True)
    assert by_name["job"].sha256 == whole.stdout.split()[0], "as the shell has it"
    (project / "job/sub/b.py").write_text("other")
    assert runs.inputs(Submission.read(project / "train.sub"))[0][2].sha256 != by_name["job"].sha256
    monkeypatch.setattr(runs, "MOST_HASHED", 10)
    large = runs.inputs(Submission.read(project / "train.sub"))[0][1]
    assert large.sha256 is None and large.bytes == 11 and large.newest
    monkeypatch.setattr(runs, "MOST_FILES", 1)
    assert runs.inputs(Submission.read(project / "train.sub"))[0][2].sha256 is None


def test_an_input_that_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(runs, "sha256", fail)  # root may read everything
    with pytest.raises(KitError, match=r"run\.sh: Permission denied; an input of the job has to be readable"):
        runs.inputs(Submission.read(project / "train.sub"))
