"""The lines that staging writes into submit files: a rendered project's, and a user's own."""

from __future__ import annotations

import re
from pathlib import Path

import htcondor2
import pytest

from submit import check, project, stage_lines
from submit.errors import KitError
from submit.stage_lines import Change
from submit.submission import Submission
from tests.submit import manifests
from tests.submit.manifests import OSDF

OWN = """\
# mine
executable = own.sh
# two files
transfer_input_files = a.txt, \\
    # the second \\
    b.txt
request_disk = 1GB
queue
"""


def own(folder: Path, text: str = OWN, name: str = "own.sub") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def sent(path: Path, **command_line: str) -> list[list[str]]:
    """transfer_input_files of each job, as HTCondor reads the file."""
    given = "".join(f"{name} = {value}\n" for name, value in command_line.items())
    parsed = htcondor2.Submit(given + path.read_text().replace("from staged/", f"from {path.parent}/staged/"))
    found = []
    arguments = parsed.getQArgs()
    for row in list(parsed.itemdata(arguments)) if " from " in arguments else [{}]:
        for name, value in row.items():
            parsed[name] = value
        found.append([entry.strip() for entry in parsed.expand("transfer_input_files").split(",") if entry.strip()])
    return found


def urls(manifest: stage_lines.Manifest) -> list[str]:
    return [f"{manifest.at}/{shard.name}" for shard in manifest.shards]


def comments(path: Path) -> list[str]:
    return [line for line in path.read_text().split("\n") if line.lstrip().startswith("#")]


def test_one_manifest_in_a_project(folder: Path) -> None:
    files = [folder / "train.sub", folder / "predict.sub"]
    before = {file: comments(file) for file in files}
    held = manifests.make(3)
    path = manifests.write(folder, held)
    changes = stage_lines.use(path, files)
    assert [change.path for change in changes] == files
    assert sent(files[0]) == [["job", "config.toml", f"staged/{path.name}", *urls(held)]]
    assert sent(files[1]) == [["job", "model.keras", f"staged/{path.name}", *urls(held)]]
    assert sent(files[0], data="mine") == [["job", "config.toml", "mine"]], "no shards of other data"
    assert {file: comments(file) for file in files} == before
    assert changes[0].lines == (f"data = staged/{path.name}", f"data_objects = {', '.join(urls(held))}")
    assert check.check(files) == []


def test_done_again_it_changes_nothing(folder: Path) -> None:
    train = folder / "train.sub"
    path = manifests.write(folder, manifests.make(3, 10**9))
    (first,) = stage_lines.use(path, [train])
    text = train.read_text()
    (again,) = stage_lines.use(path, [train])
    assert train.read_text() == text
    assert first.lines[-1] == "request_disk         = 27GB" and again == Change(train, (), first.notes)
    other = manifests.write(folder, manifests.make(1))
    stage_lines.use(other, [train])
    assert sent(train)[0][2] == f"staged/{other.name}" and len(sent(train)[0]) == 4


def test_a_script_of_ones_own(tmp_path: Path) -> None:
    """All that staging writes, into training-job's train.sub and out of it again."""
    given = {"username": "jane", "ospool_project": "BrainTumours"}
    folder = project.new("training-job", given, tmp_path, ask=False)
    train = folder / "train.sub"
    before, lines = comments(train), train.read_text().split("\n")
    one, two = manifests.make(2), manifests.make(3)
    paths = [manifests.write(folder, held) for held in (one, two)]
    stage_lines.use(paths[0], [train])
    assert sent(train) == [["job", "train.py", f"staged/{paths[0].name}", *urls(one)]]
    assert sent(train, data="mine") == [["job", "train.py", "mine"]], "no shards of other data"
    added = [line for line in train.read_text().split("\n") if line not in lines]
    assert added == [f"    data = staged/{paths[0].name}", f"    data_objects = {', '.join(urls(one))}"]
    stage_lines.use_folds(paths, [train])
    assert sent(train) == [
        ["job", "train.py", f"staged/{path.name}", *urls(held)] for path, held in zip(paths, (one, two), strict=True)
    ]
    stage_lines.use(paths[1], [train])
    assert sent(train) == [["job", "train.py", f"staged/{paths[1].name}", *urls(two)]]
    (change,) = stage_lines.results(f"{OSDF}/results", [train])
    assert change.notes == (), "run.sh packs them"
    assert htcondor2.Submit(train.read_text()).expand("transfer_output_files") == "results, large.tar"
    assert comments(train) == before and check.check([train]) == []


def test_an_older_project_gets_what_its_list_lacks(folder: Path) -> None:
    train = folder / "train.sub"
    train.write_text(train.read_text().replace(", $(data_objects:)", ""))
    held = manifests.make(1)
    stage_lines.use(manifests.write(folder, held), [train])
    assert sent(train)[0][3:] == urls(held)


