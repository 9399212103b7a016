"""The peer: our U-Net written in PyTorch, with every setting that makes PyTorch fast; and a worker that times its step.

    python -m benchmarks.torch_unet --normalisation none --setting channels-last --setting bf16

What is done in every setting, because it is known to help and costs nothing: ReLU in place, gradients set to None,
Adam fused, denormals flushed. `group-norm` writes instance normalisation as a group normalisation with one group a map,
which is the same function and has another kernel on the CPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SMOOTH = 32.0  # as in our loss
SETTINGS = ("channels-last", "bf16", "compile", "group-norm")


class Block(nn.Sequential):
    """Two 3x3 convolutions, each with its normalisation and ReLU."""

    def __init__(self, before: int, after: int, normalisation: str) -> None:
        parts: list[nn.Module] = []
        for maps in (before, after):
            parts.append(nn.Conv2d(maps, after, 3, padding=1, bias=normalisation == "none"))
            if normalisation == "instance":
                parts.append(nn.InstanceNorm2d(after, affine=True))
            elif normalisation == "group":
                parts.append(nn.GroupNorm(after, after))
            parts.append(nn.ReLU(inplace=True))
        super().__init__(*parts)


class UNet(nn.Module):
    """(n, channel, x, y) to logits (n, region, x, y): `levels` levels of `width`, 2 * width, ... maps."""

    def __init__(self, channels: int, regions: int, width: int, levels: int, normalisation: str) -> None:
        super().__init__()
        maps = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            Block(before, after, normalisation) for before, after in zip([channels, *maps], maps, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.deconvolution = nn.ModuleList(nn.ConvTranspose2d(2 * m, m, 3, 2, 1, 1) for m in maps[:-1])
        self.up = nn.ModuleList(Block(2 * m, m, normalisation) for m in maps[:-1])
        self.head = nn.Conv2d(width, regions, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([skips[level], self.deconvolution[level](x)], 1))
        logits: Tensor = self.head(x)
        return logits


def dice_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice of each image and region, and binary cross-entropy, in float32; the mean over the batch."""
    logits, truth = logits.float(), truth.float()
    probabilities = logits.sigmoid()
    overlap = (probabilities * truth).sum((2, 3))
    total = probabilities.sum((2, 3)) + truth.sum((2, 3))
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH)
    return functional.binary_cross_entropy_with_logits(logits, truth) + (1 - dice).mean()


class Step:
    """One Adam step of a network on one batch.

    Args:
        network: to train.
        settings: of SETTINGS.
        loss: (logits, truth) to a number.
        device: where.
    """

    def __init__(self, network: nn.Module, settings: frozenset[str], loss: Any, device: str = "cpu") -> None:
        torch.set_flush_denormal(True)
        self.format = torch.channels_last if "channels-last" in settings else torch.contiguous_format
        self.network = network.to(device, memory_format=self.format)
        self.device = device
        self._optimizer = torch.optim.Adam(self.network.parameters(), 1e-3, fused=True)

        def forward(images: Tensor, truth: Tensor) -> Tensor:
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled="bf16" in settings):
                logits = self.network(images)
            return loss(logits, truth)

        self._forward = torch.compile(forward) if "compile" in settings else forward

    def __call__(self, images: Tensor, truth: Tensor) -> Tensor:
        """The loss before the step, on the device."""
        images = images.to(self.device, memory_format=self.format, non_blocking=True)
        truth = truth.to(self.device, non_blocking=True)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._forward(images, truth)
        loss.backward()
        self._optimizer.step()
        return loss.detach()


def build(
    settings: frozenset[str],
    normalisation: str,
    channels: int = 2,
    width: int = 16,
    levels: int = 4,
    device: str = "cpu",
) -> Step:
    """A step of the U-Net for 3 regions, from a fixed seed."""
    torch.manual_seed(1)
    kind = "group" if normalisation == "instance" and "group-norm" in settings else normalisation
    return Step(UNet(channels, 3, width, levels, kind), settings, dice_cross_entropy, device)


def parameters(network: nn.Module) -> int:
    """How many trainable numbers."""
    return sum(p.numel() for p in network.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description="Times PyTorch's training step.")
    parser.add_argument("--normalisation", default="instance", choices=("instance", "none"))
    parser.add_argument("--setting", action="append", default=[], choices=SETTINGS)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    step = build(frozenset(options.setting), options.normalisation)
    images = torch.randn(8, 2, 128, 128).to(memory_format=step.format)
    truth = (torch.rand(8, 3, 128, 128) < 0.1).to(torch.uint8)
    for _ in range(3):
        step(images, truth).item()
    times: list[float] = []
    while sum(times) < options.seconds:
        began = time.perf_counter()
        step(images, truth).item()
        times.append(time.perf_counter() - began)
    speed = len(images) / statistics.median(times)
    print(json.dumps({"images_per_s": speed, "parameters": parameters(step.network), "steps": len(times)}))


if __name__ == "__main__":
    main()
