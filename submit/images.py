"""Container images: what a reference names, and the submit lines that use it.

    /cvmfs/REPOSITORY/...     a directory that every machine with that CVMFS repository mounted sees
    name.sif                  a file beside the submit file, up to 1 GB; HTCondor sends it with the job
    osdf:///....sif           a file on the OSDF, cached near the sites
    docker://...              pulled and converted on every machine: for a try, not for a run

Runs at render time too: standard library, Python 3.9.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submit.errors import ImageError, wrong

CVMFS_REPOSITORY = "/cvmfs/singularity.opensciencegrid.org"
SINGULARITY_IMAGE = "+SingularityImage"
CONTAINER_IMAGE = "container_image"
AUTOMATIC = "automatic"
SYNTAXES = (AUTOMATIC, SINGULARITY_IMAGE, CONTAINER_IMAGE)
# bytes; above, the access point's file transfer is the wrong road (OSPool guide, managing_data/overview)
LARGEST_SIF_BESIDE = 10**9

# one part of a path: nothing in it that a submit file, a list or a shell takes for its own
_PART = r"[A-Za-z0-9_][A-Za-z0-9._@+~=-]*"
_TAGGED = r"[A-Za-z0-9_][A-Za-z0-9._@+~=:-]*"
_KINDS = {
    "cvmfs": re.compile(rf"/cvmfs/[a-z0-9]+(?:\.[a-z0-9]+)+(?:/{_TAGGED})+"),
    "osdf": re.compile(rf"osdf://(?:/{_TAGGED})+\.sif"),
    "docker": re.compile(rf"docker://{_TAGGED}(?:/{_TAGGED})*"),
    "sif": re.compile(rf"(?:/|(?:\.\.?/)*){_PART}(?:/{_PART})*\.sif"),
}
_LONGEST = 400
_WANTED = (
    f"want {CVMFS_REPOSITORY}/OWNER/NAME:TAG, a name.sif beside the submit file, "
    "osdf:///ospool/AP/data/USER/name.sif or docker://OWNER/NAME:TAG"
)


@dataclass(frozen=True)
class Image:
    """A reference and its kind: `cvmfs`, `sif`, `osdf` or `docker`."""

    reference: str
    kind: str


@dataclass(frozen=True)
class ImageLines:
    """How a submit file names an image: one command, never both, and the clause of `requirements` that goes with it."""

    command: str
    value: str
    guard: str


@dataclass(frozen=True)
class OfferedImage:
    """A row of data/images.toml: an image whose recipe the templates write. The fields are described there."""

    framework: str
    variant: str
    name: str
    tag: str
    answers: Mapping[str, str]
    modules: tuple[str, ...]
    base: str
    packages: tuple[str, ...]
    cuda_note: str
    cuda_packages: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def cvmfs_path(self) -> str:
        """The name this image would have on CVMFS."""
        return f"{CVMFS_REPOSITORY}/osg-dl-kit/{self.name}:{self.tag}"


def offered() -> dict[str, OfferedImage]:
    """The rows of data/images.json by framework."""
    rows: list[dict[str, Any]] = json.loads(
        (Path(__file__).parent / "data" / "images.json").read_text(encoding="utf-8")
    )["images"]
    images = {}
    for row in rows:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
        }
        images[row["framework"]] = OfferedImage(**fields)
    return images


def answered(template: str) -> dict[str, OfferedImage]:
    """The images that a template offers, by the answer that means one, in the order they are offered."""
    rows = offered().values()
    return {image.answers[template]: image for image in rows if template in image.answers}


def parse(reference: str) -> Image:
    """The image that `reference` names.

    Raises:
        ImageError: it names none that an OSPool job can use.
    """
    if len(reference) <= _LONGEST:
        for kind, pattern in _KINDS.items():
            if pattern.fullmatch(reference):
                return Image(reference, kind)
    raise ImageError(wrong("image", reference, _fault(reference), _WANTED, "Write the image in one of these forms"))


def lines(image: Image, syntax: str = AUTOMATIC) -> ImageLines:
    """The submit command, its value and the guard for `image`.

    A CVMFS path gets `+SingularityImage` unless asked otherwise, everything else `container_image`. The guards,
    because:
    - with `+SingularityImage`, a machine without Apptainer runs the job bare, outside any container, and says nothing
      (HAS_SINGULARITY);
    - neither command checks that the CVMFS repository is mounted where the job lands (HAS_CVMFS_...);
    - `container_image` adds its own requirements (HasContainer, HasSIF ...), so the other kinds need no guard.
    `+SingularityImage` with an `osdf://` or `docker://` image is fetched by the pilot's prepare hook, which has 240 s
    for it.

    Raises:
        ImageError: a file beside the submit file with `+SingularityImage`: nothing would send it to the job.
    """
    command = syntax
    if syntax == AUTOMATIC:
        command = SINGULARITY_IMAGE if image.kind == "cvmfs" else CONTAINER_IMAGE
    if command == SINGULARITY_IMAGE and image.kind == "sif":
        raise ImageError(
            wrong(
                "image_syntax",
                syntax,
                f"{SINGULARITY_IMAGE} does not send {image.reference} to the job",
                f"want {CONTAINER_IMAGE} or {AUTOMATIC} for a .sif file",
                f"Choose image_syntax={AUTOMATIC}",
            )
        )
    clauses = ["(HAS_SINGULARITY =?= True)"] if command == SINGULARITY_IMAGE else []
    if image.kind == "cvmfs":
        repository = image.reference.split("/")[2]
        clauses.append(f"(HAS_CVMFS_{repository.replace('.', '_')} =?= True)")
    value = f'"{image.reference}"' if command == SINGULARITY_IMAGE else image.reference
    return ImageLines(command, value, " && ".join(clauses) or "True")


def check_here(image: Image, folder: Path) -> None:
    """Looks for `image` where it can be seen from here; `folder` is the submit file's.

    Raises:
        ImageError: CVMFS is mounted and the image is not in it, or a .sif is missing or too large to travel with
            every job.
    """
    if image.kind == "cvmfs":
        repository = Path("/".join(image.reference.split("/")[:3]))
        # CVMFS mounts on access: is_dir() mounts it where it can be had, and is False where it cannot
        if repository.is_dir() and not Path(image.reference).exists():
            raise ImageError(
                wrong(
                    "image",
                    image.reference,
                    f"not in {repository}, which is mounted here",
                    "want an image that is there",
                    f"See `ls {Path(image.reference).parent}`, or build your own and push it: README.md",
                )
            )
    if image.kind == "sif":
        file = folder / image.reference
        if not file.is_file():
            raise ImageError(
                wrong(
                    "image",
                    image.reference,
                    f"no such file in {folder}",
                    "want a .sif that exists",
                    f"Build it: `osgdl image build -o {image.reference}`",
                )
            )
        if file.stat().st_size > LARGEST_SIF_BESIDE:
            raise ImageError(
                wrong(
                    "image",
                    image.reference,
                    f"{file.stat().st_size / 1e9:.1f} GB, which would travel from the access point to every job",
                    "want at most 1 GB, or an osdf:// URL",
                    f"Push it, and use the URL this prints: `osgdl image push {image.reference}`",
                )
            )


def _fault(reference: str) -> str:
    """What is wrong with a reference that fits no kind."""
    if reference.startswith("osdf://") and not reference.startswith("osdf:///"):
        return "osdf: needs three slashes"
    if reference.startswith("osdf:///") and not reference.endswith(".sif"):
        return "not a .sif file"
    if re.match(r"(instance|library|shub|oras|https?|pelican|stash)://", reference):
        return "a kind of reference that OSPool jobs cannot rely on"
    if len(reference) > _LONGEST:
        return f"{len(reference)} characters"
    return "not a reference to an image"