def test_a_file_of_ones_own(folder: Path) -> None:
    held = manifests.make(2)
    path = manifests.write(folder, held)
    (change,) = stage_lines.use(path, [own(folder)])
    text = (folder / "own.sub").read_text()
    assert sent(change.path) == [["a.txt", "b.txt", f"staged/{path.name}", *urls(held)]]
    assert "    # the second \\\n    b.txt, $(data), $(data_objects:)\nrequest_disk" in text
    assert "python3 -m submit.runtime.inputs MANIFEST" in change.notes[0]
    (again,) = stage_lines.use(path, [change.path])
    assert again.lines == () and change.path.read_text() == text


@pytest.mark.parametrize(("listed", "expected"), [("", []), ("transfer_input_files = a,\n", ["a"]),
                                                  ("transfer_input_files =\n", [])])  # fmt: skip
def test_lists_of_every_form(folder: Path, listed: str, expected: list[str]) -> None:
    held = manifests.make(1)
    path = manifests.write(folder, held)
    (change,) = stage_lines.use(path, [own(folder, f"executable = x\n{listed}queue\n")])
    assert sent(change.path) == [[*expected, f"staged/{path.name}", *urls(held)]]


def test_a_file_in_another_folder_names_the_manifest_from_there(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(1))
    (folder / "deep").mkdir()
    stage_lines.use(path, [own(folder / "deep"), own(folder, f"initialdir = runs\n{OWN}", "runs.sub")])
    assert f"data = ../staged/{path.name}\n" in (folder / "deep/own.sub").read_text()
    assert f"data = {path.resolve()}\n" in (folder / "runs.sub").read_text()


def test_shards_in_a_folder_are_sent_by_the_access_point(folder: Path, tmp_path: Path) -> None:
    held = manifests.make(2, 10**9, at=str(tmp_path / "staged data"))
    (change,) = stage_lines.use(manifests.write(folder, held), [folder / "train.sub"])
    assert sent(change.path)[0][3:] == urls(held)
    assert "2.0 GB leave the access point for each job: stage them to osdf:///ospool/..." in change.notes


def test_a_job_for_each_fold_and_back(folder: Path) -> None:
    train = folder / "train.sub"
    before = train.read_text()
    held = [manifests.make(count) for count in (2, 1, 3)]
    paths = [manifests.write(folder, one) for one in held]
    (change,) = stage_lines.use_folds(paths, [train])
    assert sent(train) == [
        ["job", "config.toml", f"staged/{path.name}", *urls(one)] for path, one in zip(paths, held, strict=True)
    ]
    (listed,) = (folder / "staged").glob("*.txt")
    assert re.fullmatch(r"brats-folds-[0-9a-f]{12}\.txt", listed.name)
    assert change.lines == (f"queue data, data_objects from staged/{listed.name}",)
    assert "win over data=... on the command line" in change.notes[-1]
    assert check.check([train]) == []
    assert stage_lines.use_folds(paths, [train])[0].lines == ()
    stage_lines.use(paths[0], [train])
    assert sent(train) == [["job", "config.toml", f"staged/{paths[0].name}", *urls(held[0])]]
    assert train.read_text().split("queue ")[1] == before.split("queue ")[1]


def test_nothing_is_written_where_one_file_cannot_be(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(1))
    train = folder / "train.sub"
    bad = own(folder, OWN.replace("queue", "queue 3"))
    for change in (lambda files: stage_lines.use_folds([path], files), lambda files: stage_lines.results(OSDF, files)):
        before = train.read_text()
        with pytest.raises(KitError):
            change([train, bad])
        assert train.read_text() == before and list(folder.glob("staged/*.txt")) == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("queue 3", r"own.sub:8: queue 3; want `queue 1`, which becomes a job for each fold. Change that line by hand"),
        ("", r"own.sub:8: no queue; want `queue 1`"),
    ],
)
def test_folds_want_one_queue(folder: Path, statement: str, message: str) -> None:
    path = manifests.write(folder, manifests.make(1))
    with pytest.raises(KitError, match=message):
        stage_lines.use_folds([path], [own(folder, OWN.replace("queue\n", statement))])


def test_a_list_of_ones_own_is_not_touched(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(1))
    with pytest.raises(
        KitError, match=r"own.sub:8: queue data from x.txt; sets the data itself. Write `queue 1` there"
    ):
        stage_lines.use(path, [own(folder, OWN.replace("queue", "queue data from x.txt"))])


def test_what_is_no_manifest(folder: Path) -> None:
    path = manifests.write(folder, manifests.make(1))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(KitError, match=r"its SHA-256 begins with .*; a manifest that `osgdl stage` wrote is wanted"):
        stage_lines.use(path, [folder / "train.sub"])


