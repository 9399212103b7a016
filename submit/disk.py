"""The disk that a job on staged data needs, added up from what is known of its parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from submit import gpus
from submit.errors import StageError
from submit.origin import bytes_words, ospool
from submit.runtime import network
from submit.runtime.exit_codes import Fault
from submit.runtime.manifest import Manifest
from submit.submission import Submission
from submit.units import mebibytes, size

GIB = 2**30
# A .sif lies there packed, and once more unpacked where a site cannot mount it
IMAGE_COPIES = 2
# An image whose size nobody can see from here: what the templates add for one
UNKNOWN_IMAGE = (gpus.DISK_WITH_IMAGE - gpus.DISK) * 2**20  # bytes
# The trainer's arrays hold the box around the brain: 1.9 to 2.7 times the brain's voxels for the four patients of BRATS
# 2015 that were measured; two bytes a modality, one for the classes
BOX = 3.0
# Where nothing is known of the data but its files: the same patients' arrays have 2.5 times the bytes of their .nii.gz
PREPARED = 2.5
IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".raw", ".zraw")
# Checkpoints and results without a model.json. The template's own network needs 0.1 GB of it
WORK = 2 * 10**9  # bytes
# The two newest checkpoints are kept while a third is written; then there are model.keras and best.keras
CHECKPOINTS, NETWORKS = 3, 2
SPARE = 1.1
# GPU pilots of the OSPool keep so much for each GPU (submit/gpus.py)
KEPT_PER_GPU = 5 * GIB


@dataclass(frozen=True)
class Disk:
    """Bytes of the parts; `image_known` is False where its size was guessed."""

    image: int
    image_known: bool
    objects: int
    unpacked: int
    prepared: int
    work: int

    @property
    def gib(self) -> int:
        """What to ask for, in whole GiB: HTCondor's GB."""
        parts = self.image + self.objects + self.unpacked + self.prepared + self.work
        return max(1, math.ceil(parts * SPARE / GIB))

    def __str__(self) -> str:
        parts = {"image": self.image, "shards": self.objects, "unpacked": self.unpacked}
        parts |= {"prepared": self.prepared, "checkpoints and results": self.work}
        return ", ".join(f"{name} {bytes_words(count)}" for name, count in parts.items() if count)


def needed(manifests: Sequence[Manifest], job: Submission, image_bytes: int | None = None) -> Disk:
    """What the job of a submit file needs for the largest of these manifests.

    Args:
        image_bytes: of the image's file, where somebody knows it.

    Raises:
        StageError: a model.json of the project's results is none.
    """
    model = max(job.folder.glob("results/*/model.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    image, known = of_image(job, image_bytes)
    parts = [
        Disk(image, known, held.bytes, held.unpacked_bytes, _prepared(held), _work(held, model)) for held in manifests
    ]
    return max(parts, key=lambda disk: disk.gib)


def request(disk: Disk, job: Submission) -> tuple[str | None, list[str]]:
    """The new request_disk of a submit file, None where it stays, and what its user should know.

    It is only raised: what somebody asked for may be for something that nobody here knows of.
    """
    asked, wanted, notes = job.raw("request_disk"), size(disk.gib * 1024), []
    if not disk.image_known:
        notes.append(_guessed(job))
    count = job.value("request_gpus")
    room = KEPT_PER_GPU * (int(count) if count.isdecimal() and int(count) else 1)
    if disk.gib * GIB > room:
        notes.append(
            f"the job needs {wanted} of disk ({disk}); GPU machines of the OSPool keep {room // GIB}GB for it, "
            "so it may wait longer"
        )
    if not asked:
        return wanted, notes
    try:
        there = mebibytes(asked)
    except ValueError:
        return None, [*notes, f"request_disk = {asked} is left as it is; the job needs {wanted}"]
    if there < disk.gib * 1024:
        return wanted, notes
    if there > disk.gib * 1024:
        notes.append(f"request_disk = {asked} is left as it is; {wanted} would do, and finds more machines")
    return None, notes


def with_image(job: Submission) -> tuple[str | None, str]:
    """The new request_disk of a submit file whose image is not on CVMFS, None where it stays; and what its user should
    know. It is only raised: to what the templates ask without an image, and the image.
    """
    asked, (image, known) = job.raw("request_disk"), of_image(job)
    wanted = gpus.DISK + math.ceil(image / GIB) * 1024
    parts = f"{size(gpus.DISK)} for data and results, the rest for the image"
    parts += ", packed and, where a site cannot mount it, unpacked" if known else f"; {_guessed(job)}"
    try:
        there = mebibytes(asked)
    except ValueError:
        return (
            None,
            f"the image lies on the job's disk: request_disk, now {asked or 'not set'}, of {size(wanted)} would do",
        )
    if there >= wanted:
        return None, ""
    return size(wanted), f"request_disk = {size(wanted)}, was {asked}: {parts}"


def _guessed(job: Submission) -> str:
    guess = size(UNKNOWN_IMAGE // 2**20)
    return f"the size of {job.image_reference} cannot be seen from here: {guess} of the disk are for it"


def of_image(job: Submission, image_bytes: int | None = None) -> tuple[int, bool]:
    """Bytes that the image takes, and whether they are known; `image_bytes`: of its file, where somebody knows it."""
    if job.image_command is None or (job.image and job.image.kind == "cvmfs"):
        return 0, True
    if image_bytes is not None:
        return IMAGE_COPIES * image_bytes, True
    path = job.folder / job.image_reference
    if job.image_reference.startswith("osdf:///ospool/"):
        path = ospool() / job.image_reference.removeprefix("osdf:///ospool/")
    try:
        return IMAGE_COPIES * path.stat().st_size, True
    except OSError:
        return UNKNOWN_IMAGE, False


def _patients(held: Manifest) -> Iterator[tuple[int, int]]:
    """Voxels of each patient that travels, and of the box around its brain, at most."""
    dataset = held.dataset or {"patients": {}}
    there = {name for shard in held.shards for name in shard.patients} or set(dataset["patients"])
    for name, facts in dataset["patients"].items():
        if name in there:
            voxels = math.prod(facts["shape"])
            yield voxels, min(voxels, math.ceil(BOX * facts["brain_voxels"]))


def _prepared(held: Manifest) -> int:
    """Bytes of the arrays that the trainer will make of the files."""
    if held.kind == "prepared":
        return 0
    if held.dataset:
        each = 2 * len(held.dataset["modalities"]) + 1
        return sum(each * box for _, box in _patients(held))
    files = [(path, file) for shard in held.shards for path, file in shard.files.items()]
    return math.ceil(PREPARED * sum(file.bytes for path, file in files if path.lower().endswith(IMAGES)))


def _work(held: Manifest, model: Path | None) -> int:
    """Bytes of checkpoints and results: a byte for each voxel predicted, at most."""
    if model is None:
        return WORK
    try:
        net = network.read(model)
    except Fault as fault:
        raise StageError(str(fault)) from None
    weights = 4 * net.parameters
    predictions = sum(voxels for voxels, _ in _patients(held))
    return weights * (CHECKPOINTS * (1 + net.optimizer_slots) + NETWORKS) + predictions + WORK // 10
