"""What migrate rewrites, what it leaves with a note, and that everything else stays byte for byte."""

from __future__ import annotations

import stat
from pathlib import Path

import htcondor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from submit import migrate
from submit.errors import ImageError, KitError
from submit.images import CONTAINER_IMAGE, SINGULARITY_IMAGE
from submit.legacy import commands, joined, stricter
from submit.match import split
from tests.templates.conftest import render

CVMFS = "/cvmfs/singularity.opensciencegrid.org/htc/tensorflow:2.15"
GUARDS = "HAS_SINGULARITY =?= True", "HAS_CVMFS_singularity_opensciencegrid_org =?= True"
OSDF = "osdf:///ospool/ap40/data/jane/net-v1.sif"


def put(folder: Path, *lines: str) -> Path:
    path = folder / "job.sub"
    path.write_bytes("\n".join([*lines, "queue", ""]).encode("utf-8", "surrogateescape"))
    return path


def migrated(folder: Path, *lines: str, to: str = "automatic") -> tuple[list[str], list[str]]:
    """The lines above `queue` afterwards, and the notes; a second migration changes nothing more."""
    path = put(folder, *lines)
    found = migrate.plan(path, to)
    migrate.apply(found)
    again = migrate.plan(path, to)
    assert not again.changed and migrate.diff(again) == ""
    htcondor2.Submit(path.read_text())
    return path.read_text().split("\n")[:-2], [f"{line}: {text}" for line, text in found.notes]


GPUS = [
    ("CUDACapability >= 7.5", {"gpus_minimum_capability": "7.5"}),
    ("Target.CUDACapability > 7.0", {"gpus_minimum_capability": "7.5"}),
    ("(CUDACapability < 8)", {"gpus_maximum_capability": "7.5"}),
    ("(GPUs_Capability <= 9.0)", {"gpus_maximum_capability": "9.0"}),
    ("CUDACapability == 8.0", {"gpus_minimum_capability": "8.0", "gpus_maximum_capability": "8.0"}),
    ("CUDADriverVersion >= 10.1", {"gpus_minimum_runtime": "10.1"}),
    ("GPUs_MaxSupportedVersion >= 12040", {"gpus_minimum_runtime": "12.4"}),
    ("(TARGET.CUDAGlobalMemoryMb >= 10000)", {"gpus_minimum_memory": "10000MB"}),
    ("GPUs_GlobalMemoryMb > 10000", {"gpus_minimum_memory": "10001MB"}),
]


@pytest.mark.parametrize(("clause", "wanted"), GPUS, ids=[clause for clause, _ in GPUS])
def test_conditions_on_gpus_become_commands(clause: str, wanted: dict[str, str], tmp_path: Path) -> None:
    lines, notes = migrated(tmp_path, "request_gpus = 1", f'requirements = (OpSys == "LINUX") && {clause}')
    assert notes == []
    assert lines[:2] == ["request_gpus = 1", 'requirements = (OpSys == "LINUX")']
    assert lines[2:] == [f"{name} = {value}" for name, value in wanted.items()]


def test_requirements_of_nothing_else_go(tmp_path: Path) -> None:
    lines, _ = migrated(tmp_path, "request_gpus = 1", "requirements = CUDACapability >= 7.5")
    assert lines == ["request_gpus = 1", "gpus_minimum_capability = 7.5"]


LEFT = [
    ("request_gpus = 1", "requirements = CUDACapability >= 7.5 || Machine == X"),
    ("request_gpus = 1", 'requirements = CUDADeviceName == "A100"'),
    ("request_gpus = 1", "requirements = CUDADriverVersion >= 450"),
    ("request_gpus = 1", "requirements = GPUs_GlobalMemoryMb < 50000"),
    ("request_gpus = 1", "requirements = CUDACapability >= $(floor)"),
    ("executable = a", "requirements = CUDACapability >= 7.5"),
    ("request_gpus = 1", "if defined a", "requirements = CUDACapability >= 7.5", "endif"),
    ("request_gpus = 1", "require_gpus = Capability > 7", "requirements = CUDACapability >= 7.5"),
    ("request_gpus = 1", "requirements = A && \\", "    # why \\", "    CUDACapability >= 7.5"),
    ("cuda_version = $(version)",),
    ("cuda_version = 11.2", "gpus_minimum_runtime = 12.0"),
    ("docker_image = debian",),
    ('+DESIRED_Sites = "A"',),
    ("arguments = stash:///ospool/a",),
    (f'+SingularityImage = "{CVMFS}"', "if defined a", "requirements = B", "endif"),
    ('+SingularityImage = "$(image)"',),
]


