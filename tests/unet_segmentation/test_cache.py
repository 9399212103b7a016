"""The folder of prepared patients, made of real files: whole or absent, checked, and as small in memory as on paper."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_segmentation import cache, cli, entry, layouts, phantom, verify
from unet_segmentation import prepare as preparing
from unet_segmentation.cache import Result
from unet_segmentation.layouts import Dataset

ROOT = Path(__file__).parents[2]
MODALITIES = ("flair", "t1c")
PATIENT = "Phantom_00001"


def prepare(data: Path, folder: Path, modalities: tuple[str, ...] = MODALITIES, **more: Any) -> Result:
    return cache.prepare(layouts.find(data / "train"), modalities, folder, need_truth=True, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of every entry; about.json without the times of the source files."""
    found = {}
    for file in sorted(folder.glob("*/*")):
        content = file.read_bytes()
        if file.name == entry.ABOUT:
            about = json.loads(content)
            del about["sha256"]
            for source in about["sources"].values():
                del source["mtime_ns"]
            content = json.dumps(about).encode()
        found[f"{file.parent.name}/{file.name}"] = content
    return found


@pytest.fixture(scope="session")
def filled(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of both training patients; never changed."""
    folder = tmp_path_factory.mktemp("filled")
    prepare(phantoms, folder)
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def test_what_lies_there_is_what_was_prepared(phantoms: Path, filled: Path) -> None:
    dataset = layouts.find(phantoms / "train")
    for stored, patient in zip(prepare(phantoms, filled).prepared, dataset.patients, strict=True):
        checked = verify.inspect(patient, MODALITIES, dataset.layout.convention, need_truth=True).checked
        assert checked is not None
        made = preparing.prepare(patient.name, checked.images, checked.inside, checked.truth, dataset.layout.convention)
        assert (stored.name, stored.box, stored.shape) == (made.name, made.box, made.shape)
        assert stored.spacing == made.spacing == (4.8, 4.666667, 5.5)
        assert stored.images.dtype == np.float16 and np.array_equal(stored.images, made.images)
        assert stored.classes is not None and made.classes is not None
        assert stored.classes.dtype == np.uint8 and np.array_equal(stored.classes, made.classes)
        assert stored.places.keys() == made.places.keys() == {1, 2, 3}
        for value, where in stored.places.items():
            assert where.dtype == np.uint16 and np.array_equal(where, made.places[value])
            assert (stored.classes[tuple(where.T)] == value).all()
        assert stored.intensities == made.intensities
        assert not stored.images.flags.writeable and not stored.images.flags.owndata
        # NumPy's own format, for whoever wants to look
        assert np.array_equal(np.load(filled / patient.name / entry.IMAGES, mmap_mode="r"), made.images)


def test_the_second_time_nothing_is_written(phantoms: Path, folder: Path, capsys: Any) -> None:
    def times() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in folder.glob("*/*")}

    before = times()
    result = prepare(phantoms, folder)
    assert result.kept == 2 and times() == before
    out, err = capsys.readouterr()
    assert out == f"prepared   {result}\n" and str(result).startswith("2 patients, ")
    assert str(result).endswith(" MB/s, 2 of them were there already") and "made anew" not in err
    fresh = verify.verify(layouts.find(phantoms / "train"), MODALITIES, need_truth=True)
    assert verify.dataset_hash(result.reports) == verify.dataset_hash(fresh)
    assert [report.facts for report in result.reports] == [report.facts for report in fresh]
    assert [report.warnings for report in result.reports] == [report.warnings for report in fresh]
    assert all(report.checked is None for report in result.reports)


def test_the_line_at_the_end() -> None:
    patients: list[Any] = [object()] * 4
    assert str(Result(patients, [], [], 3, 57_000_000, 57 / 31)) == (
        "4 patients, 57 MB, 31 MB/s, 3 of them were there already"
    )
    assert str(Result(patients[:1], [], [], 0, 14_000_000, 0.5)) == "1 patient, 14 MB, 28 MB/s"
    assert str(Result(patients, [], [], 1, 0, 0.0)) == "4 patients, 0 MB, 0 MB/s, 1 of them was there already"


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def replace_with_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: truncate(place / entry.IMAGES), "images.npy has "),
        (lambda place: truncate(place / entry.CLASSES), "classes.npy has "),
        (lambda place: flip(place / entry.IMAGES), "images.npy is not what was written"),
        (lambda place: flip(place / entry.IMAGES, 20), "images.npy is not what was written"),
        (lambda place: flip(place / entry.PLACES), "places.npy is not what was written"),
        (lambda place: (place / entry.CLASSES).unlink(), "classes.npy is unreadable"),
        (lambda place: (place / entry.ABOUT).unlink(), "about.json is unreadable"),
        (lambda place: (place / entry.ABOUT).write_text("[1]"), "about.json is unreadable"),
        (lambda place: (place / entry.ABOUT).write_text("{}"), "about.json is unreadable"),
        (lambda place: flip(place / entry.ABOUT, 40), "about.json is "),
        (replace_with_file, "about.json is unreadable"),
    ],
    ids=[
        "images-torn",
        "classes-torn",
        "images-flipped",
        "header-flipped",
        "places-flipped",
        "classes-gone",
        "about-gone",
        "about-a-list",
        "about-empty",
        "about-flipped",
        "a-file-instead",
    ],
)
def test_a_damaged_entry_is_made_anew(
    phantoms: Path, filled: Path, folder: Path, damage: Callable[[Path], None], said: str, capsys: Any
) -> None:
    damage(folder / PATIENT)
    assert prepare(phantoms, folder).kept == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "made anew" in line]
    assert len(lines) == 1 and lines[0].startswith(f"{folder / PATIENT}: {said}")
    assert contents(folder) == contents(filled)
    assert prepare(phantoms, folder).kept == 2
    assert {path.name for path in folder.glob(".*")} == {".lock"}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_about_json_is_noticed(folder: Path, place: float, bit: int) -> None:
    file = folder / PATIENT / entry.ABOUT
    whole = file.read_bytes()
    entry.read(file.parent)
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= 1 << bit
    file.write_bytes(changed)
    try:
        with pytest.raises(entry.Damaged):
            entry.read(file.parent)
    finally:
        file.write_bytes(whole)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([entry.IMAGES, entry.CLASSES, entry.PLACES]), kept=st.floats(0, 1, exclude_max=True))
def test_any_torn_array_is_noticed(folder: Path, name: str, kept: float) -> None:
    file = folder / PATIENT / name
    about = entry.read(file.parent)
    entry.check(file.parent, about)
    whole = file.read_bytes()
    os.truncate(file, int(kept * len(whole)))
    try:
        with pytest.raises(entry.Damaged):
            entry.check(file.parent, about)
    finally:
        file.write_bytes(whole)


def stale(lines: str) -> str:
    return next(line for line in lines.splitlines() if "made anew" in line)


def test_other_settings_are_not_mixed(phantoms: Path, folder: Path, capsys: Any) -> None:
    straight = prepare(phantoms, folder).prepared[0].images
    turned = prepare(phantoms, folder, ("t1c", "flair"))
    assert turned.kept == 0 and "prepared with other settings" in stale(capsys.readouterr().err)
    assert np.array_equal(turned.prepared[0].images[..., ::-1], straight)
    dataset = layouts.find(phantoms / "train")
    other = Dataset(dataset.folder, layouts.layouts()["brats2023"], dataset.patients)
    assert other.layout.convention != dataset.layout.convention
    result = cache.prepare(other, ("t1c", "flair"), folder, need_truth=True)
    assert result.kept == 0  # label 4 is nothing there
    assert not result.prepared and all(report.faults for report in result.reports)


def test_a_changed_file_is_read_again(data: Path, folder: Path, capsys: Any) -> None:
    assert prepare(data, folder).kept == 2  # a copy of the data, elsewhere
    (data / "train" / PATIENT / f"{PATIENT}_flair.nii.gz").write_bytes(
        (data / "train" / "Phantom_00002" / "Phantom_00002_flair.nii.gz").read_bytes()
    )
    capsys.readouterr()
    result = prepare(data, folder)
    assert result.kept == 1
    assert f"{PATIENT}_flair.nii.gz has changed" in stale(capsys.readouterr().err)
    other = result.reports[1].files["Phantom_00002_flair.nii.gz"]
    assert result.reports[0].files[f"{PATIENT}_flair.nii.gz"] == other


def test_a_file_of_another_time_is_read_and_compared(data: Path, folder: Path) -> None:
    file = data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz"
    os.utime(file, ns=(1, 1))
    before = (folder / PATIENT / entry.IMAGES).stat().st_mtime_ns
    assert prepare(data, folder).kept == 2
    assert entry.read(folder / PATIENT)["sources"]["truth"]["mtime_ns"] == 1
    assert (folder / PATIENT / entry.IMAGES).stat().st_mtime_ns == before
    flip(file)  # in gzip's own length field: same size
    result = prepare(data, folder)
    assert result.kept == 1 and "unreadable" in str(result.reports[0].faults[0])


def test_a_truth_that_comes_or_goes(data: Path, folder: Path, capsys: Any) -> None:
    file = data / "train" / PATIENT / f"{PATIENT}_seg.nii.gz"
    truth = file.read_bytes()
    file.unlink()
    dataset = layouts.find(data / "train")
    needed = cache.prepare(dataset, MODALITIES, folder, need_truth=True)
    assert [bool(report.faults) for report in needed.reports] == [True, False] and len(needed.prepared) == 1
    without = cache.prepare(dataset, MODALITIES, folder, need_truth=False)
    assert without.kept == 1 and without.prepared[0].classes is None and not without.prepared[0].places
    assert "prepared from other files" in stale(capsys.readouterr().err)
    assert cache.prepare(dataset, MODALITIES, folder, need_truth=True).reports[0].faults
    assert cache.prepare(dataset, MODALITIES, folder, need_truth=False).kept == 2
    file.write_bytes(truth)
    again = prepare(data, folder)
    assert again.kept == 1 and again.prepared[0].classes is not None


def test_a_patient_at_fault_leaves_no_entry_and_the_others_theirs(data: Path, tmp_path: Path) -> None:
    (data / "train" / PATIENT / f"{PATIENT}_t1ce.nii.gz").write_bytes(b"torn")
    result = prepare(data, tmp_path / "cache")
    assert [bool(report.faults) for report in result.reports] == [True, False]
    assert [patient.name for patient in result.prepared] == ["Phantom_00002"]
    assert not (tmp_path / "cache" / PATIENT).exists()


@pytest.mark.parametrize("name", ["HGG/pat 1", ".hidden", "..", "Ä%2F", "a+b=c"])
def test_any_name_of_a_patient(phantoms: Path, tmp_path: Path, name: str) -> None:
    found = layouts.find(phantoms / "train")
    patient = type(found.patients[0])(**{**vars(found.patients[0]), "name": name})
    dataset = Dataset(found.folder, found.layout, (patient,))
    for kept in (0, 1):
        result = cache.prepare(dataset, MODALITIES, tmp_path / "cache", need_truth=True)
        assert result.kept == kept and result.prepared[0].name == name and result.prepared[0].images.size
    assert len([path for path in (tmp_path / "cache").iterdir() if path.name[0] != "."]) == 1


def repeated(count: int, folder: Path, size: tuple[int, int, int]) -> None:
    """Patients by different names of the same files: made at once, and as much work as others."""
    with tempfile.TemporaryDirectory(dir=folder.parents[1]) as first:
        phantom.write(Path(first), {"": 1}, seed=2, size=size)
        (source,) = Path(first).iterdir()
        for number in range(count):
            name = f"Phantom_{number:05d}"
            (folder / name).mkdir(parents=True)
            for file in source.iterdir():
                (folder / name / file.name.replace(source.name, name)).hardlink_to(file)


def command(data: Path, folder: Path) -> list[str]:
    words = ["--data", str(data), "--out", str(folder), "--set", f"data.modalities={list(MODALITIES)}"]
    return [sys.executable, "-m", "unet_segmentation", "prepare", *words]


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What was finished stays, the rest is made, and the result is that of a run never stopped."""
    repeated(10, tmp_path / "data" / "train", (64, 64, 48))
    prepare(tmp_path / "data", tmp_path / "whole")
    chance = random.Random(1)
    folder = tmp_path / "cache"
    words = command(tmp_path / "data", folder)
    folder.mkdir()
    for _ in range(4):
        before = folder.stat().st_mtime_ns
        running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and folder.stat().st_mtime_ns == before:  # until it writes
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.04))
        running.send_signal(signal.SIGKILL)
        running.wait()
        finished = [path.name for path in folder.glob("[!.]*") if path.is_dir()]
        for name in finished:
            entry.check(folder / name, entry.read(folder / name))
        print(f"{len(finished)} finished; {sorted(str(rest) for rest in folder.glob('.*/*'))}")
    result = prepare(tmp_path / "data", folder)
    assert result.kept == len(finished)
    assert contents(folder) == contents(tmp_path / "whole")
    assert {path.name for path in folder.glob(".*")} == {".lock"}


