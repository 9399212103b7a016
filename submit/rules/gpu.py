"""The GPU request: bounds that do nothing, that exclude what was meant, or that the image does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from submit import gpu_memory, image_bounds
from submit.compatibility import Bounds, data
from submit.description import Command
from submit.errors import KitError
from submit.findings import Hit, looks_for
from submit.submission import Submission
from submit.units import mebibytes

# the property of a GPU that each command bounds
PROPERTIES = {
    "gpus_minimum_capability": "Capability",
    "gpus_maximum_capability": "Capability",
    "gpus_minimum_memory": "GlobalMemoryMb",
    "gpus_minimum_runtime": "MaxSupportedVersion",
}
_LEGACY = re.compile(
    r"\bCUDA(?:Capability|DriverVersion|GlobalMemoryMb|DeviceName|RuntimeVersion|MaxSupportedVersion)\b"
)
_SLOT = re.compile(r"\bGPUs_(?:Capability|GlobalMemoryMb|DriverVersion|MaxSupportedVersion)\s*[<>=]")
_OWN = re.compile(r"(?<![\w.])(?:TARGET\.)?(Capability|GlobalMemoryMb|MaxSupportedVersion|DriverVersion|DeviceName)\b")
# above what any card has (2026: 288 GB, capability 12.1)
MOST_MEMORY, MOST_CAPABILITY = 300 * 1024, 20.0
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def number(text: str) -> float | None:
    """A plain number, else None."""
    try:
        return float(text)
    except ValueError:
        return None


def names(expression: str, attribute: str) -> bool:
    """Whether an expression asks for an attribute."""
    return re.search(rf"\b{attribute}\b", expression, re.IGNORECASE) is not None


def expressions(job: Submission, *wanted: str) -> Iterator[tuple[Command, str]]:
    """These commands where the file has them, and what they hold."""
    for name in wanted:
        command = job.command(name)
        if command:
            yield command, job.value(name)


@cache
def known(reference: str) -> Bounds | None:
    """What the kit's data says of an image; None where it says nothing."""
    try:
        return image_bounds.bounds(reference)
    except (KitError, ValueError, KeyError):
        return None


def bounds(job: Submission) -> Bounds | None:
    """What the job's image needs of a GPU; None without a GPU, or where nothing is known of the image."""
    found = known(job.image_reference) if job.asks_gpu and job.image_reference else None
    return found if found and found.usable else None


@looks_for("OSG201", Submission)
def bounds_without_request(job: Submission) -> Iterator[Hit]:
    command = job.command(*PROPERTIES, "require_gpus")
    if command and not job.asks_gpu and job.lacks("request_gpus"):
        request = job.command("request_gpus") or command
        edits = job.edit(request, "1") if job.has("request_gpus") else job.addition("request_gpus", "1")
        yield Hit(command.first, f"{command.name} does nothing without request_gpus", edits=edits)


@looks_for("OSG202", Submission)
def silenced_bound(job: Submission) -> Iterator[Hit]:
    expression = job.value("require_gpus")
    for name, attribute in PROPERTIES.items():
        if job.has(name) and names(expression, attribute):
            yield Hit(
                job.line(name),
                f"{name} does nothing: require_gpus names {attribute}, which silences it",
                f"Keep one of the two, or write both bounds into require_gpus, in terms of {attribute}.",
            )


@looks_for("OSG203", Submission)
def legacy_attribute(job: Submission) -> Iterator[Hit]:
    for command, value in expressions(job, "requirements", "require_gpus", "rank"):
        found = _LEGACY.search(value)
        if found:
            yield Hit(command.first, f"{command.name}: no machine advertises {found.group()} any more")


@looks_for("OSG204", Submission)
def slot_attribute(job: Submission) -> Iterator[Hit]:
    value = job.value("requirements")
    found = _SLOT.search(value)
    if found and job.asks_gpu:
        name = found.group().rstrip("<>= ")
        yield Hit(job.line("requirements"), f"requirements: {name} is the slot's copy, not each GPU's own property")


