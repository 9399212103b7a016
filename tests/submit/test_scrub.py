"""Clean copies: nothing left of what was planted, voxels and affine as they were, nothing half-done."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from submit import scrub_files
from submit.errors import StageError
from submit.privacy import examine
from submit.scrub import Scrubbed, scrub

from .carriers import dicom, mha, nifti, pair, sidecar
from .planted import TABLE, Planted

BY_HAND = {"txt", "txt-phone", "readme", "nrrd", "dicom-burned-in"}


def everything(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def run(root: Path, out: Path) -> list[Scrubbed]:
    return scrub(root, everything(root), out)


def contents(path: Path) -> bytes:
    content = path.read_bytes()
    return content + (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else b"")


@pytest.mark.parametrize("one", [one for one in TABLE if one.place not in BY_HAND], ids=lambda one: one.place)
def test_nothing_planted_is_left(one: Planted, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    (root / one.name).parent.mkdir(parents=True)
    (root / one.name).write_bytes(one.content(one.value))
    (written,) = run(root, out)
    (copy,) = everything(out)
    assert copy == out / written.name
    assert one.value not in f"{written}"
    for text in (one.value.encode(), one.value.encode("utf-16-le")):
        assert text not in contents(copy) and one.value not in str(copy.relative_to(out))
    assert not [left for left in examine(out, [copy]) if left.serious or "Comment" in left.where]


@pytest.mark.parametrize("one", [one for one in TABLE if one.place in BY_HAND], ids=lambda one: one.place)
def test_what_only_a_person_can_clean_is_refused_before_anything_is_written(one: Planted, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    (root / "0.nii").write_bytes(nifti(descrip=b"Smith^John"))
    (root / one.name).write_bytes(one.content(one.value))
    with pytest.raises(StageError, match=f"cannot be cleaned: {one.name} .*nothing was written") as caught:
        run(root, out)
    assert one.value == "YES" or one.value not in str(caught.value)
    assert not out.exists()


def test_archives_and_the_unreadable_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for number in range(7):
        (root / f"{number}.zip").write_bytes(b"PK")
    (root / "a.nii").write_bytes(b"torn")
    with pytest.raises(StageError, match=r"0\.zip .*4\.zip .* and 3 more; files without"):
        run(root, tmp_path / "out")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_and_affine_are_untouched(version: int, order: str, name: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    content = nifti(
        version=version, order=order, descrip=b"Smith^John", extensions=((6, b"dob 3/4/1985"),), behind=b"mrn12345"
    )
    (root / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (written,) = run(root, out)
    before, after = nibabel.load(root / name), nibabel.load(out / name)
    assert np.array_equal(before.affine, after.affine)
    assert np.array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    assert before.header.get_zooms() == after.header.get_zooms() and not len(after.header.extensions)
    raw = np.asarray(nibabel.load(root / name).dataobj.get_unscaled()).tobytes("F")
    assert written.voxels == hashlib.sha256(raw).hexdigest() and len(written.affine) == 64 and written.cleaned
    again = tmp_path / "again"
    run(root, again)
    assert (again / name).read_bytes() == (out / name).read_bytes()


def test_pairs_and_metaimages_with_their_data_beside(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    (root / "Smith_John").mkdir(parents=True)
    pair(root, descrip=b"Smith^John")
    with (root / "x.img").open("ab") as file:
        file.write(b"Smith^John")
    image = mha()
    voxels = image[image.index(b"LOCAL\n") + 6 :]
    (root / "Smith_John" / "Smith_John_t1.raw").write_bytes(voxels)
    (root / "Smith_John" / "a.mhd").write_bytes(mha("Comment = of John Smith\nPatientID = 4\n", "Smith_John_t1.raw"))
    written = {one.was: one for one in run(root, out)}
    assert np.array_equal(nibabel.load(out / "x.hdr").get_fdata(), nibabel.load(root / "x.hdr").get_fdata())
    assert written["Smith_John/a.mhd"].name == "case-0001/a.mhd"
    assert (out / "case-0001" / "case-0001_t1.raw").read_bytes() == voxels
    assert b"ElementDataFile = case-0001_t1.raw" in (out / "case-0001" / "a.mhd").read_bytes()
    assert examine(out, everything(out)) == []


def test_a_phantom_stays_marked(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    (root / "a.nii").write_bytes(nifti(descrip=b"osgdl phantom", aux_file=b"Smith^John"))
    (root / "a.mha").write_bytes(mha("Comment = osgdl phantom\nPatientName = Quagmire\n"))
    run(root, out)
    header = nibabel.load(out / "a.nii").header
    assert (header["descrip"].item(), header["aux_file"].item()) == (b"osgdl phantom", b"")
    assert b"Comment = osgdl phantom\n" in (out / "a.mha").read_bytes()


def test_json_and_tables_keep_what_is_clean(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    (root / "a.json").write_bytes(
        sidecar(PatientName="Quagmire", deep=[{"dob": "1985", "TE": 2.5}], file="Smith_John_t1.nii")
    )
    (root / "a.csv").write_text("case,last_name,grade\n1,Quagmire,HGG\n2,,LGG\n")
    (root / "Smith_John_t1.nii").write_bytes(nifti())
    (root / "untouched.json").write_bytes(b'{"EchoTime":   0.1}')
    run(root, out)
    found = json.loads((out / "a.json").read_text())
    assert found["EchoTime"] == 0.0027 and found["deep"] == [{"TE": 2.5}] and "PatientName" not in found
    assert found["file"] == "case-0001_t1.nii"
    assert (out / "a.csv").read_text() == "case,last_name,grade\n1,,HGG\n2,,LGG\n"
    assert (out / "case-0001_t1.nii").read_bytes() == nifti()
    assert json.loads((out / "untouched.json").read_text()) == {"EchoTime": 0.1}


def test_dicom_files_of_one_person_stay_together(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()

    def person(name: str, number: int) -> bytes:
        def change(data: pydicom.Dataset) -> None:
            data.PatientName = data.PatientID = name
            data.StudyInstanceUID, data.SOPInstanceUID = f"1.2.840.113619.{len(name)}", f"1.2.840.113619.9.{number}"
            data.StudyDate, data.PatientAge, data.DeviceSerialNumber = "20190304", "093Y", "45193"
            data.add_new(0x60003000, "OW", b"\1\2")

        return dicom(change, removed=False)

    for number, name in enumerate(("Quagmire^A", "Quagmire^A", "Brand^Bo")):
        (root / f"{number}.dcm").write_bytes(person(name, number))
    written = run(root, out)
    one, two, other = (pydicom.dcmread(out / f"{number}.dcm") for number in range(3))
    assert one.PatientID == two.PatientID == "person-0001" and other.PatientID == "person-0002"
    assert one.StudyInstanceUID == two.StudyInstanceUID != other.StudyInstanceUID
    assert len({each.SOPInstanceUID for each in (one, two, other)}) == 3
    assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
    assert one.SOPClassUID == pydicom.uid.MRImageStorage and one.PatientIdentityRemoved == "YES"
    assert one.StudyDate == "" and one.PatientAge == "090Y" and "DeviceSerialNumber" not in one
    assert one.PixelData == pydicom.dcmread(root / "0.dcm").PixelData
    assert written[0].voxels == hashlib.sha256(one.PixelData).hexdigest()
    assert examine(out, everything(out)) == []


def test_a_folder_that_is_in_the_way(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.nii").write_bytes(nifti())
    for out in (root / "clean", root, tmp_path):
        with pytest.raises(StageError, match="lies in the data set or around it"):
            run(root, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(StageError, match="is not empty"):
        run(root, tmp_path / "full")
    with pytest.raises(StageError, match="is not empty"):
        run(root, root / ".." / "full")


def test_two_names_that_become_one(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for name in ("Smith_John_t1.nii", "case-0001_t1.nii"):
        (root / name).write_bytes(nifti())
    with pytest.raises(StageError, match=r"S\*{4}_J\*{3}_t1.nii get the same name|get the same name"):
        run(root, tmp_path / "out")


@pytest.mark.parametrize("spoil", ["voxels", "cleaning"])
def test_a_copy_that_is_not_what_it_should_be_is_not_kept(
    spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    (root / "a.nii").write_bytes(nifti(descrip=b"Smith^John"))
    true = scrub_files.cleaner(root / "a.nii")
    assert true

    def spoilt(source: Path, target: Path, *rest: object) -> None:
        true(source, target, *rest)  # type: ignore[arg-type]
        content = bytearray(target.read_bytes())
        if spoil == "voxels":
            content[-1] ^= 1
        else:
            content[148:158] = b"Smith^John"
        target.write_bytes(content)

    monkeypatch.setattr(scrub_files, "cleaner", lambda path: spoilt)
    with pytest.raises(StageError, match="not the source's" if spoil == "voxels" else "still has something") as caught:
        run(root, out)
    assert "Smith" not in str(caught.value) and everything(out) == []


def test_a_torn_image_is_named(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    (root / "a.nii").write_bytes(nifti(descrip=b"Smith^John")[:-100])
    with pytest.raises(StageError, match=r"a\.nii: cannot be copied \(Unreadable\); a whole file"):
        run(root, out)
    assert everything(out) == []


def test_the_folder_for_copies_may_not_take_them(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    out.mkdir(mode=0o500)
    (root / "a.nii").write_bytes(nifti())
    with pytest.raises(OSError):
        run(root, out)
