from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_segmentation import fingerprint, prepare, volumes
from unet_segmentation.labels import conventions
from unet_segmentation.volumes import Volume

BRATS = conventions()["brats2017-2021"]


def volume(values: np.ndarray) -> Volume:
    return Volume(Path("x.nii"), values.astype(np.float32), np.eye(4), "")


def head(background: float) -> tuple[np.ndarray, np.ndarray]:
    inside = np.zeros((20, 24, 16), bool)
    inside[3:15, 5:20, 2:12] = True
    values = np.where(inside, np.random.default_rng(1).normal(40, 8, inside.shape), background)
    return values, inside


@pytest.mark.parametrize("background", [0.0, -3.5526617, 40.0])
def test_the_brain_is_what_is_not_background_whatever_its_value(background: float) -> None:
    values, inside = head(background)
    assert (prepare.brain([volume(values)], None) == inside).all()


def test_a_mask_file_is_thresholded_not_compared(brats2015: Path) -> None:
    folder = brats2015 / "train" / "brats_2013_pat0005_1"
    mask = volumes.read(folder / "brainmask.nii.gz")
    inside = prepare.brain([], mask)
    assert inside.mean() == pytest.approx(0.17067, abs=1e-4)
    # and without it nearly the same is found, although the background is -3.55
    flair = volumes.read(folder / "Flair_subtrMeanDivStd.nii.gz")
    assert flair.values.min() == prepare.background(flair.values) < -3
    assert (prepare.brain([flair], None) != inside).mean() < 1e-3


def test_z_scores_inside_the_crop() -> None:
    values, inside = head(-7)
    truth = np.zeros(values.shape)
    truth[5, 6, 3] = 4
    prepared = prepare.prepare("p", [volume(values), volume(values * 100)], inside, volume(truth), BRATS)
    assert prepared.box == ((3, 15), (5, 20), (2, 12))
    assert prepared.images.shape == (10, 12, 15, 2) and prepared.images.dtype == np.float16
    assert abs(prepared.images[..., 0].astype(float).mean()) < 1e-3
    assert prepared.images[..., 0].astype(float).std() == pytest.approx(1, abs=1e-2)
    assert np.allclose(prepared.images[..., 0], prepared.images[..., 1], atol=5e-3)
    assert prepared.classes is not None
    assert np.argwhere(prepared.classes).tolist() == [[1, 2, 1]] and prepared.classes.max() == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_cropping_and_restoring_is_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 12, 3))
    inside = rng.random(shape) < 0.1
    inside[tuple(rng.integers(0, side) for side in shape)] = True
    truth = np.where(inside, rng.choice([0, 1, 2, 4], shape), 0)
    prepared = prepare.prepare("p", [volume(rng.random(shape))], inside, volume(truth), BRATS)
    assert prepared.classes is not None
    assert (BRATS.decode(prepare.restore(prepared.classes, prepared)) == truth).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.sampled_from("CF"))
def test_the_background_is_the_most_frequent_value_of_the_faces(seed: int, share: float, order: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    values = np.where(rng.random(shape) < share, -3.5, rng.integers(0, 3, shape)).astype(np.float32, order=order)
    faces = np.concatenate([np.take(values, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    found, counts = np.unique(faces, return_counts=True)
    assert counts[found == prepare.background(values)] == counts.max()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_box_holds_the_mask_and_no_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(tuple(rng.integers(1, 9, 3))) < 0.05
    inside[tuple(rng.integers(0, side) for side in inside.shape)] = True
    where = np.argwhere(inside)
    assert prepare.bounding_box(inside) == tuple(zip(where.min(0), where.max(0) + 1, strict=True))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_mean_and_deviation_to_a_millionth(offset: float) -> None:
    """Grey values far from 0 too, where float32 sums would be wrong in the third digit."""
    rng = np.random.default_rng(4)
    values = (rng.normal(offset, 3, (60, 60, 60))).astype(np.float32)
    inside = np.zeros(values.shape, bool)
    inside[2:50, 3:55, 1:58] = rng.random((48, 52, 57)) < 0.7
    prepared = prepare.prepare("p", [volume(values)], inside, None, BRATS)
    sample = values[inside].astype(np.longdouble)
    found = prepared.intensities[0]
    assert found["voxels"] == sample.size
    assert found["mean"] == pytest.approx(float(sample.mean()), rel=1e-6, abs=1e-6)
    assert found["std"] == pytest.approx(float(sample.std()), rel=1e-6)
    assert (found["minimum"], found["maximum"]) == (sample.min(), sample.max())
    scaled = (values - sample.mean()) / sample.std()
    box = tuple(slice(*ends) for ends in prepared.box)
    wanted = np.where(inside, scaled, 0)[box].transpose(2, 0, 1).astype(np.float16)
    # float32 on the way to float16 may round the other way: one unit in the last place of 11 bits
    assert np.allclose(prepared.images[..., 0], wanted, rtol=2**-10, atol=1e-6)


def test_the_order_in_memory_changes_nothing() -> None:
    values, inside = head(-7)
    truth = np.where(inside, np.random.default_rng(3).choice([0, 1, 2, 4], inside.shape), 0)
    made = []
    for order in ("C", "F"):
        image, labels = (volume(np.asarray(array, np.float32, order=order)) for array in (values, truth))
        made.append(prepare.prepare("p", [image], np.asarray(inside, order=order), labels, BRATS))
    first, second = made
    assert np.array_equal(first.images, second.images) and first.intensities == second.intensities
    assert first.classes is not None and np.array_equal(first.classes, second.classes)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.9]))
def test_places_are_where_the_classes_are(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 3))
    classes = np.where(rng.random(shape) < share, rng.integers(0, 5, shape), 0).astype(np.uint8)
    found = prepare.places(classes)
    assert sorted(found) == [value for value in np.unique(classes) if value]
    for value, where in found.items():
        everywhere = np.argwhere(classes == value)
        assert where.dtype == np.uint16 and len(where) == min(len(everywhere), prepare.PLACES)
        assert (classes[tuple(where.T)] == value).all()
        assert where.tolist() == sorted(map(list, {tuple(place) for place in where.tolist()}))
        assert len(everywhere) > prepare.PLACES or np.array_equal(where, everywhere)
        assert np.array_equal(where, prepare.places(classes)[value])


