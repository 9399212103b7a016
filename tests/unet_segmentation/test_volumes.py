from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.exit_codes import BadInput
from unet_segmentation import metaimage, volumes
from unet_segmentation.volumes import Source

RNG = np.random.default_rng(1)
VALUES = RNG.integers(-300, 1500, (5, 6, 7)).astype(np.int16)
# no axis along the scanner's, three spacings
OBLIQUE = np.array([[0.9, -0.3, 0.31, -20], [0.25, 1.9, 0.4, 30], [-0.36, -0.52, 2.7, 5.5], [0, 0, 0, 1]])


def rotation(x: float, y: float, z: float) -> np.ndarray:
    cos, sin = np.cos([x, y, z]), np.sin([x, y, z])
    return (
        np.array([[1, 0, 0], [0, cos[0], -sin[0]], [0, sin[0], cos[0]]])
        @ np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
        @ np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    )


def affine(angles: tuple[float, float, float], spacing: tuple[float, float, float], origin: Any) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3] = rotation(*angles) @ np.diag(spacing)
    found[:3, 3] = origin
    return found


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4", ">f8", "<u2"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_is_read_as_nibabel_reads_it(tmp_path: Path, kind: Any, dtype: str, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(np.dtype(dtype))
    values = np.abs(VALUES) if dtype[-2] == "u" else VALUES
    nibabel.save(kind((values % 200).astype(dtype), OBLIQUE, header), path)
    volume = volumes.read(path)
    image = nibabel.load(path)
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, image.get_fdata())
    assert np.array_equal(volume.affine, image.affine)
    assert volume.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_scaling_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    image.header.set_slope_inter(0.37, -12.5)
    content = bytearray(image.to_bytes())
    content[112:116], content[116:120] = np.float32(0.37).tobytes(), np.float32(-12.5).tobytes()
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    assert nibabel.load(path).dataobj.slope == pytest.approx(0.37)
    assert np.allclose(volumes.read(path).values, nibabel.load(path).get_fdata(), rtol=1e-6)


def test_a_file_of_several_gzip_members(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    plain = nibabel.Nifti1Image(VALUES, OBLIQUE).to_bytes()
    path.write_bytes(gzip.compress(plain[:300]) + gzip.compress(plain[300:]) + b"\0" * 10)
    assert np.array_equal(volumes.read(path).values, VALUES)


def test_channels_of_four_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    stacked = np.stack([VALUES, VALUES * 2, VALUES - 5], -1)
    nibabel.save(nibabel.Nifti1Image(stacked, OBLIQUE), path)
    inflated = []
    inflate = volumes._inflated
    monkeypatch.setattr(volumes, "_inflated", lambda content: inflated.append(1) or inflate(content))
    file = volumes.read_file(path)
    for channel in range(3):
        assert np.array_equal(file.volume(channel).values, stacked[..., channel])
    assert len(inflated) == 1  # once for all channels
    assert np.array_equal(volumes.read(path, 2).values, stacked[..., 2])
    with pytest.raises(BadInput, match="shape 5x6x7x3; one volume of three axes; split it into a file per modality"):
        file.volume()
    with pytest.raises(BadInput, match="shape 5x6x7x3; four axes, the last of more than 3: channel 3 is wanted"):
        file.volume(3)


@pytest.mark.parametrize("shape", [(5, 6, 7, 1), (5, 6, 7, 1, 1), (5, 6, 1)])
def test_axes_of_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(RNG.normal(size=shape).astype(np.float32), OBLIQUE), path)
    assert volumes.read(path).values.shape == shape[:3]


@pytest.mark.parametrize(
    ("shape", "channel", "said"),
    [
        ((5, 6), None, "shape 5x6; one volume of three axes"),
        ((5, 6, 1, 3), None, "shape 5x6x1x3; one volume"),
        ((5, 6, 7, 1, 2), None, "shape 5x6x7x1x2; one volume"),
        ((5, 6, 7), 0, "shape 5x6x7; four axes, the last of more than 0"),
    ],
)
def test_other_axes(tmp_path: Path, shape: tuple[int, ...], channel: int | None, said: str) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), OBLIQUE), path)
    with pytest.raises(BadInput, match=f"a.nii: {said}"):
        volumes.read(path, channel)


