"""The disk of a job on staged data, and what becomes of the request for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submit import disk, stage_lines
from submit.description import Description
from submit.errors import KitError
from submit.runtime.network import Network
from submit.submission import Submission
from tests.submit import manifests

GIB = 2**30
CVMFS = '+SingularityImage = "/cvmfs/singularity.opensciencegrid.org/a/b:1"\n'


def job(folder: Path, text: str = "") -> Submission:
    return Submission(Description(f"{text}queue\n", folder / "a.sub"))


def test_the_parts(tmp_path: Path) -> None:
    facts = manifests.dataset(2)
    found = disk.needed([manifests.make(2, 10**8, dataset=facts)], job(tmp_path, CVMFS))
    assert (found.image, found.objects, found.unpacked, found.work) == (0, 2 * 10**8, 4 * 10**8, disk.WORK)
    # a box of 3 million voxels, five bytes each
    assert found.prepared == 2 * 3_000_000 * 5
    assert found.gib == 3
    assert str(found).startswith("shards 200.0 MB, unpacked 400.0 MB, prepared 30.0 MB, checkpoints")


def test_the_box_is_no_larger_than_the_image_and_counts_for_patients_that_travel(tmp_path: Path) -> None:
    facts = manifests.dataset(5, brain=8_000_000)
    assert disk.needed([manifests.make(2, dataset=facts)], job(tmp_path)).prepared == 2 * 240 * 240 * 155 * 5


def test_prepared_data_are_not_prepared_again_and_unknown_ones_are_guessed(tmp_path: Path) -> None:
    def prepared(**more: Any) -> int:
        return disk.needed([manifests.make(2, **more)], job(tmp_path)).prepared

    assert prepared(kind="prepared", dataset=manifests.dataset(2)) == 0
    assert prepared() == 2.5 * 4 * 10**6


def test_the_largest_fold_counts(tmp_path: Path) -> None:
    held = [manifests.make(count, GIB) for count in (1, 4, 2)]
    assert disk.needed(held, job(tmp_path)) == disk.needed(held[1:2], job(tmp_path))


def test_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSGDL_OSPOOL", str(tmp_path / "ospool"))
    (tmp_path / "ospool/ap40").mkdir(parents=True)
    for name in ("a.sif", "ospool/ap40/b.sif"):
        (tmp_path / name).write_bytes(bytes(1000))

    def image(text: str, known: int | None = None) -> tuple[int, bool]:
        found = disk.needed([manifests.make(1)], job(tmp_path, text), known)
        return found.image, found.image_known

    assert image("") == image(CVMFS) == (0, True)
    assert image("container_image = a.sif\n") == (2000, True)
    assert image("container_image = osdf:///ospool/ap40/b.sif\n") == (2000, True)
    assert image("container_image = osdf:///ospool/ap40/c.sif\n") == (15 * GIB, False)
    assert image("container_image = osdf:///ospool/ap40/c.sif\n", 10) == (20, True)
    assert image("container_image = docker://a/b:1\n") == (15 * GIB, False)


def test_a_model_says_what_its_checkpoints_need(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "1.0"
    folder.mkdir(parents=True)
    Network("unet", 10**8, 1, 1, 2, 8, "float32").write(folder / "model.json")
    found = disk.needed([manifests.make(1, dataset=manifests.dataset(1))], job(tmp_path))
    assert found.work == 4 * 10**8 * (3 * 3 + 2) + 240 * 240 * 155 + disk.WORK // 10
    (folder / "model.json").write_text("{}")
    with pytest.raises(KitError, match=r"model.json: no format 1"):
        disk.needed([manifests.make(1)], job(tmp_path))


@pytest.mark.parametrize(
    ("text", "wanted", "notes"),
    [
        ("", "3GB", []),
        ("request_disk = 2GB\n", "3GB", []),
        ("request_disk = 3GB\n", None, []),
        (
            "request_disk = 10GB\n",
            None,
            ["request_disk = 10GB is left as it is; 3GB would do, and finds more machines"],
        ),
        ("request_disk = 4 * 9\n", None, ["request_disk = 4 * 9 is left as it is; the job needs 3GB"]),
    ],
)
def test_a_request_is_only_raised(tmp_path: Path, text: str, wanted: str | None, notes: list[str]) -> None:
    asking = job(tmp_path, text)
    assert disk.request(disk.needed([manifests.make(1)], asking), asking) == (wanted, notes)


@pytest.mark.parametrize(("gpus", "noted"), [("", True), ("request_gpus = 1\n", True), ("request_gpus = 2\n", False)])
def test_more_than_pilots_keep_is_said(tmp_path: Path, gpus: str, noted: bool) -> None:
    asking = job(tmp_path, gpus)
    _, notes = disk.request(disk.needed([manifests.make(1, 8 * 10**8)], asking), asking)
    assert bool(notes) == noted
    if noted:
        assert "the job needs 9GB of disk (shards 800.0 MB, unpacked 1.6 GB" in notes[0]
        assert "keep 5GB for it" in notes[0]


def test_an_unknown_image_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.sub"
    path.write_text("container_image = osdf:///x/c.sif\nqueue\n")
    (change,) = stage_lines.use(manifests.write(tmp_path, manifests.make(1)), [path])
    assert "the size of osdf:///x/c.sif cannot be seen from here: 15GB of the disk are for it" in change.notes
    assert "request_disk = 19GB" in change.lines
