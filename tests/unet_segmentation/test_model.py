from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unet_segmentation import backend
from unet_segmentation.config import ModelConfig, TrainConfig
from unet_segmentation.labels import conventions

BRATS = conventions()["brats2017-2021"]


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    backend.Devices(TrainConfig(precision="float32"))


def test_the_papers_network() -> None:
    """Dong et al. 2017 and the author's code: 64 to 1024 maps, 34.5 million parameters (four modalities, two output
    maps).
    """
    from unet_segmentation.model import build_unet

    model = build_unet(4, 2, ModelConfig(width=64, levels=5, normalisation="none"))
    assert model.count_params() == pytest.approx(34.5e6, rel=0.01)
    convolutions = [layer.filters for layer in model.layers if layer.name.startswith("down") and "conv" in layer.name]
    assert convolutions == [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]


def test_probabilities_of_any_size() -> None:
    from unet_segmentation.model import build_unet, logits_of, size

    model = build_unet(2, 4, ModelConfig(width=2, levels=3))
    images = np.random.default_rng(1).normal(size=(2, 12, 20, 2)).astype(np.float32)
    forward = backend.forward(model)
    probabilities = forward(images)
    assert probabilities.shape == (2, 12, 20, 4) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(-1), 1, atol=1e-5)
    logits = np.asarray(logits_of(model)(images))
    assert np.allclose(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), probabilities, atol=1e-5)
    # by hand: 3 levels of 16x16, 8x8, 4x4; per conv a map, its norm and its relu
    expected = 16 * 16 * (6 * 2 + 2 + 4 + 6 * 2 + 4 + 4) + 8 * 8 * (2 + 6 * 4 + 4 + 8 + 6 * 4) + 4 * 4 * (4 + 6 * 8)
    assert size(model, 16)["activations"] == expected
    assert size(model, 16)["inputs"] == 16 * 16 * 2


def loss(classes: Any, logits: Any) -> Any:
    from unet_segmentation.losses import dice_cross_entropy

    return np.asarray(dice_cross_entropy(classes, logits, BRATS.membership()))


def test_the_loss_by_hand() -> None:
    """Uniform scores on 8x8 pixels, one of them oedema: all sums can be done on paper."""
    classes = np.zeros((1, 8, 8), np.int32)
    classes[0, 0, 0] = 2
    smooth, pixels = 32.0, 64
    predicted = {"whole": 0.75 * pixels, "core": 0.5 * pixels, "enhancing": 0.25 * pixels}
    truth = {"whole": 1, "core": 0, "enhancing": 0}
    overlap = {"whole": 0.75, "core": 0, "enhancing": 0}
    dice = [(2 * overlap[r] + smooth) / (predicted[r] + truth[r] + smooth) for r in predicted]
    assert loss(classes, np.zeros((1, 8, 8, 4), np.float32)) == pytest.approx(np.log(4) + 1 - np.mean(dice), abs=1e-5)


def test_a_perfect_answer_costs_nothing_and_the_worst_is_finite() -> None:
    classes = np.random.default_rng(1).integers(0, 4, (3, 8, 8))
    right = 200.0 * np.eye(4, dtype=np.float32)[classes]
    assert loss(classes, right) == pytest.approx([0, 0, 0], abs=1e-4)
    assert np.isfinite(loss(classes, -right)).all()


def test_each_image_has_its_own_loss() -> None:
    """Splitting a batch over devices must not change it."""
    rng = np.random.default_rng(1)
    classes, logits = rng.integers(0, 4, (4, 8, 8)), rng.normal(size=(4, 8, 8, 4)).astype(np.float32)
    together = loss(classes, logits)
    assert np.allclose(together, [loss(classes[i : i + 1], logits[i : i + 1])[0] for i in range(4)], atol=1e-6)


def test_variables_survive_dump_and_restore() -> None:
    import keras

    first, second = (keras.layers.Dense(3) for _ in range(2))
    first.build((None, 2))
    second.build((None, 2))
    content = backend.dump(first.variables)
    backend.restore(second.variables, content)
    assert backend.dump(second.variables) == content
    with pytest.raises(ValueError, match="2 variables saved, 1 wanted"):
        backend.restore(second.variables[:1], content)
