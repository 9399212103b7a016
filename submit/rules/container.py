"""The container: which image counts, whether it reaches the job, and what it sees of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator

from submit import images
from submit.findings import Edit, Hit, looks_for
from submit.images import CONTAINER_IMAGE, LARGEST_SIF_BESIDE, SINGULARITY_IMAGE
from submit.match import split
from submit.origin import lacks
from submit.rules.gpu import known, names
from submit.submission import Submission
from submit.transfers import read_script

# what is wrong with images that are still written in tutorials; the reference as a pattern
GONE = {
    r".*\bhtc/tensorflow:(?!2\.15\b)[\w.-]+": "htc/tensorflow exists as 2.15 alone",
    r".*\bopensciencegrid/(?:tensorflow(?:-gpu)?|osgvo-torch|osgvo-el7-cuda10)\b.*": (
        "an image of 2020 with CUDA 10, which no GPU from the A100 on can use"
    ),
    r".*\brynge/osg-tensorflow-gpu\b.*": "an image that is no longer kept up",
}
_REJECTED = re.compile(r"(instance|library|shub)://")
_STRIPPED = re.compile(r"(?:APPTAINER|SINGULARITY)_(?!DOCKER_(?:USERNAME|PASSWORD)$)\w+")
_NOT_A_GUARD = {"True"}
_OPENCL = re.compile(r"\b(?:pyopencl|ocl-icd[\w-]*|opencl-icd-loader|libOpenCL[\w.]*)\b")
_DRIVER_FILE = re.compile(r"libnvidia-opencl|^from[ \t]*:[ \t]*\S*nvidia/opencl", re.MULTILINE | re.IGNORECASE)
_ICD_LISTS = ("OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH")


def guards(job: Submission) -> list[str]:
    """The conditions that this image needs in `requirements` and that are not there."""
    if job.image is None or job.image_command is None or job.image.kind == "sif":
        return []
    syntax = SINGULARITY_IMAGE if job.image_command.name.startswith("+") else CONTAINER_IMAGE
    asked = job.value("requirements")
    needed = set(split(images.lines(job.image, syntax).guard)) - _NOT_A_GUARD
    return sorted((clause for clause in needed if not names(asked, clause.split()[0])), reverse=True)


def guarded(job: Submission) -> tuple[Edit, ...]:
    """The edit that adds all of them."""
    clauses = " && ".join(f"({clause})" for clause in guards(job))
    command = job.command("requirements")
    if not command:
        return job.addition("requirements", clauses)
    if re.search(r"\s#|OSGVO_OS_|[“”]", command.value):
        return ()  # another mend of this line comes first
    plain = "||" not in command.value and "?" not in command.value.replace("=?=", "")
    return job.edit(command, f"{command.value if plain else f'({command.value})'} && {clauses}")


@looks_for("OSG301", Submission)
def two_images(job: Submission) -> Iterator[Hit]:
    legacy, image = job.command(SINGULARITY_IMAGE), job.command(CONTAINER_IMAGE)
    if legacy and image:
        edits = job.edit(legacy, None)
        yield Hit(legacy.first, f"{SINGULARITY_IMAGE} does nothing beside {CONTAINER_IMAGE}", edits=edits)


@looks_for("OSG302", Submission)
def unquoted_image(job: Submission) -> Iterator[Hit]:
    command, value = job.command(SINGULARITY_IMAGE), job.value(SINGULARITY_IMAGE)
    if command and re.match(r"/|[a-z]+://|[\w.-]+\.sif$", value):
        edits = job.edit(command, f'"{command.value}"')
        yield Hit(command.first, f"{SINGULARITY_IMAGE} = {value} is no text: it lacks quotes", edits=edits)


@looks_for("OSG303", Submission)
def quoted_image(job: Submission) -> Iterator[Hit]:
    command = job.command(CONTAINER_IMAGE)
    if command and command.value[:1] in ("'", '"'):
        edits = job.edit(command, command.value.strip("\"'"))
        yield Hit(command.first, f"{CONTAINER_IMAGE}: the quotes become part of the name", edits=edits)


@looks_for("OSG304", Submission)
def runs_bare(job: Submission) -> Iterator[Hit]:
    if any("HAS_SINGULARITY" in clause for clause in guards(job)):
        yield Hit(
            job.line(SINGULARITY_IMAGE),
            f"{SINGULARITY_IMAGE}: on a machine without Apptainer the job runs outside the image",
            edits=guarded(job),
        )


@looks_for("OSG305", Submission)
def no_cvmfs(job: Submission) -> Iterator[Hit]:
    for clause in guards(job):
        if "HAS_CVMFS" in clause and job.image_command:
            yield Hit(
                job.image_command.first,
                f"{job.image_command.name}: the job may land where {job.image_reference.split('/')[2]} is missing",
                f"Add ({clause}) to requirements.",
                guarded(job),
            )


@looks_for("OSG306", Submission)
def sent_twice(job: Submission) -> Iterator[Hit]:
    reference = job.value(CONTAINER_IMAGE)
    command = job.command("transfer_input_files")
    if command and reference.endswith(".sif") and reference in job.entries("transfer_input_files"):
        others = [entry.strip() for entry in command.value.split(",") if entry.strip() != reference]
        edits = job.edit(command, ", ".join(others) or None)
        yield Hit(command.first, f"transfer_input_files: {CONTAINER_IMAGE} sends {reference} already", edits=edits)


@looks_for("OSG307", Submission)
def large_image(job: Submission) -> Iterator[Hit]:
    if job.image and job.image.kind == "sif" and not job.has("initialdir"):
        file = job.folder / job.image.reference
        if file.is_file() and file.stat().st_size > LARGEST_SIF_BESIDE:
            size = file.stat().st_size / 1e9
            yield Hit(job.line(CONTAINER_IMAGE), f"{job.image.reference}: {size:.1f} GB leave the access point per job")


@looks_for("OSG308", Submission)
def missing_image(job: Submission) -> Iterator[Hit]:
    sent = job.flag("transfer_container", True) and not job.has("initialdir") and job.has(CONTAINER_IMAGE)
    if job.image and job.image.kind == "sif" and sent and not (job.folder / job.image.reference).exists():
        yield Hit(job.line(CONTAINER_IMAGE), f"{CONTAINER_IMAGE}: there is no file {job.image.reference}")
    elif job.image and job.image_command and lacks(job.image_reference):
        yield Hit(job.image_command.first, f"{job.image_command.name}: {job.image_reference} is not in its folder")


@looks_for("OSG309", Submission)
def two_slashes(job: Submission) -> Iterator[Hit]:
    command = job.image_command
    if command and re.match(r"osdf://?[^/]", job.image_reference):
        mended = re.sub(r"osdf://?(?!/)", "osdf:///", command.value, count=1)
        yield Hit(
            command.first, f"{command.name}: {job.image_reference} takes its first folder for a host",
            edits=job.edit(command, mended),
        )  # fmt: skip


@looks_for("OSG310", Submission)
def unversioned(job: Submission) -> Iterator[Hit]:
    name = job.image_reference.rsplit("/", 1)[-1]
    if job.image and job.image.kind == "osdf" and not re.search(r"\d", name.removesuffix(".sif")):
        yield Hit(
            job.image_command.first if job.image_command else 1, f"{name} says no version: caches keep the first one"
        )


@looks_for("OSG311", Submission)
def moving_tag(job: Submission) -> Iterator[Hit]:
    if job.image is None or job.image.kind not in ("cvmfs", "docker") or not job.image_command:
        return
    name = job.image_reference.removeprefix("docker://").rsplit("/", 1)[-1]
    if name.endswith(":latest") or (job.image.kind == "docker" and ":" not in name and "@" not in name):
        yield Hit(job.image_command.first, f"{job.image_reference} is another image every few weeks")


@looks_for("OSG312", Submission)
def gone(job: Submission) -> Iterator[Hit]:
    for pattern, fault in GONE.items():
        if job.image_command and re.fullmatch(pattern, job.image_reference):
            yield Hit(job.image_command.first, f"{job.image_reference}: {fault}")


@looks_for("OSG313", Submission)
def rejected(job: Submission) -> Iterator[Hit]:
    found = _REJECTED.match(job.image_reference)
    if found and job.image_command:
        yield Hit(job.image_command.first, f"{job.image_command.name}: HTCondor takes no {found.group(1)}:// image")


@looks_for("OSG314", Submission)
def blind(job: Submission) -> Iterator[Hit]:
    image = known(job.image_reference) if job.asks_gpu and job.image_command else None
    if image and not image.usable and job.image_command:
        yield Hit(
            job.image_command.first,
            f"{job.image_reference} sees no GPU",
            f"{image.warnings[0][:1].upper()}{image.warnings[0][1:]}." if image.warnings else "",
        )


@looks_for("OSG315", Submission)
def library_path(job: Submission) -> Iterator[Hit]:
    if job.image_command and "LD_LIBRARY_PATH" in job.environment:
        yield Hit(job.line("environment", "env"), "environment: LD_LIBRARY_PATH hides the driver's libraries")


@looks_for("OSG316", Submission)
def stripped(job: Submission) -> Iterator[Hit]:
    for name in job.environment:
        if _STRIPPED.fullmatch(name):
            yield Hit(job.line("environment", "env"), f"environment: {name} does not reach Apptainer")


@looks_for("OSG317", Submission)
def fixed_folder(job: Submission) -> Iterator[Hit]:
    for name in ("arguments", "environment"):
        if job.image_command and re.search(r"(?<![\w./])/srv(?![\w.-])", job.value(name)):
            yield Hit(job.line(name), f"{name}: /srv is not the job's folder everywhere")


@looks_for("OSG318", Submission)
def shell_variable(job: Submission) -> Iterator[Hit]:
    if job.image_command and re.search(r"^~|(?<!\$)\$\{?[A-Za-z_]\w*\}?(?!\w*\()", job.image_reference):
        yield Hit(job.image_command.first, f"{job.image_command.name}: no shell reads {job.image_reference}")


@looks_for("OSG319", Submission)
def no_sif(job: Submission) -> Iterator[Hit]:
    if job.image_command and re.fullmatch(r"osdf:///[\w./-]+(?<!\.sif)", job.image_reference):
        yield Hit(job.image_command.first, f"{job.image_reference} does not end in .sif: it is taken for a folder")


@looks_for("OSG320", Submission)
def no_driver_file(job: Submission) -> Iterator[Hit]:
    recipe = job.folder / "container.def"  # the project's own image, which this one may be
    text = read_script(recipe)
    lines = [line.split("#")[0] for line in text.split("\n")]
    at = next((number for number, line in enumerate(lines, 1) if _OPENCL.search(line)), 0)
    if at and job.asks_gpu and job.image_command and not _DRIVER_FILE.search("\n".join(lines)):
        yield Hit(at, "the image brings OpenCL and no file that names NVIDIA's driver", file=recipe)


@looks_for("OSG321", Submission)
def hidden_driver(job: Submission) -> Iterator[Hit]:
    wanted = {part.strip() for part in job.environment.get("NVIDIA_DRIVER_CAPABILITIES", "all").split(",")}
    lacking = [] if wanted & {"all", "compute"} else ["NVIDIA_DRIVER_CAPABILITIES"]
    for name in [*(name for name in _ICD_LISTS if name in job.environment), *lacking]:
        if job.image_command and job.asks_gpu:
            yield Hit(job.line("environment", "env"), f"environment: {name} hides OpenCL's driver")
