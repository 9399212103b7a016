"""The U-Net of Dong et al. 2017 (arXiv 1705.03820): pairs of 3x3 convolutions with ReLU, 2x2 max-pooling, 3x3 stride-2
deconvolution; the same with blocks of slices and 3x3x3 where `dimensions` is 3 (Çiçek et al. 2016, arXiv 1606.06650).

`width = 64, levels = 5, normalisation = "none"` is the paper's network (64-128-256-512-1024 maps). What differs, why:
- a sigmoid map for each region, not two maps with a softmax for each of three networks: the regions lie inside each
  other, and the difference of two softmax maps is a sigmoid;
- He initialisation unless asked otherwise: with N(0, 0.01) deep ReLU networks start so faint that some runs never leave
  the ground;
- instance normalisation unless asked otherwise, which makes training on few patients less a matter of luck. It works on
  each image alone, so that a batch split over devices gives the same result; batch normalisation does not.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import initializers, layers, ops

from unet_segmentation import backend
from unet_segmentation.config import ModelConfig

LOGITS = "logits"
EPSILON = 1e-5  # added to the variance, as in Ulyanov et al. 2016


@keras.saving.register_keras_serializable("osgdl")
class InstanceNormalization(layers.Layer):  # type: ignore[misc]
    """Each map of each image to mean 0 and variance 1, then scaled and shifted (Ulyanov et al. 2016, arXiv 1607.08022).

    By the backend where it has a faster way on this device, else by one multiplication and one addition in the
    precision of the policy, the moments in float32. Keras's own `GroupNormalization(groups=-1)` gives the same numbers
    and makes the whole training step a third slower on the CPU.

    Args:
        rectified: a ReLU follows.
    """

    def __init__(self, rectified: bool = False, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.rectified = rectified

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rectified": self.rectified}

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale", autocast=False)
        self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", name="shift", autocast=False)

    def call(self, x: Any) -> Any:
        fused = backend.instance_normalization(x, self.scale, self.shift, EPSILON, self.rectified)
        if fused is not None:
            return fused
        axes = tuple(range(1, len(x.shape) - 1))
        wide = ops.cast(x, "float32")
        mean = ops.mean(wide, axes, keepdims=True)
        variance = ops.maximum(ops.mean(ops.square(wide), axes, keepdims=True) - ops.square(mean), 0.0)
        scale = self.scale * ops.rsqrt(variance + EPSILON)
        shift = self.shift - mean * scale
        x = x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)
        return ops.relu(x) if self.rectified else x


def build_unet(channels: int, regions: int, config: ModelConfig) -> Any:
    """A functional Keras model: images to region probabilities, float32 whatever the policy.

    Two dimensions: (batch, x, y, channels) to (batch, x, y, regions); three: (batch, z, x, y, channels) to
    (batch, z, x, y, regions). Each spatial side may be any multiple of `multiple(config)`.
    """
    flat = config.dimensions == 2
    convolution = layers.Conv2D if flat else layers.Conv3D
    deconvolution = layers.Conv2DTranspose if flat else layers.Conv3DTranspose
    pooling = layers.MaxPooling2D if flat else layers.MaxPooling3D

    def initial() -> Any:
        return initializers.HeNormal() if config.initialisation == "he" else initializers.RandomNormal(0.0, 0.01)

    def block(x: Any, maps: int, name: str) -> Any:
        for number in (1, 2):
            x = convolution(
                maps,
                3,
                padding="same",
                use_bias=config.normalisation == "none",  # the normalisation has its own
                kernel_initializer=initial(),
                name=f"{name}_conv{number}",
            )(x)
            if config.normalisation == "instance":
                x = InstanceNormalization(rectified=True, name=f"{name}_relu{number}")(x)
            else:
                x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    # Contracting path
    inputs = x = keras.Input((*[None] * config.dimensions, channels), name="images")
    skips = []
    for level in range(config.levels):
        if level:
            x = pooling(2, name=f"down{level}_pool")(x)
        x = block(x, config.width * 2**level, f"down{level}")
        skips.append(x)

    # Expanding path
    for level in reversed(range(config.levels - 1)):
        maps = config.width * 2**level
        x = deconvolution(maps, 3, strides=2, padding="same", kernel_initializer=initial(), name=f"up{level}_deconv")(x)
        x = layers.Concatenate(name=f"up{level}_skip")([skips[level], x])
        x = block(x, maps, f"up{level}")

    # Head
    logits = convolution(regions, 1, dtype="float32", name=LOGITS)(x)
    probabilities = layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name="unet")


def in_training(model: Any, regions: int, config: ModelConfig) -> Any:
    """The same network (the same weights) as it is trained: logits; with deep supervision a list of them, the full
    resolution first.

    Deep supervision adds 1x1 heads on the coarser levels of the expanding path but the coarsest (Isensee et al. 2021),
    which the finished model does not have.
    """
    convolution = layers.Conv2D if config.dimensions == 2 else layers.Conv3D
    outputs = [model.get_layer(LOGITS).output]
    if config.deep_supervision:
        for level in range(1, config.levels - 1):
            features = model.get_layer(f"up{level}_relu2").output
            outputs.append(convolution(regions, 1, dtype="float32", name=f"{LOGITS}{level}")(features))
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[0], name="unet_in_training")


def multiple(config: ModelConfig) -> int:
    """What each side of an image must be divisible by: every level halves it."""
    return int(2 ** (config.levels - 1))


def size(model: Any, sides: tuple[int, ...]) -> dict[str, int]:
    """What a memory estimate needs (submit.runtime.network): parameters, and for one image of these sides the numbers
    of its input and of what the layers make of it, which the backward pass needs again.
    """
    fixed = keras.Input((*sides, model.inputs[0].shape[-1]))
    outputs = [layer.output for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    # normalised and rectified are two where the backend does not make them one
    outputs += [layer.output for layer in model.layers if isinstance(layer, InstanceNormalization)]
    shapes = [tensor.shape for tensor in keras.Model(model.input, outputs)(fixed)]
    return {
        "parameters": int(model.count_params()),
        "activations": sum(math.prod(s[1:]) for s in shapes),
        "inputs": math.prod(fixed.shape[1:]),
    }
