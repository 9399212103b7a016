"""Planted identifiers are found wherever they lie and never repeated; clean data raise no alarm."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from submit import privacy
from submit.privacy import Finding, describe, examine
from unet_segmentation import phantom

from .carriers import dicom, mha, nifti, pair, sidecar
from .planted import TABLE, Planted


def everything(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def plant(root: Path, one: Planted) -> list[Finding]:
    path = root / one.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(one.content(one.value))
    return examine(root, everything(root))


def test_enough_is_planted() -> None:
    assert len({one.place for one in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.place)
def test_a_planted_identifier_is_found_and_never_repeated(one: Planted, tmp_path: Path) -> None:
    findings = plant(tmp_path, one)
    assert findings
    said = "\n".join([*describe(findings), *map(str, findings)])
    # the word that says yes is the tag's own
    assert one.value == "YES" or one.value.lower() not in said.lower()
    for word in one.value.replace("^", " ").replace("_", " ").split():
        assert len(word) < 5 or word.lower() in ("patient", "name:") or word.lower() not in said.lower()


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.place)
def test_without_the_identifier_the_same_file_is_clean(one: Planted, tmp_path: Path) -> None:
    if one.content("").startswith(b"\x1f\x8b") and "/" not in one.name and one.name != "a.nii.gz":
        pytest.skip("the identifier is in the name")
    clean = Planted(one.place, Path(one.name).name if "/" in one.name else one.name, "", one.content)
    if clean.place in ("json-key-itself", "mhd-data-file"):
        pytest.skip("no such file without a value")
    # a DICOM file that doesn't say that identities are removed, and private tags, are findings in themselves
    if clean.place in ("dicom-private", "dicom-behind-pixels"):
        assert all(not one.serious for one in plant(tmp_path, clean))
    else:
        assert not plant(tmp_path, clean)


def test_an_img_is_looked_at_with_its_header(tmp_path: Path) -> None:
    pair(tmp_path, descrip=b"FSL5.0")
    assert not examine(tmp_path, everything(tmp_path))
    with (tmp_path / "x.img").open("ab") as file:
        file.write(b"Smith^John")
    found = examine(tmp_path, everything(tmp_path))
    assert [(one.path, one.where) for one in found] == [("x.img", "behind the voxels")]
    (tmp_path / "x.hdr").unlink()
    assert privacy.UNREADABLE in [one.what for one in examine(tmp_path, everything(tmp_path))]


@pytest.mark.parametrize(
    "text",
    ["TE=2.7;sec=12.1", "FSL5.0", "5.0.10", "6.0.5:9e026117", "Nipype", "SPM", "spm - realigned", "2013",
     "FreeSurfer Jan 18 2017", "FreeSurfer Sep 12 2014", "dcm2niix v1.0.20220720", "Time Series", "Brain Mask"],
)  # fmt: skip
def test_what_software_writes_is_no_alarm(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti(descrip=text.encode()))
    assert not examine(tmp_path, everything(tmp_path))


PUBLISHED = """
BraTS20_Training_001/BraTS20_Training_001_flair.nii  BraTS20_Training_355/W39_1998.09.19_Segm.nii
BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz   BraTS-MET-00002-001/BraTS-MET-00002-001-t1n.nii.gz
HGG/Brats18_2013_2_1/Brats18_2013_2_1_t1ce.nii.gz    HGG/Brats17_2013_10_1/Brats17_2013_10_1_seg.nii.gz
LGG/Brats18_CBICA_AAB_1/Brats18_CBICA_AAB_1_t1.nii.gz LGG/Brats18_TCIA01_131_1/Brats18_TCIA01_131_1_t2.nii.gz
HGG/brats_2013_pat0005_1/VSD.Brain.XX.O.MR_Flair.54512/VSD.Brain.XX.O.MR_Flair.54512.mha
HGG/brats_tcia_pat105_0001/VSD.Brain_3more.XX.XX.OT.6560/VSD.Brain_3more.XX.XX.OT.6560.mha
Image_Data/HG/0001/VSD.Brain.XX.O.MR_Flair/VSD.Brain.XX.O.MR_Flair.684.mha  HG0001/t1.mha
imagesTr/BRATS_001.nii.gz labelsTr/BRATS_001.nii.gz imagesTr/prostate_00.nii.gz imagesTr/la_003.nii.gz
sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz sub-01/ses-01/anat/sub-01_ses-01_acq-mprage_run-2_FLAIR.json
brats_2013_pat0005_1/Flair_subtrMeanDivStd.nii.gz brats_2013_pat0005_1/OTMultiClass.nii.gz
UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1c_bias.nii.gz TCGA-02-0003/TCGA-02-0003_1.nii.gz Task01_BrainTumour/dataset.json
License_CC_BY_NC_SA_3.0.txt survival_info.csv name_mapping.csv participants.tsv dataset_description.json
BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz Phantom_00001/Phantom_00001_t1.nii.gz fold_0/split-3.json
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_of_published_data_are_no_alarm(name: str) -> None:
    assert [part for part in Path(name).parts if privacy.name_hits(part)] == []


