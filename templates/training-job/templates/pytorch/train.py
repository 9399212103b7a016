"""Trains a small network to tell lying stripes from standing ones, and survives eviction: to be replaced by yours.

The lines that make it a job of the OSPool are those with osgdl_, run and exit_codes. What is trained is decided in
`network` and `main`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import osgdl_job
import osgdl_pytorch
import stripes
from submit.runtime import exit_codes

BATCH = 50


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 2)
    )


def main() -> None:
    options = osgdl_job.parser(__doc__).parse_args()
    given = osgdl_job.data(options)
    if about := stripes.made_up(given.folder):
        osgdl_job.require_told(options.data, about, options)
    train, validation = stripes.read(given.folder)

    torch.manual_seed(options.seed)
    device = osgdl_pytorch.device()
    model = network().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * train.steps(BATCH))
    loss_of = nn.CrossEntropyLoss()

    run = osgdl_pytorch.Run(
        steps=options.epochs * train.steps(BATCH),
        identity={"seed": options.seed, "epochs": options.epochs},
        intervals=osgdl_job.intervals(options),
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
    )
    model.train()
    while run.step < run.steps:
        x, y = train.batch(BATCH, options.seed, run.step)
        optimizer.zero_grad()
        loss = loss_of(model(torch.from_numpy(x[:, None]).to(device)), torch.from_numpy(y).to(device))
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.done(loss=loss.item(), epoch=run.step // train.steps(BATCH))
    run.finish()

    model.eval()
    with torch.no_grad():
        guessed = model(torch.from_numpy(validation.x[:, None]).to(device)).argmax(1).cpu().numpy()
    weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / "weights.npz", **weights)
    accuracy = float(np.mean(guessed == validation.y))
    digest = osgdl_job.digest(weights)
    osgdl_job.record(options, given, run.device, digest, torch=torch.__version__, synthetic=about, accuracy=accuracy)


if __name__ == "__main__":
    exit_codes.end(exit_codes.run(main))
