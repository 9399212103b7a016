"""The 2-D U-Net of Dong et al. 2017 (arXiv 1705.03820): pairs of 3x3 convolutions with ReLU, 2x2 max-pooling, 3x3
stride-2 deconvolution.

`width = 64, levels = 5, normalisation = "none"` is the paper's network (64-128-256-512-1024 maps). Where this
differs, and why:
- one map per class with a softmax, not two: one network for all regions, not one per region;
- He initialisation, not N(0, 0.01), with which deep ReLU networks start so faint that some runs never leave the ground;
- optionally instance normalisation, which makes training on few patients less a matter of luck. It works on each
image alone, so that a batch split over
  devices gives the same result; batch normalisation does not.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from unet_segmentation.config import ModelConfig

LOGITS = "logits"


def build_unet(channels: int, classes: int, config: ModelConfig) -> Any:
    """A functional Keras model: images (batch, x, y, channels) to class probabilities (batch, x, y, classes), float32
    whatever the policy.

    x and y may be any multiple of 2**(levels - 1).
    """

    def block(x: Any, maps: int, name: str) -> Any:
        for number in (1, 2):
            x = layers.Conv2D(
                maps,
                3,
                padding="same",
                use_bias=config.normalisation == "none",  # the normalisation has its own
                kernel_initializer="he_normal",
                name=f"{name}_conv{number}",
            )(x)
            if config.normalisation == "instance":
                x = layers.GroupNormalization(groups=-1, name=f"{name}_norm{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    # Contracting path
    inputs = x = keras.Input((None, None, channels), name="images")
    skips = []
    for level in range(config.levels):
        if level:
            x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
        x = block(x, config.width * 2**level, f"down{level}")
        skips.append(x)

    # Expanding path
    for level in reversed(range(config.levels - 1)):
        maps = config.width * 2**level
        x = layers.Conv2DTranspose(
            maps, 3, strides=2, padding="same", kernel_initializer="he_normal", name=f"up{level}_deconv"
        )(x)
        x = layers.Concatenate(name=f"up{level}_skip")([skips[level], x])
        x = block(x, maps, f"up{level}")

    # Head
    logits = layers.Conv2D(classes, 1, dtype="float32", name=LOGITS)(x)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name="unet")


def logits_of(model: Any) -> Any:
    """The same network (the same weights) ending before the softmax, for a loss that stays exact where probabilities
    round to 0.
    """
    return keras.Model(model.input, model.get_layer(LOGITS).output, name="unet_logits")


def size(model: Any, patch: int) -> dict[str, int]:
    """What a memory estimate needs (submit.runtime.network): parameters, and for one image of patch x patch the numbers
    of its input and of what the layers make of it, which the backward pass needs again.
    """
    fixed = keras.Input((patch, patch, model.inputs[0].shape[-1]))
    outputs = [layer.output for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    shapes = [tensor.shape for tensor in keras.Model(model.input, outputs)(fixed)]
    return {
        "parameters": int(model.count_params()),
        "activations": sum(math.prod(s[1:]) for s in shapes),
        "inputs": math.prod(fixed.shape[1:]),
    }
