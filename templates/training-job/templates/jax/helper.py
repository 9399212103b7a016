"""JAX: a training loop that goes on where an evicted one was.

    run = osgdl_jax.Run(steps=1000)
    state = run.resume(state)
    while run.step < run.steps:
        state, loss = train_step(state, batch(run.step))
        run.done(state, loss=float(loss))
    run.finish(state)

`state` is any tree of arrays: parameters, optimiser, random key. Where each batch follows from seed and step, a resumed
training is the same one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

import osgdl_arrays
from submit.runtime import devices, work
from submit.runtime.leaving import Intervals

HOURLY = Intervals(save_s=600, leave_s=3600, evicted_s=36000)
State = TypeVar("State")


class Run:
    """Counts steps, saves, and leaves with exit code 85.

    Args:
        steps: in all.
        identity: settings that a checkpoint must agree with to be resumed.

    Raises:
        BadMachine: the job has a GPU and JAX does not see it.
    """

    def __init__(
        self,
        steps: int,
        *,
        identity: Mapping[str, Any] | None = None,
        intervals: Intervals = HOURLY,
        folder: Path = Path("checkpoint"),
    ) -> None:
        self.device = devices.require_gpu(_visible())
        self._work = work.Work(steps, folder, intervals, identity)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self._work.step

    @property
    def steps(self) -> int:
        return self._work.steps

    def resume(self, state: State) -> State:
        """The state to begin with: the checkpoint's, or `state` where there is none.

        Raises:
            BadInput: the checkpoint is of another state or of other settings.
        """
        snapshot = self._work.resume()
        if snapshot is None:
            return state
        leaves = _leaves(state)
        wanted = [(name, array.dtype, array.shape) for name, array in _arrays(state).items()]
        arrays = osgdl_arrays.restored(snapshot.blobs["state"], wanted)
        found = [_like(leaf, array) for leaf, array in zip(leaves.values(), arrays, strict=True)]
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(state), found)

    def done(self, state: Any, loss: float | None = None, epoch: int | None = None) -> None:
        """A step is done."""
        self._work.done(lambda: _save(state), loss, epoch)

    def finish(self, state: Any) -> None:
        """All steps are done."""
        self._work.finish(lambda: _save(state))


def _save(state: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    return {}, {"state": osgdl_arrays.pack(_arrays(state))}


def _leaves(state: Any) -> dict[str, Any]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    # by place and path: a changed tree is seen
    return {f"{at:04d}{jax.tree_util.keystr(path)}".replace("/", ":"): leaf for at, (path, leaf) in enumerate(paths)}


def _arrays(state: Any) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for name, leaf in _leaves(state).items()
    }


def _like(leaf: Any, array: np.ndarray) -> Any:
    """`array` as what `leaf` is: a random key, a number, or an array on the leaf's device."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, (bool, int, float)):
        return type(leaf)(array.item())
    return jax.device_put(array, leaf.sharding) if isinstance(leaf, jax.Array) else array


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _visible() -> int:
    try:
        return len(jax.devices("gpu"))
    except RuntimeError:
        return 0
