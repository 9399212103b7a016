"""The planted identifiers: (place, file's name, planted text, its bytes in the file)."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import NamedTuple

from pydicom.dataset import Dataset

from .carriers import analyze, dicom, mha, named, nifti, sidecar


class Planted(NamedTuple):
    """`value` stands in `content`, the bytes of the file `name`; or in the name itself."""

    place: str
    name: str
    value: str
    content: Callable[[str], bytes]


def _set(keyword: str) -> Callable[[str], bytes]:
    return lambda value: dicom(lambda data: setattr(data, keyword, value), removed=False)


def _nested(value: str) -> bytes:
    item = Dataset()
    item.PatientName = value
    return dicom(lambda data: setattr(data, "OtherPatientIDsSequence", [item]))


def _private(value: str) -> bytes:
    return dicom(lambda data: data.private_block(0x0029, "SIEMENS CSA", create=True).add_new(0x10, "LO", value))


def _behind_pixels(value: str) -> bytes:
    return dicom(lambda data: data.private_block(0x7FE1, "MAKER", create=True).add_new(0x10, "LO", value))


def _dataset(value: str) -> bytes:
    """As it lies in a NIfTI extension: without preamble."""
    data = Dataset()
    data.PatientName, data.Modality = value, "MR"
    whole = io.BytesIO()
    data.save_as(whole, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return whole.getvalue()


def _clean(value: str) -> bytes:
    return gzip.compress(nifti())


AFNI = '<AFNI_attributes><AFNI_atr atr_name="NOTE" ni_type="String">"{}"</AFNI_atr></AFNI_attributes>'

TABLE = [
    # NIfTI's header, both versions and byte orders, packed or not
    Planted("descrip", "a.nii.gz", "Smith^John", lambda v: gzip.compress(nifti(descrip=v.encode()))),
    Planted(
        "descrip-time", "a.nii.gz", "Time=134512.123", lambda v: gzip.compress(nifti(descrip=b"TE=2.7;" + v.encode()))
    ),
    Planted("descrip-date-plain", "a.nii", "19851231", lambda v: nifti(descrip=v.encode())),
    Planted("descrip-big-endian", "a.nii", "1985-12-31", lambda v: nifti(order=">", descrip=v.encode())),
    Planted("descrip-nifti2", "a.nii.gz", "John Smith", lambda v: gzip.compress(nifti(version=2, descrip=v.encode()))),
    Planted("descrip-behind-zero", "a.nii", "Hans Müller", lambda v: nifti(descrip=b"FSL5.0\0" + v.encode())),
    Planted("descrip-spread", "a.nii", "Maria Lopez", lambda v: nifti(descrip=v.encode("utf-16-le"))),
    Planted(
        "descrip-beside-software",
        "a.nii",
        "Mary Jones",
        lambda v: nifti(descrip=b"FreeSurfer Jan 18 2017 " + v.encode()),
    ),
    Planted("descrip-unlisted-name", "a.nii", "Xerxes Quagmire", lambda v: nifti(descrip=v.encode())),
    Planted("aux_file", "a.nii", "mrn123456", lambda v: nifti(aux_file=v.encode())),
    Planted("aux_file-nifti2-big", "a.nii", "pid-00123", lambda v: nifti(version=2, order=">", aux_file=v.encode())),
    Planted("intent_name", "a.nii", "J.Smith@ucl.uk", lambda v: nifti(intent_name=v.encode())),
    Planted("db_name", "a.nii.gz", "Patient ID 44821", lambda v: gzip.compress(nifti(db_name=v.encode()))),
    Planted("data_type", "a.nii", "19440606", lambda v: nifti(data_type=v.encode())),
    Planted("unused_str", "a.nii", "31.12.1985", lambda v: nifti(version=2, unused_str=v.encode())),
    Planted("analyze-descrip", "a.hdr", "Smith^John", lambda v: analyze(148, v.encode())),
    Planted("analyze-patient_id", "a.hdr", "K77-4", lambda v: analyze(283, v.encode())),
    Planted("analyze-exp_date", "a.hdr", "3/4/85", lambda v: analyze(293, v.encode())),
    # extensions, and what lies around
    Planted("extension-dicom", "a.nii", "Quagmire^Xerxes", lambda v: nifti(extensions=((2, _dataset(v)),))),
    Planted(
        "extension-dicom-text", "a.nii.gz", "Smith^John", lambda v: gzip.compress(nifti(extensions=((2, v.encode()),)))
    ),
    Planted("extension-afni", "a.nii", "Anna Schmidt", lambda v: nifti(extensions=((4, AFNI.format(v).encode()),))),
    Planted("extension-comment", "a.nii", "born 3/4/1985", lambda v: nifti(extensions=((6, v.encode()),))),
    Planted("extension-comment-free", "a.nii", "the mayor's wife", lambda v: nifti(extensions=((6, v.encode()),))),
    Planted("extension-second", "a.nii", "555-123-4567", lambda v: nifti(extensions=((4, b"<a/>"), (6, v.encode())))),
    Planted("extension-unknown", "a.nii", "123-45-6789", lambda v: nifti(extensions=((9999, v.encode()),))),
    Planted("extension-big-endian", "a.nii", "Smith^John", lambda v: nifti(order=">", extensions=((6, v.encode()),))),
    Planted("extension-nifti2", "a.nii", "Smith^John", lambda v: nifti(version=2, extensions=((6, v.encode()),))),
    Planted("behind-voxels", "a.nii", "John Smith", lambda v: nifti(behind=v.encode())),
    Planted("behind-voxels-packed", "a.nii.gz", "John Smith", lambda v: gzip.compress(nifti(behind=v.encode()))),
    Planted("gzip-name", "a.nii.gz", "Smith_John.nii", lambda v: named(nifti(), name=v.encode())),
    Planted("gzip-comment", "a.nii.gz", "mrn 998877", lambda v: named(nifti(), comment=v.encode())),
    # MetaImage
    Planted("mha-key", "a.mha", "Quagmire", lambda v: mha(f"PatientName = {v}\n")),
    Planted("mha-dicom-tag", "a.mha", "Quagmire^X", lambda v: mha(f"0010|0010 = {v}\n")),
    Planted("mha-birth", "a.mha", "1985", lambda v: mha(f"0010|0030 = {v}\n")),
    Planted("mha-comment", "a.mha", "scan of John Smith", lambda v: mha(f"Comment = {v}\n")),
    Planted("mhd-date", "a.mhd", "20010911", lambda v: mha(f"AcquisitionDate = {v}\n", "a.raw")),
    Planted("mhd-data-file", "a.mhd", "Smith_John.raw", lambda v: mha("", v)),
    # JSON
    Planted("json-name", "a.json", "Quagmire", lambda v: sidecar(PatientName=v)),
    Planted("json-birth", "a.json", "1985-12-31", lambda v: sidecar(PatientBirthDate=v)),
    Planted("json-nested", "a.json", "K774", lambda v: sidecar(extra=[{"more": {"medical_record_number": v}}])),
    Planted("json-time", "a.json", "13:45:12.250000", lambda v: sidecar(AcquisitionTime=v)),
    Planted("json-datetime", "a.json", "2019-03-04T13:45:12", lambda v: sidecar(AcquisitionDateTime=v)),
    Planted("json-number", "a.json", "19851231", lambda v: sidecar(birth_date=int(v or 0))),
    Planted("json-key-itself", "a.json", "Smith^John", lambda v: sidecar(**{v: 1})),
    Planted("json-twice", "a.json", "Quagmire", lambda v: f'{{"PatientName": "{v}", "PatientName": ""}}'.encode()),
    Planted("json-serial", "a.json", "45193", lambda v: sidecar(DeviceSerialNumber=v)),
    Planted("json-uid", "a.json", "1.2.840.113619.2.55.3.6.9", lambda v: sidecar(StudyInstanceUID=v)),
    Planted("json-utf16", "a.json", "Quagmire", lambda v: f'{{"PatientID": "{v}"}}'.encode("utf-16")),
    # DICOM
    Planted("dicom-name", "a.dcm", "Quagmire^Xerxes", _set("PatientName")),
    Planted("dicom-id", "a", "K774", _set("PatientID")),
    Planted("dicom-birth", "a.dcm", "19851231", _set("PatientBirthDate")),
    Planted("dicom-physician", "a.ima", "Brand^Eva", _set("ReferringPhysicianName")),
    Planted("dicom-accession", "a.dcm", "A-4451", _set("AccessionNumber")),
    Planted("dicom-clinic", "a.dcm", "St. Elsewhere", _set("InstitutionName")),
    Planted("dicom-date", "a.dcm", "20190304", _set("StudyDate")),
    Planted("dicom-comment", "a.dcm", "brought in by her son", _set("ImageComments")),
    Planted(
        "dicom-description", "a.dcm", "t1 Smith^John", lambda v: dicom(lambda d: setattr(d, "SeriesDescription", v))
    ),
    Planted("dicom-sequence", "a.dcm", "Quagmire^Xerxes", _nested),
    Planted("dicom-private", "a.dcm", "John Smith", _private),
    Planted("dicom-behind-pixels", "a.dcm", "John Smith", _behind_pixels),
    Planted("dicom-burned-in", "a.dcm", "YES", lambda v: dicom(lambda d: setattr(d, "BurnedInAnnotation", v))),
    # tables and texts
    Planted("csv-name", "a.csv", "Quagmire", lambda v: f"case,last_name\n1,{v}\n".encode()),
    Planted("csv-date", "a.csv", "04.03.2019", lambda v: f"case;scanned\n1;{v}\n".encode()),
    Planted("csv-no-head", "a.csv", "Smith, John", lambda v: f'1,"{v}"\n'.encode()),
    Planted("tsv-mrn", "participants.tsv", "K774", lambda v: f"participant_id\tMRN\nsub-01\t{v}\n".encode()),
    Planted("tsv-time", "scans.tsv", "2019-03-04T13:45:12", lambda v: f"filename\tacq_time\nx\t{v}\n".encode()),
    Planted("txt", "notes.txt", "John Smith", lambda v: f"second scan of {v}\n".encode()),
    Planted("txt-phone", "notes.txt", "+49 89 1234567", lambda v: f"call {v}\n".encode("latin-1")),
    Planted("readme", "README.txt", "Patient name: Quagmire", lambda v: f"Data of our clinic. {v}\n".encode()),
    Planted("nrrd", "a.nrrd", "Smith^John", lambda v: f"NRRD0004\ntype: short\nPatient:={v}\n\n".encode()),
    # names
    Planted("folder-name", "Smith_John/t1.nii.gz", "Smith_John", _clean),
    Planted("folder-joined", "SmithJohn/t1.nii.gz", "SmithJohn", _clean),
    Planted("folder-alone", "Garcia/t1.nii.gz", "Garcia", _clean),
    Planted("folder-date", "1985-12-31/t1.nii.gz", "1985-12-31", _clean),
    Planted("file-date", "t1_31.12.1985.nii.gz", "31.12.1985", _clean),
    Planted("file-mrn", "mrn123456_t1.nii.gz", "mrn123456", _clean),
    Planted("file-number", "44821907_t1.nii.gz", "44821907", _clean),
    Planted("file-caret", "Quagmire^Xerxes.nii.gz", "Quagmire^Xerxes", _clean),
    Planted("file-accent", "Müller_Jürgen_Hans.nii.gz", "Müller_Jürgen", _clean),
]
