"""From a batch as the host made it to what the network is trained on, and the loss: everything of a training step but
the step. In `keras.ops`, compiled by whichever backend trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_segmentation.augment import vary
from unet_segmentation.config import Config


@dataclass(frozen=True)
class Objective:
    """What is trained for.

    Attributes:
        config: of the run.
        channels: number of modalities.
        membership: (class, region) of 0 and 1, `Convention.membership(regions)`.
    """

    config: Config
    channels: int
    membership: NDArray[np.float32]

    def inputs(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Images and truth for the network, from a batch of `pipeline.Batches`.

        Two dimensions: (batch, patch, patch, slices * channels) and (batch, patch, patch, region); three:
        (batch, depth, patch, patch, channels) and (batch, depth, patch, patch, region). float32.
        """
        from keras import ops

        patch = self.config.train.patch
        images, classes = vary(batch, patch, self.channels)
        truth = ops.take(ops.convert_to_tensor(self.membership), ops.cast(classes, "int32"), axis=0)
        if self.config.model.dimensions == 2:
            return images, truth[:, :, :, 0]
        blocks = ops.reshape(images, (-1, patch, patch, self.config.train.depth, self.channels))
        return ops.transpose(blocks, (0, 3, 1, 2, 4)), ops.transpose(truth, (0, 3, 1, 2, 4))

    def sums(self, truth: Any, outputs: Any) -> dict[str, Any]:
        """Of the images' values: `loss` and `dice` as shares of the whole batch, so that the sums of its parts are its
        means; `found` and `there` in pixels. Scalars, float32.
        """
        from keras import ops

        from unet_segmentation.losses import supervised

        outputs = outputs if isinstance(outputs, list) else [outputs]
        values = supervised(truth, outputs, self.config.train.loss)
        sums = {name: ops.sum(value) for name, value in values.items()}
        size = self.config.train.batch_size
        return {**sums, "loss": sums["loss"] / size, "dice": sums["dice"] / size}
