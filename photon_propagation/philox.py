"""Philox4x32-10 for arrays of counters: a photon's random numbers follow from the seed, its number and the step alone.

Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC11). The kernel has the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Four words for each counter (four arrays of one shape) under a key of two 32-bit words."""
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(10):
        left, right = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b = (right >> np.uint64(32)) ^ b ^ np.uint64(k0), right & _LOW
        c, d = (left >> np.uint64(32)) ^ d ^ np.uint64(k1), left & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return a.astype(np.uint32), b.astype(np.uint32), c.astype(np.uint32), d.astype(np.uint32)


def block(step: NDArray[np.int64] | int, photon: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Four numbers between 0 and 1, neither of them, for each photon: shape (4, photons).

    Args:
        step: block of the photon's stream; 0 and 1 are its emission's, 2 + k is its k-th free path's and scatter's.
        photon: their numbers.
        seed: 0 to 2**64 - 1.
    """
    low, high = photon & _LOW, photon >> np.uint64(32)
    steps = np.broadcast_to(np.asarray(step, np.uint64), photon.shape)
    words = philox((steps, np.zeros_like(steps), low, high), (seed & 0xFFFFFFFF, seed >> 32))  # type: ignore[arg-type]
    return (np.stack(words).astype(np.float64) + 0.5) * 2.0**-32
