from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unet_segmentation import backend
from unet_segmentation.config import ModelConfig, TrainConfig, load


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    backend.devices(TrainConfig(precision="float32"))


def test_the_papers_network() -> None:
    """Dong et al. 2017 and the author's code: 64 to 1024 maps, 34.5 million parameters (four modalities)."""
    from unet_segmentation.model import build_unet

    recipe = load("dong2017").model
    model = build_unet(4, 1, recipe)
    assert model.count_params() == pytest.approx(34.5e6, rel=0.01)
    convolutions = [layer.filters for layer in model.layers if layer.name.startswith("down") and "conv" in layer.name]
    assert convolutions == [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]
    first = np.asarray(model.get_layer("down0_conv1").kernel.value)
    assert first.std() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("shape", [(2, 12, 20, 2), (1, 8, 12, 20, 2)], ids=["2-D", "3-D"])
def test_probabilities_of_any_size(shape: tuple[int, ...]) -> None:
    from unet_segmentation.model import build_unet, in_training, multiple

    config = ModelConfig(width=2, levels=3, dimensions=len(shape) - 2)
    assert multiple(config) == 4
    model = build_unet(2, 3, config)
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    probabilities = backend.forward(model)(images)
    assert probabilities.shape == (*shape[:-1], 3) and probabilities.dtype == np.float32
    logits = np.asarray(in_training(model, 3, config)(images))
    assert np.allclose(1 / (1 + np.exp(-logits)), probabilities, atol=1e-5)


def test_the_size_by_hand() -> None:
    """3 levels of 16x16, 8x8, 4x4; per convolution a map, its norm and its relu."""
    from unet_segmentation.model import build_unet, size

    model = build_unet(2, 4, ModelConfig(width=2, levels=3))
    expected = 16 * 16 * (6 * 2 + 2 + 4 + 6 * 2 + 4 + 4) + 8 * 8 * (2 + 6 * 4 + 4 + 8 + 6 * 4) + 4 * 4 * (4 + 6 * 8)
    assert size(model, (16, 16)) == {
        "parameters": model.count_params(),
        "activations": expected,
        "inputs": 16 * 16 * 2,
    }


def test_deep_supervision_has_heads_on_the_coarser_levels_in_training_alone() -> None:
    from unet_segmentation.model import build_unet, in_training

    config = ModelConfig(width=2, levels=4, deep_supervision=True)
    model = build_unet(2, 3, config)
    outputs = in_training(model, 3, config)(np.zeros((1, 16, 16, 2), np.float32))
    assert [tuple(output.shape) for output in outputs] == [(1, 16, 16, 3), (1, 8, 8, 3), (1, 4, 4, 3)]
    assert len(model.outputs) == 1


def test_instance_normalization_is_keras_group_normalization() -> None:
    import keras

    from unet_segmentation.model import EPSILON, InstanceNormalization

    images = np.random.default_rng(1).normal(3, 2, (2, 9, 7, 5)).astype(np.float32)
    theirs = keras.layers.GroupNormalization(groups=-1, epsilon=EPSILON)
    assert np.allclose(InstanceNormalization()(images), theirs(images), atol=1e-4)


def loss(truth: Any, logits: Any, kind: str = "dice+cross-entropy") -> Any:
    from unet_segmentation.losses import region_loss

    return {name: np.asarray(value) for name, value in region_loss(truth, logits, kind).items()}


def test_the_loss_by_hand() -> None:
    """Every score 0, so every probability 1/2, on 8x8 pixels, one of them in the first region: sums on paper."""
    truth = np.zeros((1, 8, 8, 2), np.float32)
    truth[0, 0, 0, 0] = 1
    values = loss(truth, np.zeros((1, 8, 8, 2), np.float32))
    dice = ((2 * 0.5 + 32) / (32 + 1 + 32) + 32 / (32 + 32)) / 2
    assert values["dice"] == pytest.approx([dice])
    assert values["loss"] == pytest.approx([np.log(2) + 1 - dice], abs=1e-5)
    assert values["found"] == pytest.approx([0.5]) and values["there"] == pytest.approx([1])
    assert loss(truth, np.zeros((1, 8, 8, 2), np.float32), "dice")["loss"] == pytest.approx([1 - dice])


def test_a_perfect_answer_costs_nothing_and_the_worst_is_finite() -> None:
    truth = np.random.default_rng(1).integers(0, 2, (3, 8, 8, 2)).astype(np.float32)
    right = 200.0 * (2 * truth - 1)
    assert loss(truth, right)["loss"] == pytest.approx([0, 0, 0], abs=1e-4)
    assert np.isfinite(loss(truth, -right)["loss"]).all()


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 4, 8, 8)], ids=["2-D", "3-D"])
def test_each_image_has_its_own_loss(shape: tuple[int, ...]) -> None:
    """Splitting a batch over devices must not change it."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (*shape, 3)).astype(np.float32)
    logits = rng.normal(size=(*shape, 3)).astype(np.float32)
    together = loss(truth, logits)["loss"]
    assert np.allclose(together, [loss(truth[i : i + 1], logits[i : i + 1])["loss"][0] for i in range(4)], atol=1e-6)


def test_coarser_outputs_count_half_each() -> None:
    from unet_segmentation.losses import supervised

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (2, 8, 8, 1)).astype(np.float32)
    outputs = [rng.normal(size=(2, side, side, 1)).astype(np.float32) for side in (8, 4)]
    coarse = loss(truth[:, ::2, ::2], outputs[1])["loss"]
    wanted = (loss(truth, outputs[0])["loss"] + coarse / 2) / 1.5
    assert np.allclose(np.asarray(supervised(truth, outputs, "dice+cross-entropy")["loss"]), wanted, atol=1e-6)


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