@pytest.mark.parametrize("lines", LEFT, ids=lambda lines: lines[-1])
def test_what_is_not_certain_is_left_with_a_note(lines: tuple[str, ...], tmp_path: Path) -> None:
    after, notes = migrated(tmp_path, *lines)
    assert after == list(lines) and notes


def test_a_note_has_its_line(tmp_path: Path) -> None:
    _, notes = migrated(tmp_path, "executable = a", '+DESIRED_Sites = "A"')
    assert notes == [
        "2: +DESIRED_Sites: keeps GPU pilots from being asked for: leave it out, or write +UNDESIRED_Sites"
    ]


def test_of_two_bounds_the_stricter_stays(tmp_path: Path) -> None:
    lines, _ = migrated(
        tmp_path, "request_gpus = 1", "gpus_minimum_capability = 8.0", "requirements = A && CUDACapability >= 7.5"
    )
    assert lines == ["request_gpus = 1", "gpus_minimum_capability = 8.0", "requirements = A"]
    assert stricter("gpus_minimum_memory", "10GB", "10000MB") == "10GB"
    assert stricter("gpus_maximum_capability", "9.0", "8.0") == "8.0"
    assert stricter("gpus_minimum_memory", "$(m)", "10000MB") is None
    assert commands("Capability", ">", "99") == {}


def test_smaller_things(tmp_path: Path) -> None:
    lines, notes = migrated(
        tmp_path,
        "+WantGPULab = true",
        "cuda_version = 11.2",
        "transfer_input_files = a, stash:///ospool/ap40/data/jane/b.tar, \\",
        "    osdf:///ospool/c",
        'requirements = (OSGVO_OS_STRING == "RHEL 9") && (HAS_AVX2 == True) && HAS_AVX',
    )
    assert lines == [
        "gpus_minimum_runtime = 11.2",
        "transfer_input_files = a, osdf:///ospool/ap40/data/jane/b.tar, \\",
        "    osdf:///ospool/c",
        'requirements = (OSG_OS_STRING == "RHEL 9") && (Microarch >= "x86_64-v3")',
    ]
    assert notes == []


def test_a_folder_of_osg_connect_is_told(tmp_path: Path) -> None:
    lines, notes = migrated(tmp_path, "transfer_input_files = stash:///osgconnect/public/jane/a.tar")
    assert lines == ["transfer_input_files = osdf:///osgconnect/public/jane/a.tar"]
    assert "/osgconnect/ is gone" in notes[0]


def test_an_image_on_cvmfs_gets_its_guards(tmp_path: Path) -> None:
    lines, _ = migrated(tmp_path, f'+SingularityImage = "{CVMFS}"', "requirements = A || B")
    assert lines == [f'+SingularityImage = "{CVMFS}"', f"requirements = (A || B) && ({GUARDS[0]}) && ({GUARDS[1]})"]


def test_any_other_image_becomes_container_image(tmp_path: Path) -> None:
    lines, _ = migrated(tmp_path, f'+SingularityImage = "{OSDF}"', "requirements = HAS_SINGULARITY == True && A")
    assert lines == [f"container_image   = {OSDF}", "requirements = A"]


def test_there_and_back(tmp_path: Path) -> None:
    lines, _ = migrated(tmp_path, f"container_image = {CVMFS}", to=SINGULARITY_IMAGE)
    assert lines == [f'+SingularityImage = "{CVMFS}"', f"requirements = ({GUARDS[0]}) && ({GUARDS[1]})"]
    lines, _ = migrated(tmp_path, *lines, to=CONTAINER_IMAGE)
    assert lines == [f"container_image   = {CVMFS}", f"requirements = ({GUARDS[1]})"]