def test_places_are_drawn_evenly() -> None:
    where = prepare.places(np.ones((100, 30, 30), np.uint8))[1]
    assert len(where) == prepare.PLACES
    counts = np.bincount(where[:, 0] // 10, minlength=10)  # 1000 expected in each tenth, deviation 28
    assert abs(counts - 1000).max() < 120


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_patients_pooled_are_all_their_voxels(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [
        rng.gamma(rng.uniform(1, 9), rng.uniform(10, 200), int(rng.integers(500, 200_000))).astype(np.float32)
        for _ in range(count)
    ]
    found = fingerprint.pooled(
        [fingerprint.intensities(s, float(s.mean(dtype=float)), float(s.std(dtype=float))) for s in samples]
    )
    everyone = np.concatenate(samples).astype(float)
    assert found["mean"] == pytest.approx(everyone.mean(), rel=1e-6)
    assert found["std"] == pytest.approx(everyone.std(), rel=1e-6)
    assert (found["minimum"], found["maximum"]) == (everyone.min(), everyone.max())
    for at, value in found["percentiles"].items():
        # half a step of the patients' quantiles, and what is left to chance in a sample of 500
        assert (everyone < value).mean() * 100 == pytest.approx(float(at), abs=0.6), at


def test_the_fingerprint_of_real_patients(brats2015: Path) -> None:
    """nnU-Net's would say the same of mean and deviation; the percentiles are those of all voxels."""
    entries, everyone = [], []
    for folder in sorted((brats2015 / "train").iterdir()):
        flair = volumes.read(folder / "Flair_subtrMeanDivStd.nii.gz")
        inside = prepare.brain([flair], volumes.read(folder / "brainmask.nii.gz"))
        made = prepare.prepare(folder.name, [flair], inside, None, BRATS)
        entries.append({**vars(made), "facts": {"label_voxels": {"4": 5, "2": 0}}})
        everyone.append(flair.values[inside].astype(float))
    found = fingerprint.fingerprint(entries, ["flair"])
    values = np.concatenate(everyone)
    flair_found = found["modalities"]["flair"]
    assert flair_found["mean"] == pytest.approx(values.mean(), rel=1e-6)
    assert flair_found["std"] == pytest.approx(values.std(), rel=1e-6)
    for at, value in flair_found["percentiles"].items():
        assert (values < value).mean() * 100 == pytest.approx(float(at), abs=0.3)
    assert found["shapes"] == [{"xyz": [240, 240, 155], "patients": 2}]
    assert found["spacings_mm"] == [{"xyz": [1.0, 1.0, 1.0], "patients": 2}]
    assert found["label_voxels"] == {"2": {"voxels": 0, "patients": 0}, "4": {"voxels": 10, "patients": 2}}
    assert found["brain"]["share"] == pytest.approx(values.size / (2 * 240 * 240 * 155), abs=1e-6)
    assert (
        fingerprint.describe(found)[0].startswith("brain      ") and "flair      -0." in fingerprint.describe(found)[1]
    )
    assert fingerprint.fingerprint([], ["flair"]) == {"patients": 0}


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_labels_are_written_in_the_space_of_the_image(tmp_path: Path, kind: type, ending: str) -> None:
    affine = np.array([[-1, 0, 0, 3], [0, -1, 0.1, 239], [0, 0.1, 2, -5], [0, 0, 0, 1]], float)
    image = kind(np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    like = tmp_path / f"flair{ending}"
    nibabel.save(image, like)
    assert volumes.read(like).values.shape == (5, 6, 7)
    labels = np.random.default_rng(2).choice([0, 1, 2, 4], (5, 6, 7)).astype(np.uint8)
    for name in ("a", "b"):
        volumes.write_labels(tmp_path / f"{name}.nii.gz", labels, like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    written = nibabel.load(tmp_path / "a.nii.gz")
    assert np.allclose(written.affine, affine) and written.header.get_xyzt_units()[0] == "mm"
    assert written.header.get_data_dtype() == np.uint8
    assert (volumes.read(tmp_path / "a.nii.gz").values == labels).all()