def test_two_at_once(phantoms: Path, filled: Path, tmp_path: Path) -> None:
    words = command(phantoms, tmp_path / "c")
    running = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    found = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], found
    shutil.rmtree(tmp_path / "c" / "Phantom_00003")  # of validation/
    assert contents(tmp_path / "c") == contents(filled)


def test_whoever_comes_second_waits(phantoms: Path, folder: Path) -> None:
    words = command(phantoms / "train", folder)
    with cache._locked(folder):
        running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        assert running.stderr.readline() == f"{folder}: another process prepares there; waiting for it\n"
        assert running.poll() is None
    running.communicate(timeout=60)
    assert running.returncode == 0


def test_a_cache_that_is_a_file(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert cli.main(["prepare", "--data", str(phantoms), "--out", str(out)]) == 65
        line = capsys.readouterr().err
        assert line == f"{out}: a file; a folder for prepared patients; name another, or remove it\n"


FULL = """
mount -t tmpfs -o size=400k none "$1" && cd "$2" || exit
"$3" -m unet_segmentation prepare --data "$4" --out "$1/c"
code=$?
find "$1/c" -type f
exit $code
"""


def test_a_full_disk_is_the_machines_fault(phantoms: Path, tmp_path: Path) -> None:
    """A real one: a file system of 400 kB in a mount namespace of its own."""
    way = ["unshare", "--map-root-user", "--mount"]
    (tmp_path / "disk").mkdir()
    if (
        shutil.which("unshare") is None
        or subprocess.run([*way, "mount", "-t", "tmpfs", "none", tmp_path / "disk"], capture_output=True).returncode
    ):
        pytest.skip("no user namespaces here: a small disk cannot be made")
    words = ["sh", "-c", FULL, "sh", tmp_path / "disk", ROOT, sys.executable, phantoms]
    done = subprocess.run([*way, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "/disk/c/Phantom_0000" in done.stderr
    assert "No space left on device; this machine's disk cannot be written" in done.stderr
    assert not [file for file in done.stdout.splitlines() if "/.new/" in file or "/.old/" in file]


MEMORY = """
import sys
from pathlib import Path
from unet_segmentation import cache, layouts
result = cache.prepare(layouts.find(Path(sys.argv[1])), ("flair", "t1c"), Path(sys.argv[2]), need_truth=True, workers=2)
# getrusage would tell the peak of whoever started this process, if that was higher
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(len(result.prepared), peak.split()[1])
"""


def peak(data: Path, folder: Path) -> tuple[int, float]:
    """Patients, and MiB of a process that prepares them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, data, folder], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, memory = done.stdout.splitlines()[-1].split()
    return int(count), int(memory) / 1024


def test_memory_is_flat_however_many_patients(tmp_path: Path) -> None:
    for count in (3, 12):
        repeated(count, tmp_path / str(count), (96, 112, 96))
    few = peak(tmp_path / "3", tmp_path / "few")
    many = peak(tmp_path / "12", tmp_path / "many")
    assert (few[0], many[0]) == (3, 12)
    again = peak(tmp_path / "12", tmp_path / "many")
    size = sum(file.stat().st_size for file in (tmp_path / "many").glob("*/*.npy")) / 2**20
    print(f"{few[1]:.0f} MiB for 3, {many[1]:.0f} for 12, {again[1]:.0f} when there; cache {size:.0f} MiB")
    assert many[1] < few[1] + 10
    assert again[1] < few[1] and size > 20


MANY = """
import resource, sys
import numpy as np
from pathlib import Path
from unet_segmentation import entry
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
resource.setrlimit(resource.RLIMIT_NOFILE, (entry.OPEN + 50,) * 2)
folder = Path(sys.argv[1])
about = entry.read(folder)
patients = []
for number in range(entry.OPEN + 200):
    copy = folder.with_name(f"copy{number}")
    copy.mkdir()
    arrays = {name: {**array, "sha256": str(number)} for name, array in about["arrays"].items()}
    for name in arrays:
        (copy / name).hardlink_to(folder / name)
    patients.append(entry.Stored(copy, {**about, "arrays": arrays}))
before = resident()
held = [patient.images for patient in patients[: entry.OPEN - 10]]
assert resident() - before < 3, resident() - before
del held
total = {patient.images[0].sum(dtype=np.float32) for patient in patients for _ in range(2)}
assert len(total) == 1
print(sum(held["bytes"] for held in about["arrays"].values()) * len(patients) / 2**20)
"""


def test_more_patients_than_files_may_be_open(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, folder / PATIENT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 50


def test_the_command(phantoms: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["prepare", "--data", str(phantoms), "--out", str(tmp_path / "cache")]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert out.count("prepared   ") == 2 and f"train with --set data.cache={tmp_path}/cache" in out
    found = json.loads((tmp_path / "cache" / "fingerprint.json").read_text())
    assert found["patients"] == 3 and list(found["modalities"]) == ["flair", "t1", "t1c", "t2"]
    assert found["shapes"] == [{"xyz": [40, 48, 32], "patients": 3}]
    assert cli.main([*words, "--set", "data.modalities=['dwi']"]) == 65
    (Path(shutil.copytree(phantoms, tmp_path / "bad")) / "train" / PATIENT / f"{PATIENT}_t2.nii.gz").unlink()
    capsys.readouterr()
    assert cli.main(["prepare", "--data", str(tmp_path / "bad"), "--out", str(tmp_path / "other")]) == 65
    assert f"{PATIENT}/{PATIENT}_t2.nii.gz: missing; the t2 image" in capsys.readouterr().err
    assert not (tmp_path / "other" / "fingerprint.json").exists()


def test_a_fault_of_ours_names_the_patient(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "normalised", lambda *words: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        prepare(phantoms, tmp_path / "cache")
    assert caught.value.__notes__ == [f"while preparing {PATIENT}"]
