from __future__ import annotations

import json
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from submit import images, project, rendering
from submit.errors import AnswerError, ImageError, KitError

CVMFS = "/cvmfs/singularity.opensciencegrid.org/htc/other:1"
URL = "osdf:///ospool/ap40/data/jane/unet-3f9a.sif"


def new(folder: Path, **given: str) -> Path:
    return project.new("unet-segmentation", given, folder, ask=False)


def osgdl(*words: str, cwd: Path, answers: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "submit", *words]
    return subprocess.run(command, cwd=cwd, input=answers, capture_output=True, text=True, timeout=60)


def test_a_project_in_a_folder_of_its_own(tmp_path: Path) -> None:
    made = new(tmp_path / "not" / "there" / "yet", project_name="My first, try")
    assert made == tmp_path / "not" / "there" / "yet" / "my-first-try"
    assert (made / "train.sub").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpu": "2"}, "gpu='2': no such question; want one of project_name, ospool_project, access_point, username, "),
        ({"__project_slug": "../x"}, "__project_slug='../x': no such question; want one of project_name"),
        ({"_extensions": "os.x"}, "_extensions='os.x': no such question; want one of"),
        ({"framework": "torch"}, "framework='torch': no such choice; want one of tensorflow-2.21, tensorflow-2.17."),
        ({"gpus": "0"}, "gpus='0': not such a number; want a whole number from 1 to 8. Write gpus=1 or more."),
        ({"image": "x"}, "image='x': not a reference to an image; want /cvmfs/"),
        ({"image": "x.sif", "image_syntax": "+SingularityImage"}, "image_syntax='+SingularityImage': +SingularityIma"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, given: dict[str, str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AnswerError) as refused:
        new(tmp_path, **given)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_nearest_question_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnswerError, match=r"job_duration\. Write gpus=VALUE\.$"):
        new(tmp_path, gpu="2")
    with pytest.raises(AnswerError, match=r"Leave it out\.$"):
        new(tmp_path, zzzz="2")


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    made = new(tmp_path)
    (made / "train.sub").write_text("mine")
    with pytest.raises(AnswerError, match=r"brain-tumour-segmentation: exists; want a new folder\. Choose another"):
        new(tmp_path)
    assert (made / "train.sub").read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnswerError, match=r"; want a folder to write in\. Choose one with -o DIR\.$|^template "):
        new(tmp_path / "file")


def test_no_such_template(tmp_path: Path) -> None:
    with pytest.raises(AnswerError, match=r"^template='unet': no such choice; want one of unet-segmentation"):
        project.new("unet", {}, tmp_path, ask=False)


def test_words_of_the_command_line() -> None:
    assert project.parse_words([]) == ("unet-segmentation", {})
    assert project.parse_words(["other", "a=b=c", "d="]) == ("other", {"a": "b=c", "d": ""})
    with pytest.raises(AnswerError, match=r"^answer='b': no =; want NAME=VALUE, such as gpus=2\. Write b=VALUE\.$"):
        project.parse_words(["a=1", "b"])
    with pytest.raises(AnswerError, match=r"^gpus='2': given twice; want one answer to each question\. Leave one"):
        project.parse_words(["gpus=1", "gpus=2"])


def test_jinja_in_an_answer_is_text(tmp_path: Path) -> None:
    name = "{{ 7 * 7 }} {% raw %} ''' \" {# no #}"
    record = json.loads((new(tmp_path, project_name=name) / "osgdl.json").read_text())
    assert record["answers"]["project_name"] == name


