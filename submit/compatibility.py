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
import re
from collections.abc import Iterable, Mapping
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
CPU = "cpu"  # the variant that has no CUDA: torch 2.8.0+cpu, tensorflow-cpu
_RELEASE = re.compile(r"\d{1,4}(?:\.\d{1,4})*(?!\d)", re.ASCII)
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


def release(field_name: str, version: str) -> tuple[int, ...]:
    """ "2.15.0.post1" -> (2, 15, 0): the numbers of a version that a user or a package names.

    Raises:
        ImageError: it does not begin with a number.
    """
    found = _RELEASE.match(version)
    if not found:
        raise ImageError(wrong(field_name, version, "not a version", "want numbers such as 2.21", "See `pip list`"))
    return number(found.group())


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
    plain = name.lower().replace("_", "-")
    if plain.endswith(f"-{CPU}"):
        plain, variant = plain[: -len(CPU) - 1], CPU
    known = ALIASES.get(plain, plain)
    rows = [row for row in data()["frameworks"] if row["name"] == known]
    if not rows:
        names = sorted({row["name"] for row in data()["frameworks"]})
        raise _unknown("framework", name, "unknown", names)
    ends = [row[end] for row in rows for end in ("first", "last")]
    numbers = release(known, version)
    wanted = numbers[:2]
    rows = [row for row in rows if number(row["first"])[:2] <= wanted <= number(row["last"])[:2]]
    if known == "jax":  # its rows part inside a minor version
        rows = [row for row in rows if number(row["first"]) <= numbers[:3] or len(numbers) < 3]
        rows = [row for row in rows if numbers[:3] <= (*number(row["last"]), 99)[:3]]
    if not rows:
        raise _no_version(known, version, ends)
    if variant == CPU:
        why = "this build has no CUDA: it computes on the CPU"
        return Bounds(f"{known} {version} {CPU}", usable=False, warnings=(why,), sources=tuple(rows[0]["sources"]))
    chosen = [row for row in rows if (row.get("variant") == variant if variant else row["default"])]
    if not chosen:
        raise _unknown(f"{known} {version}", variant or "", "no such build", [row.get("variant", "") for row in rows])
    if len(chosen) > 1:
        parts = [f"{row['first']} to {row['last']} ({row['variant']})" for row in chosen]
        what = "its builds differ, and it does not say which"
        raise ImageError(wrong(known, version, what, f"want one of {', '.join(parts)}", f"Try {chosen[-1]['first']}"))
    return _of_row(chosen[0], version, cudnn, newest_cudnn)


def of_driver(version: str) -> int:
    """ "535.104.05" -> 12020: the CUDA API of an NVIDIA driver, which HTCondor advertises as MaxSupportedVersion.

    A driver between two branches counts as the older one. DriverVersion (12.20) is the same number, not the driver's.

    Raises:
        ImageError: older or newer than every branch of the data.
    """
    branch = release("driver", version.lstrip("Rr"))[0]
    apis: dict[int, int] = {int(row["branch"][1:]): row["max_supported_version"] for row in data()["drivers"]}
    if not min(apis) <= branch <= max(apis):
        raise _no_version("driver", version, map(str, apis))
    return apis[max(known for known in apis if known <= branch)]


def of_cuda(version: str) -> Bounds:
    """The bounds of a CUDA toolkit alone: what its own libraries have code for."""
    row = _cuda(version)
    return Bounds(
        name=f"CUDA {version}",
        gpus_minimum_capability=row["capability_min"],
        gpus_maximum_capability=row["capability_max"],
        gpus_minimum_runtime=_floor(row),
        strict_runtime=row["version"],
        reasons=(
            f"runtime >= {_floor(row)}: CUDA {row['version']} runs with driver {row['min_driver_linux']} and newer",
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
    sure = least_sure(row["confidence"], cuda["confidence"])
    if below and list(floors.values()).count(least) == 1 and below["capability_min"] == least:
        sure = least_sure(sure, below["confidence"])  # the floor is cuDNN's alone
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
            *_only_by_floor(least, _floor(cuda)),
            f"capability <= {most}: the newest code in the wheel is for {highest}, and runs on its own major alone",
        ),
        warnings=_traps(row, cuda, highest, open_cudnn),
        sources=tuple(dict.fromkeys(sources)),
        confidence=sure,
    )
    return limited(known, row)


def _only_by_floor(least: str, floor: str) -> tuple[str, ...]:
    """Rule 4, where the data has a GPU for it: one too old that passes the runtime floor with its last driver."""
    old = [row for row in data()["gpus"] if "last_driver" in row and number(row["capability"]) < number(least)]
    old = [row for row in old if of_driver(row["last_driver"]) >= runtime(floor)]
    if not old:
        return ()
    gpu = max(old, key=lambda row: number(row["capability"]))
    what = f"a {gpu['model']} with driver {gpu['last_driver']} passes runtime >= {floor}, and this has no code for it"
    return (f"both bounds: {what}",)


def limited(known: Bounds, row: Mapping[str, Any]) -> Bounds:
    """With the row's own limits, which are known and do not follow from the rules; they only tighten."""
    limits = (("limit_min", "gpus_minimum_capability", max, ">="), ("limit_max", "gpus_maximum_capability", min, "<="))
    for key, command, tightest, sign in limits:
        if key in row and tightest(row[key], getattr(known, command), key=number) != getattr(known, command):
            reason = f"capability {sign} {row[key]}: {row['limit_reason']}"
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
    wanted = release("CUDA", version)[:2]
    for row in data()["cuda"]:
        if number(row["version"]) == wanted:
            found: Mapping[str, Any] = row
            return found
    raise _no_version("CUDA", version, [row["version"] for row in data()["cuda"]])


def _cudnn_floor(cudnn: str, cuda: str) -> Mapping[str, Any] | None:
    """The row of [[cudnn]] that holds for a version, built for a CUDA."""
    newest = release("cuDNN", cudnn or "0")
    rows = {(number(row["first"]), number(row["cuda"])): row for row in data()["cudnn"]}
    key = max((key for key in rows if key[0] <= newest and key[1] <= number(cuda)), default=None)
    return rows[key] if key else None


def _last_of_major(capability: str) -> str:
    """The highest capability of the same major among the GPUs that the data knows: "8.0" -> "8.9"."""
    majors = {row["capability"] for row in data()["gpus"]} | {capability}
    return max((other for other in majors if number(other)[0] == number(capability)[0]), key=number)


def least_sure(*confidences: str) -> str:
    """The lowest of `high`, `medium` and `low`."""
    return min(confidences, key=_SURE.index)


def _no_version(field_name: str, version: str, known: Iterable[str]) -> ImageError:
    """The nearest is the newest that is not newer; of a bare major, its newest."""
    ordered = sorted(set(known), key=number)
    wanted = release(field_name, version)
    below = [one for one in ordered if number(one) <= (wanted if len(wanted) > 1 else (*wanted, 9999))]
    return _unknown(field_name, version, "no such version in the data", ordered, (below or ordered[:1])[-1])


def _unknown(field_name: str, value: str, what: str, known: list[str], near: str = "") -> ImageError:
    near = near or (*get_close_matches(value, known, n=1, cutoff=0.3), known[-1])[0]
    wanted = f"want one of {', '.join(known)}"
    return ImageError(wrong(field_name, value, what, wanted, f"Try {near}, or add a row: docs/compatibility.md"))
