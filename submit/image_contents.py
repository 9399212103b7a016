"""What an image holds, read from its recipe or from the image itself, and what that needs of a GPU."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from submit import apptainer, image_bounds
from submit.compatibility import Bounds, of_framework
from submit.errors import ImageError, KitError, wrong

FRAMEWORKS = ("tensorflow", "torch", "jax")
COMMANDS = ("gpus_minimum_capability", "gpus_maximum_capability", "gpus_minimum_runtime")
LABEL = "org.osgdl."  # templates/*/container.def
# run inside the image: names and versions of what Python has installed, as JSON
_LIST = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
)
_PIN = re.compile(r"(?<![\w.-])([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([\w,-]+)\])?==([A-Za-z0-9.+!]+)")


def bounds(text: str) -> Bounds:
    """The bounds of a `.def`, a `.sif`, an image's reference or `FRAMEWORK==VERSION`.

    Raises:
        ImageError: it is none of these, cannot be read, or holds nothing that the data knows.
        ToolMissing: a .sif, and no Apptainer to open it with.
    """
    path = Path(text)
    if text.endswith(".def") or path.name == "container.def":
        return of_definition(path)
    if text.endswith(".sif") and "://" not in text:
        return of_sif(path)
    return image_bounds.bounds(text)


def of_definition(path: Path) -> Bounds:
    """From the versions that a recipe pins, else from the image that it starts from."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        what = str(getattr(fault, "strerror", None) or "not text")
        raise ImageError(
            wrong("image", str(path), what, "want an Apptainer definition", f"See `ls {path.parent}`")
        ) from None
    pinned = {name.lower(): version for name, _, version in _PIN.findall(text)}
    newest = any("and-cuda" in extras for _, extras, _ in _PIN.findall(text))
    if any(name in pinned for name in FRAMEWORKS):
        return _of_packages(str(path), pinned, newest)
    base = re.search(r"(?mi)^from\s*:\s*(\S+)", text)
    if base:
        known = image_bounds.bounds(base.group(1))
        return replace(known, reasons=(f"{path} starts from {base.group(1)}", *known.reasons))
    raise _nothing(str(path))


def of_sif(path: Path) -> Bounds:
    """From what Python has installed in the image; a GPU framework without its CUDA libraries sees no GPU."""
    if not path.is_file():
        raise ImageError(wrong("image", str(path), "no such file", "want a .sif", f"See `ls {path.parent}`"))
    said = apptainer.output(["exec", path.name, "python3", "-c", _LIST], path.parent)
    try:
        packages: Mapping[str, str] = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise ImageError(f"{path}: its python3 lists no packages: {said[-200:]!r}; want an image with Python") from None
    held = {"tensorflow" if name == "tensorflow-cpu" else name: version for name, version in packages.items()}
    if not any(name in held for name in FRAMEWORKS):
        return _of_labels(path)
    found = _of_packages(str(path), held, newest=False)
    if "tensorflow-cpu" in packages or ("tensorflow" in packages and not any("cudnn" in name for name in packages)):
        why = "no CUDA libraries beside its TensorFlow: it computes on the CPU, or needs those of its base image"
        found = replace(found, usable="tensorflow-cpu" not in packages, warnings=(*found.warnings, why))
    return found


def _of_labels(path: Path) -> Bounds:
    """From the labels that a recipe of this kit writes, for an image whose framework is no Python package."""
    said = json.loads(apptainer.output(["inspect", "--json", "--labels", path.name], path.parent))
    held = said.get("data", {}).get("attributes", {}).get("labels") or {}
    labels = {command: str(held.get(LABEL + command.replace("_", "-"))) for command in COMMANDS}
    if not all(re.fullmatch(r"\d+\.\d+", value) for value in labels.values()):
        raise _nothing(str(path))
    reason = f"the image's own labels, {LABEL}gpus-..., say so"
    least, most, runtime = labels.values()
    return Bounds(str(path), least, most, runtime, reasons=(reason,), confidence="medium")


def _of_packages(name: str, packages: Mapping[str, str], newest: bool) -> Bounds:
    """The tightest bounds of the frameworks among the packages: an image must satisfy all it holds."""
    cudnn = next(
        (version for package, version in packages.items() if re.fullmatch(r"nvidia-cudnn-cu1\d", package)), None
    )
    known = []
    for framework in FRAMEWORKS:
        if framework in packages:
            version, _, variant = packages[framework].partition("+")
            known.append(of_framework(framework, version, variant or None, cudnn, newest_cudnn=newest))
    if not known:
        raise _nothing(name)
    return replace(known[0], name=f"{name} ({known[0].name})") if len(known) == 1 else _all_of(name, known)


def _all_of(name: str, known: list[Bounds]) -> Bounds:
    def each(command: str) -> list[str]:
        return [getattr(one, command) for one in known]

    return replace(
        known[0],
        name=f"{name} ({', '.join(one.name for one in known)})",
        gpus_minimum_capability=max(each("gpus_minimum_capability"), key=float),
        gpus_maximum_capability=min(each("gpus_maximum_capability"), key=float),
        gpus_minimum_runtime=max(each("gpus_minimum_runtime"), key=float),
        reasons=tuple(reason for one in known for reason in one.reasons),
        warnings=tuple(dict.fromkeys(trap for one in known for trap in one.warnings)),
        sources=tuple(dict.fromkeys(source for one in known for source in one.sources)),
    )


def _nothing(name: str) -> KitError:
    return ImageError(
        wrong(
            "image",
            name,
            "neither TensorFlow, PyTorch nor JAX in it",
            "want one of them, with its version",
            "Say what it will hold: osgdl gpus tensorflow==2.21",
        )
    )
