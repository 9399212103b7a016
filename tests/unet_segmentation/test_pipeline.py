from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from unet_segmentation import prepare
from unet_segmentation.config import Config, load
from unet_segmentation.pipeline import Batches
from unet_segmentation.prepare import Prepared


def patient(name: str, tumour: bool = True, size: tuple[int, int] = (40, 50)) -> Prepared:
    rng = np.random.default_rng(len(name))
    images = rng.normal(size=(6, *size, 2)).astype(np.float16)
    classes = np.zeros((6, *size), np.uint8)
    if tumour:
        classes[2:4, 10:20, 12:24] = 2
        classes[3, 13:17, 15:20] = 3
    box = ((0, size[0]), (0, size[1]), (0, 6))
    return Prepared(name, images, classes, box, (*size, 6), (1.0, 1.0, 1.0), prepare.places(classes))


def settings(*changes: str) -> Config:
    return load(None, ["train.batch_size=5", "train.patch=32", *changes])


def batches(*changes: str, attempt: int = 0) -> Batches:
    return Batches([patient("a"), patient("bb", tumour=False, size=(30, 60))], settings(*changes), attempt)


def same(one: Batches, step: int, other: Batches, other_step: int) -> bool:
    a, b = one[step], other[other_step]
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_a_batch_is_a_function_of_seed_step_and_attempt() -> None:
    assert same(batches(), 7, batches(), 7)
    assert not same(batches(), 7, batches(), 8)
    assert not same(batches(), 7, batches("train.seed=2"), 7)
    assert not same(batches(), 7, batches(attempt=1), 7)
    assert same(batches().again(1), 7, batches(attempt=1), 7)


def test_whole_slices_padded_to_the_largest_and_framed() -> None:
    batch = batches()[0]
    assert (batch["images"].shape, batch["images"].dtype) == ((5, 42, 62, 2), np.float16)
    assert (batch["classes"].shape, batch["classes"].dtype) == ((5, 42, 62, 1), np.uint8)
    assert batch["matrix"].shape == (5, 2, 3) and batch["intensity"].shape == (5, 4, 2)
    assert set(batch) == {"images", "classes", "matrix", "intensity", "noise"}
    assert "elastic" in batches("augment.elastic=3")[0]


def test_a_slice_is_seen_with_its_neighbours() -> None:
    made = Batches([patient("a")], settings("model.context=2", "train.batch_size=40", "train.foreground=0"))
    source = patient("a")
    batch = made[0]
    assert batch["images"].shape == (40, 42, 52, 10) and batch["classes"].shape == (40, 42, 52, 1)
    for image, truth in zip(batch["images"], batch["classes"], strict=True):
        image, truth = image[1:-1, 1:-1], truth[1:-1, 1:-1]
        z = next(z for z in range(6) if (image[..., 4:6] == source.images[z]).all())
        assert (truth[..., 0] == np.asarray(source.classes)[z]).all()
        for offset in range(-2, 3):
            there = source.images[z + offset] if 0 <= z + offset < 6 else 0
            assert (image[..., 4 + 2 * offset : 6 + 2 * offset] == there).all()


def test_a_block_of_slices_with_its_truth() -> None:
    changes = ("model.dimensions=3", "train.depth=8", "train.patch=32", "train.batch_size=3")
    batch = Batches([patient("a")], settings(*changes))[0]
    assert batch["images"].shape == (3, 42, 52, 16) and batch["classes"].shape == (3, 42, 52, 8)


def test_made_ahead_they_come_in_order() -> None:
    made = batches()
    with closing(made.since(3)) as coming:
        for step in range(3, 12):
            assert next(coming)["images"].tobytes() == made[step]["images"].tobytes()


def test_a_fault_in_a_thread_is_raised_where_the_batch_is_wanted() -> None:
    box = ((0, 8), (0, 8), (0, 1))
    nothing = Prepared("p", np.zeros((1, 8, 8, 1), np.float16), None, box, (8, 8, 1), (1.0, 1.0, 1.0), {})
    with pytest.raises(ValueError, match="p: no truth"):
        next(Batches([nothing], settings()).since(0))


def test_foreground_is_oversampled_patients_and_classes_are_even() -> None:
    made = Batches(
        [patient("a"), patient("bb", tumour=False)], settings("train.batch_size=400", "train.foreground=1.0")
    )
    with_tumour = (made[0]["classes"] > 0).any(axis=(1, 2, 3))
    assert 0.4 < with_tumour.mean() < 0.6  # patient a always, patient bb never
    with_rim = (made[0]["classes"] == 3).any(axis=(1, 2, 3))
    # half are placed on class 3, a slice of its own; the others on one of the two slices of class 2
    assert 0.6 < with_rim.sum() / with_tumour.sum() < 0.9
    plain = Batches([patient("a")], settings("train.batch_size=400", "train.foreground=0.0"))
    assert 0.2 < (plain[0]["classes"] > 0).any(axis=(1, 2, 3)).mean() < 0.5  # two slices of six


def test_patients_of_a_batch_are_named() -> None:
    assert batches("train.batch_size=8").patients_of(0) == ["a", "bb"]
    alone = next(step for step in range(99) if len(batches("train.batch_size=2").patients_of(step)) == 1)
    shown = batches("train.batch_size=2")[alone]["images"]
    assert shown[:, 35:].any() == (batches("train.batch_size=2").patients_of(alone) == ["a"])


def test_an_epoch_shows_as_many_slices_as_there_are() -> None:
    assert batches().slices == 12
    assert batches().epoch == 3
    assert batches("model.dimensions=3", "train.depth=8").epoch == 1