def test_of_two_images_the_one_that_counts_stays(tmp_path: Path) -> None:
    lines, _ = migrated(tmp_path, f'+SingularityImage = "{CVMFS}"', f"container_image = {OSDF}")
    assert lines == [f"container_image = {OSDF}"]


def test_a_file_beside_the_submit_file_is_not_for_the_old_command(tmp_path: Path) -> None:
    lines, notes = migrated(tmp_path, "container_image = net.sif", to=SINGULARITY_IMAGE)
    assert lines == ["container_image = net.sif"] and "does not send net.sif" in notes[0]


def test_unknown_wish() -> None:
    with pytest.raises(ImageError, match="unknown; want one of"):
        migrate.plan(Path("job.sub"), "docker_image")


@pytest.mark.parametrize("name", ["train.sub", "predict.sub"])
def test_the_projects_of_the_kit_need_nothing(name: str, tmp_path: Path) -> None:
    found = migrate.plan(render(tmp_path) / name)
    assert not found.changed and found.notes == ()


def test_the_guard_macro_of_a_project_follows(tmp_path: Path) -> None:
    path = render(tmp_path) / "train.sub"
    found = migrate.plan(path, CONTAINER_IMAGE)
    text = found.new_text
    assert f"image_guard = ({GUARDS[1]})\n" in text and "\ncontainer_image   = /cvmfs/" in text
    assert "requirements = $(image_guard) \\\n" in text


def test_diff_and_apply(tmp_path: Path) -> None:
    path = put(tmp_path, "+WantGPULab = true")
    path.chmod(0o640)
    found = migrate.plan(path)
    assert migrate.diff(found) == f"--- {path}\n+++ {path}\n@@ -1,2 +1 @@\n-+WantGPULab = true\n queue\n"
    assert path.read_text() == found.old_text
    migrate.apply(found)
    assert path.read_text() == "queue\n" and stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(KitError, match="changed since it was read"):
        migrate.apply(found)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="want a submit file"):
        migrate.plan(tmp_path / "none.sub")


MODERN = st.sampled_from(
    [
        "executable = a", "request_gpus = 1", "  Requirements  =  (A || B)  && C", "requirements = D && \\",
        "    # why \\", "container_image = /cvmfs/singularity.opensciencegrid.org/htc/rocky:9", "",
        "gpus_minimum_capability = 7.5", "if defined a", "endif", "a @=b", "@b", "queue 3", "# CUDACapability",
        "transfer_input_files = osdf:///ospool/a, b\r", "\udcff = \udcff", "rank = Memory",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MODERN | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), max_size=12))
def test_a_file_without_such_things_comes_back_byte_for_byte(tmp_path: Path, lines: list[str]) -> None:
    path = put(tmp_path, *lines)
    before = path.read_bytes()
    found = migrate.plan(path)
    assert found.new_text == found.old_text
    migrate.apply(found)
    assert path.read_bytes() == before


OLD = st.sampled_from(
    [
        *(f"requirements = A && {clause}" for clause, _ in GPUS), "request_gpus = 1", "requirements = X || HAS_AVX2",
        f'+SingularityImage = "{CVMFS}"', f"container_image = {OSDF}", "+WantGPULab = true", "cuda_version = 11.2",
        "endif", "transfer_input_files = stash:///a, \\", "if defined a", "queue", "image_guard = a",
        "requirements = ((HAS_AVX)) && $(a)",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OLD, max_size=8), st.sampled_from(["automatic", SINGULARITY_IMAGE, CONTAINER_IMAGE]))
def test_twice_is_once(tmp_path: Path, lines: list[str], to: str) -> None:
    path = put(tmp_path, *lines)
    migrate.apply(migrate.plan(path, to))
    assert not migrate.plan(path, to).changed


@pytest.mark.parametrize("text", ["A && (B || C)", "(A && B) && !C", "$(a) && b =?= true", "x ? y : z"])
def test_conditions_joined_mean_the_same(text: str) -> None:
    import classad2

    def sense(expression: str) -> str:
        return str(classad2.ExprTree(expression.replace("$(a)", "(a)"))).replace("(", "").replace(")", "")

    assert sense(joined(split(text))) == sense(text)
