"""What an image holds, read from its recipe or from the image itself, and what that needs of a GPU."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from submit import apptainer, gpus, image_bounds
from submit.compatibility import Bounds, least_sure, number, of_framework
from submit.errors import ImageError, KitError, wrong

FRAMEWORKS = ("tensorflow", "torch", "jax")
PACKAGES = (*FRAMEWORKS, "tensorflow-gpu", "tensorflow-cpu")
COMMANDS = ("gpus_minimum_capability", "gpus_maximum_capability", "gpus_minimum_runtime")
LABEL = "org.osgdl."  # templates/*/container.def
# run inside the image: names and versions of what Python has installed, as JSON
_LIST = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
)
# `<=` counts as `==`: pip takes the newest that is allowed
_PIN = re.compile(r"(?<![\w.-])([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([\w,-]+)\])?[<=]=([A-Za-z0-9.+!]+)")
# a framework that pip is told to install in whatever version it finds
_UNPINNED = re.compile(
    rf"\bpip3?\s+install\b.*?[\s'\"]((?:{'|'.join(FRAMEWORKS)})(?:\[[\w,-]+\])?)(?=[\s'\"<>~!]|$)", re.MULTILINE
)
_INDEX = re.compile(r"/whl/(cu1\d\d)\b")  # PyTorch's own index has a folder for each CUDA
_SAID = ("help", "labels", "test", "runscript", "startscript")  # sections that install nothing
NO_CUDA = "no CUDA libraries beside its TensorFlow: it computes on the CPU, or needs those of its base image"


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
    text = "\n".join(_installing(text))
    pinned = {name.lower().replace("_", "-"): version for name, _, version in _PIN.findall(text)}
    extras = " ".join(extras for _, extras, _ in _PIN.findall(text))
    newest = "and-cuda" in extras or bool(re.search(r"cuda1\d(?!_local)", extras))
    for name, build in (("torch", _INDEX.search(text)), ("jax", re.search(r"(cuda1\d)", extras))):
        if build and "+" not in pinned.get(name, "+"):
            pinned[name] += f"+{build.group(1)}"
    bases = re.findall(r"(?mi)^from[ \t]*:[ \t]*(\S+)", text)
    if any(name in pinned for name in (*PACKAGES, gpus.PYOPENCL)):
        found = _of_packages(str(path), pinned, newest)
        own = newest or any(name.startswith("nvidia-") for name in pinned) or any("cuda" in base for base in bases)
        bare = "tensorflow" in pinned and not own and "tensorflow/" not in "".join(bases)
        return replace(found, warnings=(*found.warnings, NO_CUDA)) if bare else found
    open_ended = _UNPINNED.search(text)
    if open_ended:
        name = open_ended.group(1)
        what, fix = f"{name} without a version", "Write NAME==VERSION, with a version of docs/compatibility.md"
        wanted = "want it pinned: what pip finds on the day of the build decides which GPUs it runs on"
        raise ImageError(wrong("image", str(path), what, wanted, fix))
    if bases:  # the last: earlier ones are stages that it copies from
        known = image_bounds.bounds(bases[-1])
        return replace(known, reasons=(f"{path} starts from {bases[-1]}", *known.reasons))
    raise _nothing(str(path))


def _installing(text: str) -> Iterator[str]:
    """The lines of a definition that decide what is in the image, continued lines as one: no comment, no help."""
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        header = re.match(r"%(\w+)", line)
        section = header.group(1).lower() if header else section
        if section not in _SAID and not line.lstrip().startswith("#"):
            yield line


def of_sif(path: Path) -> Bounds:
    """From what Python has installed in the image; a GPU framework without its CUDA libraries sees no GPU."""
    if not path.is_file():
        raise ImageError(wrong("image", str(path), "no such file", "want a .sif", f"See `ls {path.parent}`"))
    said = apptainer.output(["exec", path.name, "python3", "-c", _LIST], path.parent)
    try:
        packages: Mapping[str, str] = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise ImageError(f"{path}: its python3 lists no packages: {said[-200:]!r}; want an image with Python") from None
    if not any(name in packages for name in (*PACKAGES, gpus.PYOPENCL)):
        return _of_labels(path)
    plugin = re.search(r"jax-(cuda1\d)-plugin", " ".join(packages).replace("_", "-"))
    built = {"jax": f"{packages['jax']}+{plugin.group(1)}"} if plugin and "jax" in packages else {}
    found = _of_packages(str(path), {**packages, **built}, newest=False)
    if "tensorflow" in packages and not any("cudnn" in name for name in packages):
        found = replace(found, warnings=(*found.warnings, NO_CUDA))
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
    for framework in PACKAGES:
        if framework in packages:
            version, _, variant = packages[framework].partition("+")
            known.append(of_framework(framework, version, variant or None, cudnn, newest_cudnn=newest))
    if not known and gpus.PYOPENCL in packages:  # beside a framework it needs nothing more
        known = [gpus.of_opencl(gpus.OPENCL_VERSION)]
    if not known:
        raise _nothing(name)
    using = [one for one in known if one.usable] or known[:1]  # one without CUDA asks nothing of a GPU
    return replace(using[0], name=f"{name} ({using[0].name})") if len(using) == 1 else _all_of(name, using)


def _all_of(name: str, known: list[Bounds]) -> Bounds:
    def each(command: str) -> list[str]:
        return [getattr(one, command) for one in known]

    least = max(each("gpus_minimum_capability"), key=number)
    most = min(each("gpus_maximum_capability"), key=number)
    traps = [trap for one in known for trap in one.warnings]
    if len({floor.split(".")[0] for floor in each("gpus_minimum_runtime")}) > 1:
        traps.append(
            "two CUDA majors in one image: the higher one counts, and their libraries can get in each other's way"
        )
    if number(least) > number(most):
        traps.append(f"no GPU runs both: one begins at capability {least}, the other ends at {most}")
    return replace(
        known[0],
        name=f"{name} ({', '.join(one.name for one in known)})",
        gpus_minimum_capability=least,
        gpus_maximum_capability=most,
        gpus_minimum_runtime=max(each("gpus_minimum_runtime"), key=number),
        strict_runtime=max(each("strict_runtime"), key=number),
        usable=number(least) <= number(most),
        glibc=max(each("glibc"), key=lambda wanted: number(wanted.split()[0]) if wanted else ()),
        confidence=least_sure(*each("confidence")),
        reasons=tuple(reason for one in known for reason in one.reasons),
        warnings=tuple(dict.fromkeys(traps)),
        sources=tuple(dict.fromkeys(source for one in known for source in one.sources)),
    )


def _nothing(name: str) -> KitError:
    return ImageError(
        wrong(
            "image",
            name,
            "neither TensorFlow, PyTorch, JAX nor pyopencl in it",
            "want one of them, with its version",
            "Say what it will hold: osgdl gpus tensorflow==2.21",
        )
    )
