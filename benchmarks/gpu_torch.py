"""A worker: PyTorch's images/s on a GPU with augmentation on the device.

All slices lie on the device, and a batch is drawn, cut, turned, zoomed, shifted, mirrored and varied in its intensities
there, in one compiled function: nothing waits for the host. Several steps are given to the device before one is waited
for.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import torch_unet
from benchmarks.pairs import network_options

SLICES = 256  # that a batch is drawn from, 240 x 240


def vary(images: Tensor, truth: Tensor, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What our trainer does by default: one affine resampling, then gamma, contrast, brightness, noise in each channel.

    images (n, channel, x, y) float16, truth (n, region, x, y) uint8; the results are float32 and uint8.
    """
    count, channels = images.shape[:2]

    def between(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, device=images.device) * (high - low) + low

    angle, zoom = between(-0.35, 0.35), torch.exp(between(-0.14, 0.14))
    mirror = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    shift = between(-0.1, 0.1, 2)
    share = [side / whole for side, whole in zip(sides, images.shape[2:], strict=True)]
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = [
        torch.stack([cosine * mirror * share[1], -sine * share[0], shift[:, 0]], 1),
        torch.stack([sine * mirror * share[1], cosine * share[0], shift[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), [count, 1, *sides], align_corners=False)
    images = functional.grid_sample(images.float(), grid, align_corners=False)
    truth = functional.grid_sample(truth.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)
    inside = (images != 0).any(1, keepdim=True)
    exponent = torch.exp(between(-0.26, 0.26, channels, 1, 1))
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    images = ((images - low) / span).clamp(1e-6, 1.0) ** exponent * span + low
    images = images * between(0.8, 1.2, channels, 1, 1) + between(-0.2, 0.2, channels, 1, 1)
    images = images + torch.randn_like(images) * between(0, 0.1, channels, 1, 1)
    return torch.where(inside, images, 0.0), truth


def main() -> None:
    parser = argparse.ArgumentParser(description="Times PyTorch's training on a GPU.")
    network_options(parser)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    settings = frozenset({"channels-last", "bf16", "compile"})
    step = torch_unet.build(settings, options.normalisation, 4, options.width, options.levels, options.device)
    generator = torch.Generator(options.device).manual_seed(1)
    images = torch.randn(SLICES, 4, 240, 240, device=options.device, generator=generator).half()
    truth = (torch.rand(SLICES, 3, 240, 240, device=options.device, generator=generator) < 0.1).to(torch.uint8)
    compiled = torch.compile(vary)

    def once() -> Tensor:
        drawn = torch.randint(SLICES, (options.batch,), device=options.device, generator=generator)
        return step(*compiled(images[drawn], truth[drawn], tuple(options.sides)))

    for _ in range(10):
        once().item()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < options.seconds:
        for _ in range(10):
            loss = once()
        loss.item()
        count += 10
    speed = count * options.batch / (time.perf_counter() - began)
    print(json.dumps({"images_per_s": speed, "parameters": torch_unet.parameters(step.network), "steps": count}))


if __name__ == "__main__":
    main()