@looks_for("OSG205", Submission)
def marketed_memory(job: Submission) -> Iterator[Hit]:
    command, value = job.command("gpus_minimum_memory"), job.value("gpus_minimum_memory")
    asked = 0
    if command and job.asks_gpu:
        asked = int(value) if value.isdigit() else _size(value)
    elif found := re.search(r"\bGlobalMemoryMb\s*>=?\s*(\d+)", job.value("require_gpus"), re.IGNORECASE):
        command, asked = job.command("require_gpus"), int(found.group(1))
    # a number on a box, and a card sold as that which shows less
    gigabytes = asked // 1024 if asked % 1024 == 0 else 0
    sold = [
        card for card in data()["gpus"] if card["memory_gb"] == gigabytes and card.get("advertised_mb", asked) < asked
    ]
    if command and sold:
        fit = gpu_memory.honest(f"{gigabytes}GB")
        yield Hit(
            command.first,
            f"{command.name}: {gigabytes} GB leaves out the {sold[0]['model']}, which advertises "
            f"{sold[0]['advertised_mb']} MB",
            f"Ask for {fit} to take cards sold as {gigabytes} GB.",
        )


def _size(value: str) -> int:
    try:
        return mebibytes(value)
    except ValueError:
        return 0


@looks_for("OSG206", Submission)
def driver_number(job: Submission) -> Iterator[Hit]:
    for command, value in expressions(job, "require_gpus", "requirements"):
        for name, bound in re.findall(r"\b(?:GPUs_)?(DriverVersion|MaxSupportedVersion)\s*>=?\s*([\d.]+)", value):
            wrong = (
                float(bound.strip(".").split(".")[0]) >= 100
                if name == "DriverVersion"
                else float(bound.strip(".").split(".")[0]) < 1000
            )
            if wrong:
                yield Hit(command.first, f"{command.name}: {name} >= {bound} is not what {name} counts in")
        if re.search(r"\b(?:GPUs_)?NvidiaDriver\s*[<>]=?\s*[\"\d]", value):
            yield Hit(command.first, f"{command.name}: NvidiaDriver is text, which compares letter by letter")
    runtime = number(job.value("gpus_minimum_runtime"))
    if runtime is not None and 30 <= runtime < 1000:
        yield Hit(
            job.line("gpus_minimum_runtime"),
            f"gpus_minimum_runtime = {job.value('gpus_minimum_runtime')} is a driver's number: there is no such CUDA",
        )


@looks_for("OSG207", Submission)
def cuda_version(job: Submission) -> Iterator[Hit]:
    command = job.command("cuda_version")
    if command:
        edits = job.edit(command, command.value, "gpus_minimum_runtime") if not job.has("gpus_minimum_runtime") else ()
        yield Hit(command.first, "cuda_version asks for an attribute that no machine advertises any more", edits=edits)


def _missing(job: Submission, name: str, asked: bool, why: str) -> Iterator[Hit]:
    """The bound `name` that the image needs and nothing asks for; `why` takes its value."""
    value = getattr(bounds(job), name, "")
    if value and job.lacks(name) and not asked:
        mend = f"Add `{name} = {value}`."
        yield Hit(job.line("request_gpus"), why.format(value), mend, job.addition(name, value))


@looks_for("OSG208", Submission)
def no_runtime(job: Submission) -> Iterator[Hit]:
    expression = job.value("require_gpus")
    asked = any(names(expression, name) for name in ("MaxSupportedVersion", "DriverVersion", "NvidiaDriver"))
    yield from _missing(
        job, "gpus_minimum_runtime", asked, "the image needs a driver for CUDA {}, and none is asked for"
    )


@looks_for("OSG209", Submission)
def no_floor(job: Submission) -> Iterator[Hit]:
    asked = names(job.value("require_gpus"), "Capability") or "Capability" in job.value("requirements")
    why = "the image runs on capability {} or newer, and none is asked for"
    yield from _missing(job, "gpus_minimum_capability", asked, why)


@looks_for("OSG210", Submission)
def strict_bound(job: Submission) -> Iterator[Hit]:
    for command, value in expressions(job, "require_gpus"):
        found = re.search(r"\bCapability\s*>\s*(\d+\.\d|\d+)\b(?!\.)", value)
        if found:
            yield Hit(
                command.first,
                f"{command.name}: `{found.group()}` leaves out the cards of capability {found.group(1)} themselves",
                f"Write `Capability >= {found.group(1)}`, or `gpus_minimum_capability = {found.group(1)}`.",
            )