def test_nothing_of_the_user_leaks_in_or_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".cookiecutterrc").write_text("default_context:\n  gpus: '8'\n  project_name: theirs\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(home / ".cookiecutterrc"))
    made = new(tmp_path / "out")
    assert made.name == "brain-tumour-segmentation"
    assert json.loads((made / "osgdl.json").read_text())["answers"]["gpus"] == "1"
    assert [path.name for path in home.iterdir()] == [".cookiecutterrc"]


def test_the_version_is_the_packages() -> None:
    text = (rendering.ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{rendering.version()}"\n' in text


def test_a_replay_with_a_folder_of_its_own_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    given = {name: value[0] if isinstance(value, list) else value for name, value in _questions().items()}
    given |= {"username": "jane", "image": CVMFS}
    assert rendering.before("unet-segmentation", given, "brain-tumour-segmentation") == 0
    assert rendering.before("unet-segmentation", given, "../x") == 1
    assert capsys.readouterr().err == (
        "__project_slug='../x': not made from project_name; want brain-tumour-segmentation. Leave it out.\n"
    )
    assert rendering.before("unet-segmentation", {**given, "gpus": "99"}, "brain-tumour-segmentation") == 1
    assert capsys.readouterr().err.startswith("gpus='99': not such a number")


def _questions() -> dict[str, object]:
    return project.questions("unet-segmentation")


def test_the_command(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = osgdl("new", "--no-input", "-o", "sub folder", "project_name=A b", "gpus=2", cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 3  # seconds of a processor, whatever else runs; 0.5 s
    assert done.returncode == 0, done.stderr
    made = Path(done.stdout.strip())
    assert made == tmp_path / "sub folder" / "a-b" or made == Path("sub folder/a-b")
    assert done.stderr.splitlines()[-1].startswith("next: cd 'sub folder/a-b'; README.md there says what to type")
    assert "request_gpus            = 2\n" in (tmp_path / "sub folder/a-b/train.sub").read_text()


def test_answers_are_asked_for(tmp_path: Path) -> None:
    done = osgdl("new", cwd=tmp_path, answers="{{ 1 + 1 }} at the prompt\n" + "\n" * 11)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    assert made.name == "1-1-at-the-prompt"
    assert json.loads((made / "osgdl.json").read_text())["answers"]["project_name"] == "{{ 1 + 1 }} at the prompt"


def test_no_answers_to_be_had(tmp_path: Path) -> None:
    done = osgdl("new", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "osgdl: no answers on standard input; want a terminal, or answers as NAME=VALUE. Add --no-input.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["in a new kit", "as rendered"])
def test_use_changes_the_image_and_its_guard_and_nothing_else(tmp_path: Path, kind: str) -> None:
    made = new(tmp_path)
    before = {name: (made / name).read_text() for name in ("train.sub", "predict.sub", "evaluate.sub")}
    if kind == "in a new kit":
        for name in before:
            before[name] = before[name].replace("# One GPU", "# mine\n\n# One GPU")
            (made / name).write_text(before[name])
    changes = project.use_image(URL, project.submit_files(made))
    assert [change.path.name for change in changes] == ["evaluate.sub", "predict.sub", "train.sub"]
    assert changes[0].notes == (
        "request_disk = 25GB, was 10GB: 10GB for data and results, the rest for the image; the size of "
        f"{URL} cannot be seen from here: 15GB of the disk are for it",
    )
    for name, old in before.items():
        lines = (made / name).read_text().splitlines()
        changed = [(a, b) for a, b in zip(old.splitlines(), lines, strict=True) if a != b]
        wanted = [f"container_image   = {URL}", "image_guard = True", "request_disk         = 25GB"]
        assert [b for _, b in changed] == wanted
    cvmfs = before["train.sub"].split('+SingularityImage = "')[1].split('"')[0]
    (change, *_) = project.use_image(cvmfs, project.submit_files(made))
    assert "request_disk = 25GB is left as it is, and may be lower by twice the image's size" in change.notes[0]
    back = {name: re.sub(r"(request_disk\s+)= 10GB", r"\1= 25GB", text) for name, text in before.items()}
    assert {name: (made / name).read_text() for name in before} == back


@pytest.mark.parametrize(
    ("asked", "then"), [("10GB", "14GB"), ("512MB", "14GB"), ("40GB", "40GB"), ("$(x)", "$(x)"), ("", "")]
)
def test_use_adds_an_image_whose_size_is_known_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, then: str
) -> None:
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    sif = tmp_path / URL.removeprefix("osdf:///")
    sif.parent.mkdir(parents=True)
    sif.touch()
    os.truncate(sif, 2 * 2**30)
    file = tmp_path / "a.sub"
    line = "request_disk = {}\n" if asked else "{}"
    file.write_text(f'+SingularityImage = "{CVMFS}"\n{line.format(asked)}requirements = True\nqueue\n')
    (change,) = project.use_image(URL, [file])
    assert file.read_text() == f"container_image   = {URL}\n{line.format(then)}requirements = True\nqueue\n"
    said = {"40GB": "", "$(x)": "now $(x), of 14GB would do", "": "now not set, of 14GB would do"}
    assert said.get(asked, f"was {asked}:") in "".join(change.notes)
    (again,) = project.use_image(URL, [file])
    assert again.notes == (change.notes if asked in ("$(x)", "") else ()), "the second time changes nothing"
    os.truncate(sif, 5 * 2**30)  # another, larger one
    project.use_image(URL, [file])
    assert "request_disk = 20GB" in file.read_text() or then != "14GB"
    sif.unlink()
    with pytest.raises(ImageError, match=r"its folder is here, and has no such file; .*osgdl image push FILE\.sif"):
        project.use_image(URL, [file])


def test_use_never_leaves_both_commands(tmp_path: Path) -> None:
    file = tmp_path / "a.sub"
    file.write_text('container_image = a.sif\n+SingularityImage = "/cvmfs/a.b/c"\nrequirements = True\nqueue\n')
    project.use_image(URL, [file])
    assert file.read_text() == f"container_image = {URL}\nrequirements = True\nqueue\n"


def test_use_warns_of_docker(tmp_path: Path) -> None:
    file = tmp_path / "a.sub"
    file.write_text("container_image = a.sif\nqueue\n")
    (change,) = project.use_image("docker://a/b", [file])
    assert change.notes[0].startswith("every machine pulls a docker:// image from its registry")


def test_use_wants_a_place_for_the_guard(tmp_path: Path) -> None:
    file = tmp_path / "a.sub"
    text = "container_image = a.sif\nrequirements = Memory > 1\nqueue\n"
    file.write_text(text)
    with pytest.raises(ImageError) as refused:
        project.use_image(CVMFS, [file])
    guard = "(HAS_SINGULARITY =?= True) && (HAS_CVMFS_singularity_opensciencegrid_org =?= True)"
    assert str(refused.value) == (
        f"{file}: requirements='Memory > 1': nothing guards the image; want $(image_guard) in it. "
        f"Write `image_guard = {guard}` above it and `$(image_guard) && ...` into it."
    )
    assert file.read_text() == text
    file.write_text(text.replace("Memory", f"{guard} && Memory"))
    project.use_image(CVMFS, [file])
    assert file.read_text().startswith(f'+SingularityImage = "{CVMFS}"\n')


def test_use_writes_all_files_or_none(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.sub", tmp_path / "bad.sub"
    good.write_text("container_image = a.sif\nqueue\n")
    bad.write_text("if defined x\ncontainer_image = a.sif\nendif\nqueue\n")
    with pytest.raises(KitError, match=r"bad.sub:2: container_image stands in an if; want it set once, outside\."):
        project.use_image(URL, [good, bad])
    assert good.read_text() == "container_image = a.sif\nqueue\n"


def test_use_needs_a_submit_file(tmp_path: Path) -> None:
    (tmp_path / "cpu.sub").write_text("executable = x\nqueue\n")
    assert project.submit_files(tmp_path) == []
    with pytest.raises(ImageError, match=r"^no submit file here names an image; want a project's folder, or files\."):
        project.use_image(URL, [])


def test_use_checks_a_file_beside_each_submit_file(tmp_path: Path) -> None:
    made = new(tmp_path)
    before = (made / "train.sub").read_text()
    with pytest.raises(ImageError, match=r"^image='unet.sif': no such file in .*osgdl image build -o unet.sif"):
        project.use_image("unet.sif", project.submit_files(made))
    assert (made / "train.sub").read_text() == before
    (made / "unet.sif").write_text("")
    project.use_image("unet.sif", project.submit_files(made))
    assert "\ncontainer_image   = unet.sif\n" in (made / "train.sub").read_text()


def test_the_use_command(tmp_path: Path) -> None:
    made = new(tmp_path)
    done = osgdl("image", "use", URL, cwd=made)
    files = ("evaluate.sub", "predict.sub", "train.sub")
    assert done.stdout == "".join(f"{name}: container_image = {URL}\n" for name in files)
    done = osgdl("image", "use", "../x.sif", "none.sub", cwd=made)
    assert done.returncode == 1 and done.stderr.startswith("osgdl: image='../x.sif': no such file in .")
    done = osgdl("image", "use", URL, "--syntax", "docker", cwd=made)
    assert done.stderr.startswith("osgdl: image_syntax='docker': no such choice; want one of automatic, +Singularity")


def test_modes_do_not_depend_on_who_renders(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        made = new(tmp_path)
    finally:
        os.umask(old)
    modes = {
        str(path.relative_to(made)): stat.S_IMODE(path.stat().st_mode) for path in made.rglob("*") if path.is_file()
    }
    assert modes.pop("run.sh") == 0o755
    assert set(modes.values()) == {0o644}


def test_the_image_that_is_offered_first_is_the_default(tmp_path: Path) -> None:
    record = json.loads((new(tmp_path) / "osgdl.json").read_text())["answers"]
    first = next(iter(images.answered("unet-segmentation").values()))
    assert (record["framework"], record["image"]) == (first.framework, first.cvmfs_path)
