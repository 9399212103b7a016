"""From what a user names, a framework's version or an image's reference, to the GPUs and drivers it runs on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from submit import gpus, images
from submit.compatibility import Bounds, data, least_sure, limited, of_cuda, of_framework
from submit.errors import ImageError, wrong
from submit.images import CVMFS_REPOSITORY

_SPEC = re.compile(
    r"([A-Za-z][A-Za-z-]*?)(?:\[([\w,-]+)\])?(?:==|-| )"
    r"v?(\d{1,4}(?:\.\d{1,4}){0,3})(?:\.?(?:rc|post|a|b)\d+)?(?:\+([\w.]+))?",
    re.ASCII,
)
# extras that bring the newest cuDNN, where the wheel does not pin it
_OPEN = re.compile(r"and-cuda|cuda1\d(?!_local)")
_REGISTRY = re.compile(r"^(?:docker://|/cvmfs/unpacked\.cern\.ch/)?(?:(?:[\w-]+(?:\.[\w-]+)+|localhost)(?::\d+)?/)?")


def bounds(text: str) -> Bounds:
    """The bounds of `tensorflow==2.21`, `torch==2.8+cu126`, `jax[cuda13]==0.10`, or of an image's reference.

    Raises:
        ImageError: neither a framework's version nor an image that the data knows.
    """
    spec = _SPEC.fullmatch(text.strip())
    if spec and "/" not in text:
        name, extras, version, local = spec.groups()
        if name.lower() in (gpus.OPENCL, gpus.PYOPENCL):
            return gpus.of_opencl(version if name.lower() == gpus.OPENCL else gpus.OPENCL_VERSION)
        return of_framework(name, version, local or _variant(extras), newest_cudnn=bool(_OPEN.search(extras or "")))
    return of_reference(text)


def of_reference(reference: str) -> Bounds:
    """The bounds of an image, by its name and tag.

    Raises:
        ImageError: the data knows no such image.
    """
    name = _REGISTRY.sub("", reference.strip())
    if reference.startswith(CVMFS_REPOSITORY + "/"):
        name = reference[len(CVMFS_REPOSITORY) + 1 :]
    for offered in images.offered().values():
        if reference == offered.cvmfs_path:
            return replace(gpus.bounds(offered), name=reference)
    for row in data()["images"]:
        match = re.fullmatch(row["match"], name)
        if match:
            found = {key: value for key, value in match.groupdict().items() if value}
            return _of_image(row, name, found)
    raise ImageError(
        wrong(
            "image",
            reference,
            "nothing is known of this image",
            "want one of data/compatibility.toml, a container.def, a .sif, or FRAMEWORK==VERSION",
            "Say what it holds: osgdl gpus tensorflow==2.21",
        )
    )


def _of_image(row: Mapping[str, Any], name: str, found: Mapping[str, str]) -> Bounds:
    version = found.get("version") or row.get("version", "")
    cuda = found.get("cuda") or row.get("cuda", "")
    if row.get("runs", True) is False:
        known = Bounds(name, usable=False)
    elif row.get("framework"):
        variant = f"cu{''.join(cuda.split('.')[:2])}" if row["framework"] == "torch" and cuda else None
        known = of_framework(row["framework"], version, variant)
    else:
        known = of_cuda(cuda)
        if row.get("strict"):
            known = replace(known, gpus_minimum_runtime=known.strict_runtime)
    known = limited(known, row)
    warnings = (*known.warnings, *((row["warning"],) if row.get("warning") else ()))
    return replace(
        known,
        name=name,
        python=row.get("python", known.python),
        warnings=warnings,
        sources=tuple(dict.fromkeys((*known.sources, *row["sources"]))),
        confidence=least_sure(known.confidence, row["confidence"]),
    )


def _variant(extras: str | None) -> str | None:
    found = re.search(r"cuda1[123]", extras or "")
    return found.group() if found else None