@looks_for("OSG211", Submission)
def empty_range(job: Submission) -> Iterator[Hit]:
    low, high = number(job.value("gpus_minimum_capability")), number(job.value("gpus_maximum_capability"))
    if low is not None and high is not None and low > high:
        yield Hit(job.line("gpus_maximum_capability"), f"no GPU has a capability from {low} up to {high}")


@looks_for("OSG212", Submission)
def visible_devices(job: Submission) -> Iterator[Hit]:
    for name in _VISIBLE:
        if name in job.environment:
            yield Hit(job.line("environment", "env"), f"environment: {name} is HTCondor's to set")


@looks_for("OSG213", Submission)
def image_needs_more(job: Submission) -> Iterator[Hit]:
    needed = bounds(job)
    for name in ("gpus_minimum_capability", "gpus_minimum_runtime"):
        least = number(getattr(needed, name, None) or "")
        asked = _runtime(number(job.value(name))) if job.has(name) else None
        if least is not None and asked is not None and asked < least:
            yield Hit(
                job.line(name),
                f"{name} = {job.value(name)}: the image needs {getattr(needed, name)}",
                f"Write `{name} = {getattr(needed, name)}`.",
                job.edit(job.command(name), getattr(needed, name)),
            )


def _runtime(asked: float | None) -> float | None:
    """`12040`, which HTCondor takes too, -> 12.4."""
    return asked // 1000 + asked % 1000 / 100 if asked is not None and asked >= 1000 else asked


@looks_for("OSG214", Submission)
def no_ceiling(job: Submission) -> Iterator[Hit]:
    needed, name = bounds(job), "gpus_maximum_capability"
    most = number(getattr(needed, name, None) or "")
    if most is None or names(job.value("require_gpus"), "Capability"):
        return
    asked = number(job.value(name))
    if job.lacks(name) or (asked is not None and asked > most):
        command = job.command(name)
        yield Hit(
            job.line(name, "gpus_minimum_capability", "request_gpus"),
            f"the image has no code for GPUs newer than capability {getattr(needed, name)}, and the job may get one",
            f"Write `{name} = {getattr(needed, name)}`.",
            job.edit(command, getattr(needed, name)) if command else job.addition(name, getattr(needed, name)),
        )


@looks_for("OSG215", Submission)
def own_property(job: Submission) -> Iterator[Hit]:
    found = _OWN.search(re.sub(r'"[^"]*"', "", job.value("requirements")))
    if found and job.asks_gpu:
        yield Hit(job.line("requirements"), f"requirements: {found.group(1)} is a GPU's property, which no slot has")


@looks_for("OSG216", Submission)
def slot_property(job: Submission) -> Iterator[Hit]:
    command = job.command("require_gpus")
    found = re.search(r"\bGPUs_(\w+)", job.value("require_gpus"))
    if command and found:
        edits = job.edit(command, command.value.replace("GPUs_", "")) if found.group() in command.value else ()
        yield Hit(command.first, f"require_gpus: {found.group()} is a slot's attribute, which no GPU has", edits=edits)


@looks_for("OSG217", Submission)
def no_such_gpu(job: Submission) -> Iterator[Hit]:
    for command, value in expressions(job, "gpus_minimum_capability", "gpus_maximum_capability"):
        asked = number(value)
        if asked is not None and asked >= MOST_CAPABILITY:
            meant = f"{asked / 10:.1f}" if 30 <= asked < 130 and asked.is_integer() else ""
            fix = f"Write `{command.name} = {meant}`." if meant else ""
            edits = job.edit(command, meant) if meant else ()
            yield Hit(command.first, f"{command.name} = {value}: capabilities are numbers such as 8.6", fix, edits)
    if _size(job.value("gpus_minimum_memory")) > MOST_MEMORY:
        yield Hit(
            job.line("gpus_minimum_memory"), f"gpus_minimum_memory = {job.value('gpus_minimum_memory')}: no GPU has it"
        )