def test_colours_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, OBLIQUE), path)
    with pytest.raises(BadInput, match=r"unreadable \(voxels of type RGB, not numbers\)"):
        volumes.read(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_torn_file_is_never_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    ending = data.draw(st.sampled_from([".nii", ".nii.gz", ".mha"]))
    path = folder / f"torn{ending}"
    if ending == ".mha":
        metaimage.write(path, VALUES, affine((0.1, 0.2, 0.3), (1, 2, 3), (4, 5, 6)))
    else:
        nibabel.save(nibabel.Nifti1Image(VALUES, OBLIQUE), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(BadInput, match=r"unreadable \(|needs four|shape "):
        volumes.read(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255), st.sampled_from([".nii.gz", ".mha"]))
def test_a_flipped_bit_is_never_read_as_other_numbers(
    tmp_path_factory: pytest.TempPathFactory, where: int, bits: int, ending: str
) -> None:
    """Both formats hold a checksum, which ITK does not mind."""
    path = tmp_path_factory.getbasetemp() / f"flipped{ending}"
    if ending == ".mha":
        metaimage.write(path, VALUES, affine((0, 0, 0), (1, 1, 1), (0, 0, 0)))
        start = path.read_bytes().index(b"LOCAL\n") + 6
    else:
        nibabel.save(nibabel.Nifti1Image(VALUES, OBLIQUE), path)
        start = 10  # behind gzip's own header
    content = bytearray(path.read_bytes())
    content[start + where % (len(content) - start)] ^= bits
    path.write_bytes(content)
    try:
        values = volumes.read(path).values
    except BadInput:
        return
    assert np.array_equal(values, VALUES)


def image_of(values: Any, turn: Any, spacing: Any, origin: Any) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetDirection(np.asarray(turn).ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(0.3, 5)] * 3), st.tuples(*[st.floats(-300, 300)] * 3))
def test_a_metaimage_lies_where_its_nifti_lies(
    tmp_path_factory: pytest.TempPathFactory, angles: Any, spacing: Any, origin: Any
) -> None:
    """The same image written as both by SimpleITK; the NIfTI is read by nibabel."""
    import SimpleITK as sitk

    folder = tmp_path_factory.getbasetemp()
    image = image_of(VALUES, rotation(*angles), spacing, origin)
    sitk.WriteImage(image, str(folder / "a.nii.gz"))
    sitk.WriteImage(image, str(folder / "a.mha"), bool(spacing[0] > 1))  # compressed or not
    nifti, meta = nibabel.load(folder / "a.nii.gz"), volumes.read(folder / "a.mha")
    assert np.allclose(meta.affine, nifti.affine, atol=2e-3)  # NIfTI holds float32
    assert np.array_equal(meta.values, nifti.get_fdata())
    assert np.array_equal(volumes.read(folder / "a.nii.gz").values, meta.values)
    assert np.allclose(metaimage.affine(folder / "a.mha"), meta.affine)


def test_a_metaimage_is_written_as_it_is_read(tmp_path: Path) -> None:
    where = affine((0.5, -0.3, 2.0), (0.7, 1.3, 4.0), (-20, 30, 5))
    metaimage.write(tmp_path / "a.mha", VALUES, where)
    volume = volumes.read(tmp_path / "a.mha")
    assert np.allclose(volume.affine, where) and np.array_equal(volume.values, VALUES)


@pytest.mark.parametrize("kind", ["char", "uint16", "int32", "int64", "float", "double"])
def test_metaimages_of_every_type(tmp_path: Path, kind: str) -> None:
    import SimpleITK as sitk

    types = {"char": np.int8, "uint16": np.uint16, "int32": np.int32, "int64": np.int64}
    values = (np.abs(VALUES) % 100).astype(types.get(kind, kind))
    sitk.WriteImage(image_of(values, np.eye(3), (1, 1, 1), (0, 0, 0)), str(tmp_path / "a.mha"), True)
    assert np.array_equal(volumes.read(tmp_path / "a.mha").values, values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"unreadable \(no header of a MetaImage\); a whole MetaImage file; copy it again"),
        (b"<html>404</html>\n" * 9, r"no header of a MetaImage"),
        (b"NDims = 3\nElementDataFile = a.raw\n", r"voxels in another file, a.raw; voxels in this one"),
        (b"NDims = 3\nElementDataFile = LOCAL\n", r"its header makes no sense: 'DimSize'"),
        (b"DimSize = a\nElementType = MET_SHORT\nElementDataFile = LOCAL\n", r"makes no sense: invalid literal"),
        (b"DimSize = 1 1 1\nElementType = MET_X\nElementDataFile = LOCAL\n", r"makes no sense: 'X'"),
        (b"DimSize = 2 1 1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n12", r"2 bytes of voxels instead of 4"),
        (b"DimSize = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n1", r"unreadable \("),
    ],
)
def test_a_metaimage_that_is_none(tmp_path: Path, content: bytes, said: str, capfd: Any) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        volumes.read(path)


