"""How busy the job's GPUs are, as NVML counts it: the share of the time in which any kernel ran.

NVML is asked in a thread of its own: a driver that hangs keeps that thread, and not the training.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Optional

from submit.runtime.nvml import Nvml, NvmlError

EVERY_S = 5.0
SAMPLES = 12  # a minute


class GpuUse:
    """Samples in the background from the first call of `share` on.

    Args:
        names: of the GPUs, as CUDA_VISIBLE_DEVICES has them (`GPU-<UUID>`); None: what it holds.
    """

    def __init__(self, names: Optional[Sequence[str]] = None, every_s: float = EVERY_S) -> None:
        held = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if names is None else names
        self._uuids = [name.strip()[4:] for name in held if name.strip().startswith("GPU-")]
        self._every_s = every_s
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._thread: Optional[threading.Thread] = None

    def share(self) -> Optional[float]:
        """Of the last minute, the mean over the GPUs, 0 to 1; None where NVML does not say (MIG, no driver, no GPU)."""
        if self._uuids and self._thread is None:
            self._thread = threading.Thread(target=self._sample, name="gpu-use", daemon=True)
            self._thread.start()
        samples = list(self._samples)
        return sum(samples) / len(samples) if samples else None

    def _sample(self) -> None:
        try:
            library = Nvml()
            while True:
                found = [share for uuid in self._uuids if (share := library.busy(uuid)) is not None]
                if not found:
                    return
                self._samples.append(sum(found) / len(found))
                time.sleep(self._every_s)
        except (OSError, AttributeError, NvmlError):
            return
