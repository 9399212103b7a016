"""What to ask for where a job had too little: memory and disk, from what the log measured."""

from __future__ import annotations

import math

from submit.explain_log import Evidence

GROWTH = 1.5  # of a request that was too small: what the job would have used is not known
NEAR = 0.9  # of a request: used up, as far as samples some seconds apart can tell
_ATTRIBUTES = {"Memory": ("RequestMemory", 1), "Disk": ("RequestDisk", 1024)}  # in MB, in KB


def used_up(seen: Evidence, name: str) -> bool:
    """Whether the last measure of Memory or Disk comes near the request."""
    used, asked = seen.used.get(name, 0.0), seen.asked.get(name, 0.0)
    return bool(asked) and used > NEAR * asked


def measured(seen: Evidence) -> list[str]:
    """A line for each resource that was used up."""
    lines = []
    for name, (_, scale) in _ATTRIBUTES.items():
        if used_up(seen, name):
            used, asked = seen.used[name] / scale, seen.asked[name] / scale
            lines.append(f"{name.lower()}: {used:.0f} MB used, {asked:.0f} MB asked for")
    return lines


def more(seen: Evidence, name: str, job: str, in_queue: bool) -> str:
    """The line that asks for more Memory or Disk, and the command that does so for a job in the queue."""
    attribute, scale = _ATTRIBUTES[name]
    asked = (seen.asked.get(name) or (seen.provisioned if name == "Memory" else 0.0)) / scale
    if not asked:
        return f"raise request_{name.lower()} in the submit file"
    used = seen.used.get(name, 0.0) / scale
    gigabytes = math.ceil(GROWTH * max(asked, used) / 1024)
    had = f"it asked for {asked:.0f} MB" + (f" and used {used:.0f} MB" if used else "")
    line = f"request_{name.lower()} = {gigabytes}GB in the submit file ({had})"
    if not in_queue:
        return line
    return f"{line}; for this job: condor_qedit {job} {attribute} {gigabytes * 1024 * scale} && condor_release {job}"