@pytest.mark.parametrize(("shape", "said"), [((2, 3, 4, 5), "4 axes, 1 numbers"), ((3, 4, 5, 2), "3 axes, 2 numbers")])
def test_a_metaimage_of_more(tmp_path: Path, shape: tuple[int, ...], said: str) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.zeros(shape, np.float32), isVector=said[0] == "3")
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(BadInput, match=f"a.mha: {said} a voxel; one volume of three axes"):
        volumes.read(tmp_path / "a.mha")


def test_without_simpleitk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metaimage.write(tmp_path / "a.mha", VALUES, np.eye(4))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    for read in (volumes.read, metaimage.affine):
        with pytest.raises(
            BadInput, match=r"a\.mha: a MetaImage.*; SimpleITK installed; pip install 'osg-dl-kit\[mha\]'"
        ):
            read(tmp_path / "a.mha")


def test_no_space_without_a_header(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "a.mha").write_bytes(b"")
    with pytest.raises(BadInput, match=r"a\.mha: unreadable \(.*\); a whole MetaImage file; copy it again"):
        volumes.write_labels(tmp_path / "labels.nii.gz", LABELS, Source(tmp_path / "a.mha"))
    assert not (tmp_path / "labels.nii.gz").exists()


LABELS = RNG.choice([0, 1, 2, 4], VALUES.shape).astype(np.uint8)


def test_labels_in_the_space_of_a_metaimage(tmp_path: Path) -> None:
    where = affine((0.5, -0.3, 2.0), (0.7, 1.3, 4.0), (-20, 30, 5))
    metaimage.write(tmp_path / "a.mha", VALUES, where)
    volumes.write_labels(tmp_path / "labels.nii.gz", LABELS, Source(tmp_path / "a.mha"))
    written = nibabel.load(tmp_path / "labels.nii.gz")
    for found in (written.affine, written.get_sform(), written.get_qform()):
        assert np.allclose(found, where, atol=1e-4)
    assert written.header.get_xyzt_units()[0] == "mm" and written.header.get_data_dtype() == np.uint8
    assert int(written.header["sform_code"]) == int(written.header["qform_code"]) == 1
    assert np.array_equal(written.dataobj, LABELS)


def test_labels_in_the_space_of_four_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    image = nibabel.Nifti1Image(np.stack([VALUES, VALUES], -1), OBLIQUE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    nibabel.save(image, path)
    volumes.write_labels(tmp_path / "labels.nii.gz", LABELS, Source(path, 1))
    written = nibabel.load(tmp_path / "labels.nii.gz")
    assert written.shape == VALUES.shape and np.allclose(written.affine, OBLIQUE, atol=1e-5)
    assert np.array_equal(written.dataobj, LABELS) and written.header["pixdim"][4] == 1


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_labels_keep_what_a_header_says_of_space(tmp_path: Path, kind: Any) -> None:
    """Two affines with codes of their own: an atlas and the scanner."""
    image = kind(VALUES, None)
    scanner = affine((0.1, 0.2, 0.3), (1, 1, 2), (1, 2, 3))
    image.set_sform(OBLIQUE, code=4)
    image.set_qform(scanner, code=1)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    volumes.write_labels(tmp_path / "labels.nii.gz", LABELS, tmp_path / "a.nii.gz")
    written = nibabel.load(tmp_path / "labels.nii.gz")
    assert np.allclose(written.get_sform(), OBLIQUE, atol=1e-5) and int(written.header["sform_code"]) == 4
    assert np.allclose(written.get_qform(), scanner, atol=1e-5) and int(written.header["qform_code"]) == 1
    assert np.array_equal(written.dataobj, LABELS)


def test_equal_labels_are_equal_files(tmp_path: Path) -> None:
    metaimage.write(tmp_path / "a.mha", VALUES, np.eye(4))
    for name in ("a", "b"):
        volumes.write_labels(tmp_path / f"{name}.nii.gz", LABELS, Source(tmp_path / "a.mha"))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
