"""From a framework's version to the GPUs and drivers it runs on, by data/compatibility.json.

The rules (docs/compatibility.md, with their sources):
1. runtime floor: the CUDA major from 11.0 on (minor-version compatibility), before it the exact version;
2. capability floor: the highest of the lowest code in the wheel, in its cuDNN, in its CUDA;
3. capability ceiling: the highest code's major with all its minors; code that the driver would
   have to compile does not count;
4. both are always given: an old GPU with a new driver passes the runtime floor alone;
5. memory: 0.92 of the number on the box (submit.units).

Runs at render time too: standard library, Python 3.9.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from submit.errors import ImageError, wrong

DATA = Path(__file__).parent / "data" / "compatibility.json"
# of the number in a card's name, what every card of that name shows: 1 to 8 % less (rows of [[gpus]])
HONEST = 0.92
ALIASES = {"pytorch": "torch", "tf": "tensorflow", "tensorflow-gpu": "tensorflow", "jaxlib": "jax"}
_SURE = ("low", "medium", "high")
_NEWER = (9, 11)  # cuDNN from here on has no code before Turing


@dataclass(frozen=True)
class Bounds:
    """What a GPU must offer, as submit commands write it ("6.0", "9.0", "12.0"), and why.

    Attributes:
        name: what was asked for, such as `tensorflow 2.21`.
        strict_runtime: the floor where code must be compiled by the driver: the toolkit's own version.
        usable: False for an image that sees no GPU at all.
        python, glibc: what the wheel wants ("3.10-3.13", "2.27"); empty where unknown.
        reasons: a sentence for each bound. warnings: traps. confidence: the least of the rows used.
    """

    name: str
    gpus_minimum_capability: str = ""
    gpus_maximum_capability: str = ""
    gpus_minimum_runtime: str = ""
    strict_runtime: str = ""
    usable: bool = True
    python: str = ""
    glibc: str = ""
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = field(default=())
    confidence: str = "high"

    def admits(self, capability: str, max_supported_version: int) -> bool:
        """Whether a GPU of that capability, with a driver of that CUDA API (12040), meets the bounds."""
        least = number(self.gpus_minimum_capability or "0")
        most = number(self.gpus_maximum_capability or "99")
        enough = max_supported_version >= runtime(self.gpus_minimum_runtime or "0.0")
        return self.usable and least <= number(capability) <= most and enough


@lru_cache(maxsize=1)
def data() -> Mapping[str, Any]:
    """The tables of data/compatibility.toml."""
    tables: Mapping[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return tables


def number(version: str) -> tuple[int, ...]:
    """ "2.10" -> (2, 10): versions and capabilities compare as numbers, part by part."""
    return tuple(int(part) for part in version.split("."))


def runtime(version: str) -> int:
    """ "12.4" -> 12040, as HTCondor's MaxSupportedVersion."""
    major, minor = (*number(version), 0)[:2]
    return 1000 * major + 10 * minor


def of_framework(
    name: str, version: str, variant: str | None = None, cudnn: str | None = None, newest_cudnn: bool = False
) -> Bounds:
    """The bounds of a framework's wheel; `variant` such as cu126 or cuda13, none: what pip installs.

    `cudnn`: the version that is installed; `newest_cudnn`: nothing pins it, and pip takes the newest the wheel allows.

    Raises:
        ImageError: no such framework, version or variant in the data.
    """
    known = ALIASES.get(name.lower(), name.lower())
    rows = [row for row in data()["frameworks"] if row["name"] == known]
    if not rows:
        names = sorted({row["name"] for row in data()["frameworks"]})
        raise _unknown("framework", name, "unknown", names)
    wanted = number(version)[:2]
    rows = [row for row in rows if number(row["first"])[:2] <= wanted <= number(row["last"])[:2]]
    if known == "jax":  # its rows part inside a minor version
        rows = [row for row in rows if number(row["first"]) <= number(version)[:3] or len(number(version)) < 3]
        rows = [row for row in rows if number(version)[:3] <= (*number(row["last"]), 99)[:3]]
    if not rows:
        versions = sorted(
            {r[end] for r in data()["frameworks"] if r["name"] == known for end in ("first", "last")}, key=number
        )
        raise _unknown(known, version, "no such version in the data", versions)
    chosen = [row for row in rows if (row.get("variant") == variant if variant else row["default"])]
    if not chosen:
        raise _unknown(f"{known} {version}", variant or "", "no such build", [row.get("variant", "") for row in rows])
    return _of_row(chosen[0], version, cudnn, newest_cudnn)


def of_cuda(version: str) -> Bounds:
    """The bounds of a CUDA toolkit alone: what its own libraries have code for."""
    row = _cuda(version)
    least = row["min_driver_linux"]
    return Bounds(
        name=f"CUDA {version}",
        gpus_minimum_capability=row["capability_min"],
        gpus_maximum_capability=row["capability_max"],
        gpus_minimum_runtime=_floor(row),
        strict_runtime=row["version"],
        reasons=(
            f"runtime >= {_floor(row)}: CUDA {row['version']} runs with driver {least} and newer",
            f"capability {row['capability_min']} to {row['capability_max']}: what CUDA {row['version']} has code for",
        ),
        sources=tuple(row["sources"]),
        confidence=row["confidence"],
    )


