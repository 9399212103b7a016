"""PyTorch: a training loop that goes on where an evicted one was.

    device = osgdl_pytorch.device()
    run = osgdl_pytorch.Run(steps=1000, model=model, optimizer=optimizer)
    while run.step < run.steps:
        ...
        run.done(loss=loss.item())
    run.finish()

Saved is the state_dict of each part, and torch's random numbers. Nothing is pickled: tensors become an npz, the rest
JSON. Where each batch follows from seed and step, a resumed training is the same one, bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import osgdl_arrays
from submit.runtime import devices, work
from submit.runtime.exit_codes import BadInput
from submit.runtime.leaving import Intervals

HOURLY = Intervals(save_s=600, leave_s=3600, evicted_s=36000)


def device() -> torch.device:
    """Where to compute.

    Raises:
        BadMachine: the job has a GPU and torch does not see it.
    """
    _described()
    return torch.device("cuda" if _visible() else "cpu")


def _visible() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@functools.cache  # said once, whoever asks
def _described() -> str:
    return devices.require_gpu(_visible())


class Run:
    """Counts steps, saves, and leaves with exit code 85; it begins where the checkpoint is. `device` is what trains, to
    be recorded with the results.

    Args:
        steps: in all.
        identity: settings that a checkpoint must agree with to be resumed.
        parts: whatever has a state_dict and is changed by the training: model, optimizer, scheduler, scaler.

    Raises:
        BadInput: the checkpoint is of other parts or of other settings.
        BadMachine: the job has a GPU and torch does not see it.
    """

    def __init__(
        self,
        steps: int,
        *,
        identity: Mapping[str, Any] | None = None,
        intervals: Intervals = HOURLY,
        folder: Path = Path("checkpoint"),
        **parts: Any,
    ) -> None:
        self.device = _described()
        self._parts, self._work = parts, work.Work(steps, folder, intervals, identity)
        snapshot = self._work.resume()
        if snapshot:
            self._load(unflatten(snapshot.state["tree"], osgdl_arrays.unpack(snapshot.blobs["tensors"])))

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self._work.step

    @property
    def steps(self) -> int:
        return self._work.steps

    def done(self, loss: float | None = None, epoch: int | None = None) -> None:
        """A step is done."""
        self._work.done(self._save, loss, epoch)

    def finish(self) -> None:
        """All steps are done."""
        self._work.finish(self._save)

    def _save(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        random = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
        arrays: dict[str, np.ndarray] = {}
        states = {name: part.state_dict() for name, part in self._parts.items()}
        tree = flatten({"random": random, **states}, arrays)
        return {"tree": tree}, {"tensors": osgdl_arrays.pack(arrays)}

    def _load(self, state: dict[str, Any]) -> None:
        random = state.pop("random")
        try:
            if set(state) != set(self._parts):
                raise ValueError(f"parts {', '.join(state)}; now {', '.join(self._parts)}")
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        except (ValueError, RuntimeError, KeyError) as fault:
            raise BadInput(
                "checkpoint", str(fault), "one of these parts", "undo the change, or start anew: rm -r checkpoint"
            ) from fault
        torch.set_rng_state(random[0])
        if torch.cuda.is_available() and len(random) == 1 + torch.cuda.device_count():
            torch.cuda.set_rng_state_all(random[1:])


def flatten(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON, its tensors moved to `arrays`, byte by byte so that every type of torch's can be kept.

    Raises:
        TypeError: something that is neither a tensor nor JSON nor made of such.
    """
    if isinstance(value, torch.Tensor):
        name = f"{len(arrays):04d}"
        plain = value.detach().cpu().contiguous()
        arrays[name] = plain.reshape(-1).view(torch.uint8).numpy()
        return {"tensor": name, "type": str(plain.dtype).removeprefix("torch."), "shape": list(plain.shape)}
    if isinstance(value, Mapping):  # pairs: an optimiser's keys are numbers
        return {"map": [[flatten(key, arrays), flatten(one, arrays)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [flatten(one, arrays) for one in value]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} in a state_dict: only tensors, numbers and texts can be saved")


def unflatten(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `flatten` was given, its tensors on the CPU."""
    if not isinstance(tree, Mapping):
        return tree
    if "tensor" in tree:
        plain = torch.from_numpy(arrays[tree["tensor"]].copy())
        return plain.view(getattr(torch, tree["type"])).reshape(tree["shape"])
    if "map" in tree:
        return {unflatten(key, arrays): unflatten(one, arrays) for key, one in tree["map"]}
    if "float" in tree:
        return float(tree["float"])
    kind = tuple if "tuple" in tree else list
    return kind(unflatten(one, arrays) for one in tree[kind.__name__])