def test_tables_and_sidecars_of_published_data_are_no_alarm(tmp_path: Path) -> None:
    texts = {
        "survival_info.csv": "Brats20ID,Age,Survival_days,Extent_of_Resection\nBraTS20_Training_001,60.46,289,GTR\n",
        "name_mapping.csv": "Grade,BraTS_2017_subject_ID,TCGA_TCIA_subject_ID,BraTS_2020_subject_ID\n"
        "HGG,Brats17_CBICA_AAB_1,NA,BraTS20_Training_001\nHGG,Brats17_2013_10_1,TCGA-02-0003,BraTS20_Training_002\n",
        "participants.tsv": "participant_id\tage\tsex\nsub-01\t34\tF\nsub-02\t89\tM\n",
        "dataset_description.json": '{"Name": "Brain tumours", "BIDSVersion": "1.9.0", "Authors": ["John Smith"]}',
        "dataset.json": '{"name": "BRATS", "description": "Gliomas", "reference": "https://doi.org/10.1109/TMI.2014.2377694",'
        ' "licence": "CC-BY-SA 4.0", "release": "2.0 04/05/2018", "labels": {"0": "background", "1": "edema"},'
        ' "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}]}',
        "labels.csv": "value,name\n1,Whole Tumour\n2,Enhancing Core\n",
        "dwi.bvec": "0 0.70711 -0.70711 1e-05\n0 1000 1000 2000\n",
        "LICENSE.txt": "Menze, B. H. et al., 2015, IEEE TMI 34(10), 1993-2024. Kamnitsas. Contact: data@example.org\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "sub-01_T1w.json").write_bytes(sidecar(RepetitionTime=2.3, ImageType=["ORIGINAL", "PRIMARY"]))
    (tmp_path / "a.mha").write_bytes(mha("AnatomicalOrientation = RAI\nCenterOfRotation = 0 0 0\n"))
    (tmp_path / "public.dcm").write_bytes(dicom(lambda data: setattr(data, "PatientID", "TCGA-02-0003")))
    assert examine(tmp_path, everything(tmp_path)) == []


LAYOUTS = ("brats2013", "brats2015", "brats2017-2019", "brats2020", "brats2021", "brats2023", "brats2024", "msd-task01",
           "msd-task01-test", "deepmedic2015")  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_phantoms_raise_no_alarm(layout: str, tmp_path: Path) -> None:
    phantom.write(tmp_path, {"": 3}, seed=4, layout=layout, size=(48, 56, 32))
    assert examine(tmp_path, everything(tmp_path)) == []


def test_the_layouts_are_all_of_them() -> None:
    from unet_segmentation.naming import layouts

    assert set(LAYOUTS) == set(layouts())


def test_the_real_patients_raise_no_alarm(brats2015: Path) -> None:
    files = everything(brats2015)
    assert len(files) >= 20
    assert examine(brats2015, files) == []


def test_headers_of_many_patients_are_quick(tmp_path: Path) -> None:
    packed = gzip.compress(nifti(descrip=b"FSL5.0"))
    for patient in range(500):
        folder = tmp_path / f"BraTS20_Training_{patient:03d}"
        folder.mkdir()
        for name in ("flair", "t1", "t1ce", "t2", "seg"):
            (folder / f"BraTS20_Training_{patient:03d}_{name}.nii.gz").write_bytes(packed)
    files = everything(tmp_path)
    begun = time.monotonic()
    assert examine(tmp_path, files, skulls=False) == []
    assert time.monotonic() - begun < 20


def test_a_report_is_for_people(tmp_path: Path) -> None:
    for patient in ("Smith_John", "Jones_Mary"):
        (tmp_path / patient).mkdir()
        for name in ("t1", "t2"):
            (tmp_path / patient / f"{name}.nii").write_bytes(nifti(descrip=b"TE=2;Time=134512.1"))
    (tmp_path / "scan.pdf").write_bytes(b"%PDF")
    told: list[tuple[int, int]] = []
    findings = examine(tmp_path, everything(tmp_path), lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == 5 + 2
    lines = describe(findings)
    assert lines[:2] == [
        "found: a folder's name: looks like a person's name (2 files, such as J****_M***/t1.nii)",
        "found: NIfTI descrip: looks like a time of day (4 files, such as J****_M***/t1.nii)",
    ]
    assert lines[2] == "warning: the file: is of a kind that the gate cannot look into (scan.pdf)"
    assert "--scrub DIR" in lines[-1] and '--i-know-it-is-allowed "reason"' in lines[-1]
    warnings = describe([one for one in findings if not one.serious])
    assert warnings[-1].startswith("Warnings stop nothing")
    assert describe([]) == []
    assert examine(tmp_path, list(reversed(everything(tmp_path)))) == findings


def test_what_cannot_be_looked_into(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "a.nii").write_bytes(b"no image")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    found = {one.path: one for one in examine(tmp_path, [*everything(tmp_path), tmp_path / "gone.json"])}
    assert found["a.zip"].serious and "archive" in found["a.zip"].what
    for name in ("a.nii", "a.npy", "gone.json"):
        assert found[name].what == privacy.UNREADABLE and found[name].serious
    assert "unpack it" in "\n".join(describe(list(found.values())))


def test_a_file_that_cannot_be_read_is_not_to_be_scrubbed() -> None:
    lines = describe([Finding("p1/t1.nii.gz", "the file", privacy.UNREADABLE)])
    assert lines[-1] == "Nothing was sent. Mend these files, or leave them out."