@pytest.mark.parametrize("at", ["/data/a,b", "/data/$(x)", '/data/"x"'])
def test_names_that_submit_files_cannot_take(folder: Path, at: str) -> None:
    path = manifests.write(folder, manifests.make(1, at=at))
    with pytest.raises(KitError, match=r"at=.*: no name for a submit file; no commas, quotes or \$ in it"):
        stage_lines.use(path, [folder / "train.sub"])
    blank = manifests.write(folder / "a b", manifests.make(1))
    with pytest.raises(KitError, match=r"manifest='a b/staged/.*: no name for a submit file; no blanks"):
        stage_lines.use(blank, [folder / "train.sub"])


def test_large_results_go_to_the_osdf(folder: Path) -> None:
    train = folder / "train.sub"
    before = comments(train)
    (change,) = stage_lines.results(f"{OSDF}/results/", [train])
    parsed = htcondor2.Submit(train.read_text())
    assert parsed.expand("transfer_output_files") == "results, large.tar"
    start = "$(Cluster).$(Process)-$$([NumShadowStarts ?: 0])"
    assert f'transfer_output_remaps = "large.tar = {OSDF}/results/{start}/large.tar"\n' in train.read_text()
    assert parsed["environment"] == '"OSGDL_LARGER_THAN=100MB"'
    assert change.notes == () and comments(train) == before
    assert check.check([train]) == []
    assert stage_lines.results(f"{OSDF}/results", [train])[0].lines == ()
    (other,) = stage_lines.results(f"{OSDF}/other", [train], "1GB")
    assert len(other.lines) == 2 and "OSGDL_LARGER_THAN=1GB" in other.lines[1]


@pytest.mark.parametrize(
    ("more", "remaps", "environment"),
    [
        ("environment = \"A=1 B='x y'\"\n", '"{}"', "\"A=1 B='x y' OSGDL_LARGER_THAN=100MB\""),
        ("env = A=1;B=2\n", '"{}"', "A=1;B=2;OSGDL_LARGER_THAN=100MB"),
        ('transfer_output_remaps = "a = b; large.tar=c"\n', '"a = b; {}"', '"OSGDL_LARGER_THAN=100MB"'),
    ],
)
def test_what_stands_there_already_is_kept(folder: Path, more: str, remaps: str, environment: str) -> None:
    path = own(folder, f"executable = own.sh\ntransfer_output_files = out\n{more}queue\n")
    (change,) = stage_lines.results(OSDF, [path])
    parsed = htcondor2.Submit(path.read_text())
    pair = f"large.tar = {OSDF}/{stage_lines.START}/large.tar"
    assert f"transfer_output_remaps = {remaps.format(pair)}\n" in path.read_text()
    assert environment in (parsed.get("environment"), parsed.get("env"))
    assert "a job that leaves without large.tar is held" in change.notes[0]


@pytest.mark.parametrize(
    ("dest", "size", "text", "message"),
    [
        ("/home/x", "1GB", OWN, "DEST='/home/x': no place on the OSDF; a folder such as osdf:///ospool/AP/data/USER/"),
        ("osdf:///a;b", "1GB", OWN, "no place on the OSDF"),
        (OSDF, "1", OWN, "--larger-than='1': no size; a whole number and kB, MB or GB is wanted"),
        (OSDF, "1GB", OWN, "transfer_output_files is not set, so that all new files come home; want the results"),
        (OSDF, "1GB", "transfer_output_files = a\ntransfer_output_remaps = a=b\nqueue\n", "want it in double quotes"),
    ],
)
def test_results_that_cannot_go(folder: Path, dest: str, size: str, text: str, message: str) -> None:
    with pytest.raises(KitError, match=re.escape(message)):
        stage_lines.results(dest, [own(folder, text)], size)


def test_checks_see_past_an_empty_list(folder: Path) -> None:
    """`$(data_objects:)` may stand for nothing or for many: the entries beside it are looked at all the same."""
    train = folder / "train.sub"
    train.write_text(train.read_text().replace("config.toml, $(data)", "config.toml, gone.txt, $(data)"))
    for _ in range(2):
        assert [found.rule.id for found in check.check([train])] == ["OSG402"]
        stage_lines.use(manifests.write(folder, manifests.make(2)), [train])


def test_checks_read_the_first_fold(folder: Path) -> None:
    """A row wins over what the file says, as it does in HTCondor."""
    train = folder / "train.sub"
    paths = [manifests.write(folder, manifests.make(count)) for count in (2, 1)]
    stage_lines.use(manifests.write(folder, manifests.make(3)), [train])
    stage_lines.use_folds(paths, [train])
    assert Submission.read(train).entries("transfer_input_files") == sent(train)[0]
    assert Submission.read(train).jobs == 2