def _of_row(row: Mapping[str, Any], version: str, cudnn: str | None, newest_cudnn: bool) -> Bounds:
    """Rules 1 to 3 for a row of [[frameworks]]."""
    cuda = _cuda(row["cuda"])
    newest = newest_cudnn and row["newest_cudnn"] and cudnn is None
    open_cudnn = row["newest_cudnn"] and cudnn is None and not newest
    cudnn = cudnn or (".".join(map(str, _NEWER)) if newest else row.get("cudnn", ""))
    lowest, highest = min(row["sass"], key=number), max(row["sass"], key=number)
    floors = {f"the wheel has code from {lowest} on": lowest}
    floors[f"CUDA {cuda['version']} has libraries from {cuda['capability_min']} on"] = cuda["capability_min"]
    below = _cudnn_floor(cudnn, cuda["version"])
    if below:
        shown = "the newest cuDNN, which nothing pins," if newest else f"cuDNN {cudnn}"
        floors[f"{shown} has code from {below['capability_min']} on"] = below["capability_min"]
    least = max(floors.values(), key=number)
    most = _last_of_major(highest)
    sources = (*row["sources"], *cuda["sources"], *(below["sources"] if below else ()))
    known = Bounds(
        name=f"{row['name']} {version}" + (f" {row['variant']}" if row.get("variant") else ""),
        gpus_minimum_capability=least,
        gpus_maximum_capability=most,
        gpus_minimum_runtime=_floor(cuda),
        strict_runtime=cuda["version"],
        python=row["python"],
        glibc=row.get("glibc", ""),
        reasons=(
            f"runtime >= {_floor(cuda)}: built with CUDA {cuda['version']}, which runs with driver "
            f"{cuda['min_driver_linux']} and newer",
            f"capability >= {least}: {'; '.join(floors)}",
            f"capability <= {most}: the newest code in the wheel is for {highest}, and runs on its own major alone",
        ),
        warnings=_traps(row, cuda, highest, open_cudnn),
        sources=tuple(dict.fromkeys(sources)),
        confidence=least_sure(row["confidence"], cuda["confidence"]),
    )
    return limited(known, row)


def limited(known: Bounds, row: Mapping[str, Any]) -> Bounds:
    """With the row's own limits, which are known and do not follow from the rules."""
    for key, command in (("limit_min", "gpus_minimum_capability"), ("limit_max", "gpus_maximum_capability")):
        if key in row:
            reason = f"capability {'>=' if key == 'limit_min' else '<='} {row[key]}: {row['limit_reason']}"
            known = replace(known, **{command: row[key], "reasons": (*known.reasons, reason)})
    return known


def _traps(row: Mapping[str, Any], cuda: Mapping[str, Any], highest: str, open_cudnn: bool) -> tuple[str, ...]:
    traps = []
    if number(cuda["version"]) >= (13,):
        traps.append(
            "gpus_minimum_runtime alone does not keep old GPUs away: a V100 with driver 580 advertises 13.0, and "
            "nothing of CUDA 13 runs on it. Keep gpus_minimum_capability"
        )
    if open_cudnn:
        traps.append(
            "pip takes the newest cuDNN with this version, which has no code before 7.5: pin "
            "nvidia-cudnn-cu12==9.10.2.21, or ask for gpus_minimum_capability = 7.5"
        )
    if row.get("ptx"):
        traps.append(
            f"GPUs newer than {_last_of_major(highest)} are left out although the wheel holds PTX: the driver would "
            "compile it, 30 minutes in each process, or fail"
        )
    return tuple(traps)


def _floor(cuda: Mapping[str, Any]) -> str:
    """Rule 1."""
    version: str = cuda["version"]
    return f"{number(version)[0]}.0" if cuda["minor_version_compat"] else version


def _cuda(version: str) -> Mapping[str, Any]:
    wanted = number(version)[:2]
    for row in data()["cuda"]:
        if number(row["version"]) == wanted:
            found: Mapping[str, Any] = row
            return found
    raise _unknown("CUDA", version, "no such version in the data", [row["version"] for row in data()["cuda"]])


def _cudnn_floor(cudnn: str, cuda: str) -> Mapping[str, Any] | None:
    """The row of [[cudnn]] that holds for a version, built for a CUDA."""
    rows = [
        row
        for row in data()["cudnn"]
        if cudnn and number(row["first"]) <= number(cudnn) and number(row["cuda"]) <= number(cuda)
    ]
    best: Mapping[str, Any] | None = max(
        rows, key=lambda row: (number(row["first"]), number(row["cuda"])), default=None
    )
    return best


def _last_of_major(capability: str) -> str:
    """The highest capability of the same major among the GPUs that the data knows: "8.0" -> "8.9"."""
    majors = {row["capability"] for row in data()["gpus"]} | {capability}
    return max((other for other in majors if number(other)[0] == number(capability)[0]), key=number)


def least_sure(*confidences: str) -> str:
    """The lowest of `high`, `medium` and `low`."""
    return min(confidences, key=_SURE.index)


def _unknown(field_name: str, value: str, what: str, known: list[str]) -> ImageError:
    near = get_close_matches(value, known, n=1, cutoff=0.3)
    return ImageError(
        wrong(
            field_name,
            value,
            what,
            f"want one of {', '.join(known)}",
            f"Try {near[0] if near else known[-1]}, or add a row: docs/compatibility.md",
        )
    )
