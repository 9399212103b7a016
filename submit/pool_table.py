"""What a person reads of the local pool: its sites as a table, the ends of its logs."""

from __future__ import annotations

import json
from collections import deque

from submit import pool, sites
from submit.errors import PoolError
from submit.pool_config import ASKS_FOR_BAD_SITES


def status(*, as_json: bool) -> tuple[bool, str]:
    """(the pool runs, table or JSON of its sites)."""
    running = pool.init_pid() is not None
    rows = pool.slots() if running else []
    if as_json:
        return running, json.dumps({"running": running, "name": pool.name(), "sites": rows}, indent=2)
    if not running:
        return False, "the local pool is down; start it: osgdl pool up"
    known = {site.machine: site for site in sites.load()}
    lines = [f"{'site':<14}{'GPU':<36}{'free':>6}  {'capability':>10}  {'CUDA':>5}  {'memory':>9}  containers, CVMFS"]
    for row in sorted(rows, key=lambda row: str(row["site"])):
        site = known[row["machine"]]
        gpu = site.gpu
        has = ", ".join(word for word, there in (("Singularity", row["singularity"]), ("CVMFS", site.cvmfs)) if there)
        figures = ("-", "-", "-")
        if gpu:
            major, minor = divmod(gpu.runtime, 1000)
            figures = (str(gpu.capability), f"{major}.{minor // 10}", f"{gpu.memory_mb} MB")
        free = f"{row['free_gpus']}/{row['gpus']}"
        lines.append(
            f"{row['site']:<14}{gpu.name if gpu else 'none (CPU only)':<36}{free:>6}  "
            f"{figures[0]:>10}  {figures[1]:>5}  {figures[2]:>9}  {has or 'neither'}"
            + (f"; bad on purpose, takes only jobs with +{ASKS_FOR_BAD_SITES} = True" if site.fault else "")
        )
    return True, "\n".join(lines)


def log_tails(part: str, count: int) -> str:
    """The last `count` lines of every daemon log whose name contains `part`. Raises PoolError when there is none."""
    files = [file for file in pool.logs() if part.lower() in file.name.lower()]
    if not files:
        names = ", ".join(file.name for file in pool.logs())
        raise PoolError(f"logs={part!r}: no such log; there are: {names or 'none yet (osgdl pool up)'}")
    blocks = []
    for file in files:
        with file.open(errors="replace") as lines:
            blocks.append(f"==> {file}\n" + "".join(deque(lines, maxlen=count)))
    return "\n".join(blocks)
