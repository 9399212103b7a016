from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from submit import data_json, gpus, images
from submit.errors import ImageError

REPO = Path(__file__).resolve().parents[2]
CVMFS = "/cvmfs/singularity.opensciencegrid.org/htc/tensorflow:2.15"
BOTH = "(HAS_SINGULARITY =?= True) && (HAS_CVMFS_singularity_opensciencegrid_org =?= True)"


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        (CVMFS, "cvmfs"),
        ("/cvmfs/unpacked.cern.ch/registry.hub.docker.com/a/b:c", "cvmfs"),
        ("unet.sif", "sif"),
        ("./images/unet-1.2_x.sif", "sif"),
        ("../unet.sif", "sif"),
        ("/home/jane/unet.sif", "sif"),
        ("osdf:///ospool/ap40/data/jane/unet-3f9a.sif", "osdf"),
        ("docker://tensorflow/tensorflow:2.21.0", "docker"),
        ("docker://localhost:5000/a@sha256:00ff", "docker"),
    ],
)
def test_a_reference_has_one_kind(reference: str, kind: str) -> None:
    assert images.parse(reference) == images.Image(reference, kind)


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("", "not a reference to an image"),
        ("tensorflow", "not a reference to an image"),
        ("osdf://ospool/ap40/data/jane/x.sif", "osdf: needs three slashes"),
        ("osdf:///ospool/ap40/data/jane/x.tar", "not a .sif file"),
        ("https://example.org/x.sif", "a kind of reference that OSPool jobs cannot rely on"),
        ("instance://x", "a kind of reference that OSPool jobs cannot rely on"),
        ("/cvmfs/singularity.opensciencegrid.org/../x", "not a reference to an image"),
        ("/cvmfs/singularity.opensciencegrid.org/", "not a reference to an image"),
        ("x.sif\nqueue", "not a reference to an image"),
        ("$(x).sif", "not a reference to an image"),
        ("a b.sif", "not a reference to an image"),
        ('x".sif', "not a reference to an image"),
        ("-x.sif", "not a reference to an image"),
        ("x" * 500 + ".sif", "504 characters"),
    ],
)
def test_what_is_no_image_is_refused_with_the_forms_that_are(reference: str, what: str) -> None:
    with pytest.raises(ImageError) as refused:
        images.parse(reference)
    message = str(refused.value)
    assert message.startswith("image=")
    assert f": {what}; want {images.CVMFS_REPOSITORY}/OWNER/NAME:TAG" in message
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize(
    ("reference", "syntax", "command", "value", "guard"),
    [
        (CVMFS, "automatic", "+SingularityImage", f'"{CVMFS}"', BOTH),
        (CVMFS, "+SingularityImage", "+SingularityImage", f'"{CVMFS}"', BOTH),
        (CVMFS, "container_image", "container_image", CVMFS, BOTH.split(" && ")[1]),
        ("x.sif", "automatic", "container_image", "x.sif", "True"),
        ("osdf:///a/x.sif", "automatic", "container_image", "osdf:///a/x.sif", "True"),
        ("osdf:///a/x.sif", "+SingularityImage", "+SingularityImage", '"osdf:///a/x.sif"', BOTH.split(" && ")[0]),
        ("docker://a/b", "automatic", "container_image", "docker://a/b", "True"),
    ],
)
def test_the_image_rule(reference: str, syntax: str, command: str, value: str, guard: str) -> None:
    assert images.lines(images.parse(reference), syntax) == images.ImageLines(command, value, guard)


def test_a_local_file_cannot_go_with_the_attribute_that_transfers_nothing() -> None:
    with pytest.raises(
        ImageError, match=r"^image_syntax='\+SingularityImage': .* does not send x.sif to the job; want"
    ):
        images.lines(images.parse("x.sif"), "+SingularityImage")


def test_a_mounted_cvmfs_must_have_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path

    def below(*parts: Any) -> Path:
        path = real(*parts)
        return real(tmp_path, *path.parts[1:]) if str(path).startswith("/cvmfs") else path

    monkeypatch.setattr(images, "Path", below)
    images.check_here(images.parse(CVMFS), tmp_path)  # not mounted here: nothing can be said
    (tmp_path / "cvmfs/singularity.opensciencegrid.org/htc").mkdir(parents=True)
    with pytest.raises(
        ImageError, match=r"^image='/cvmfs/.*': not in .*, which is mounted here; want an image that is"
    ):
        images.check_here(images.parse(CVMFS), tmp_path)
    (tmp_path / CVMFS[1:]).mkdir()
    images.check_here(images.parse(CVMFS), tmp_path)


def test_a_sif_must_be_there_and_small(tmp_path: Path) -> None:
    image = images.parse("x.sif")
    with pytest.raises(ImageError, match=r"^image='x.sif': no such file in .*; want a .sif that exists\. Build it"):
        images.check_here(image, tmp_path)
    with (tmp_path / "x.sif").open("wb") as file:
        file.truncate(images.LARGEST_SIF_BESIDE)
        images.check_here(image, tmp_path)
        file.truncate(2 * images.LARGEST_SIF_BESIDE)
    with pytest.raises(ImageError, match=r"2\.0 GB, which would travel .*; want at most 1 GB.*osgdl image push x\.sif"):
        images.check_here(image, tmp_path)


def test_the_json_is_the_toml() -> None:
    """Run `make data` after editing a .toml of submit/data."""
    for toml, written in data_json.WRITTEN.items():
        assert written.read_bytes() == data_json.as_json(toml), written.name


def test_every_package_is_pinned_and_cudnn_runs_before_turing() -> None:
    for image in images.offered().values():
        for package in (*image.packages, *image.cuda_packages):
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", package)
        if image.framework.startswith("opencl-"):  # which is the driver's
            assert image.packages[0].startswith("pyopencl==") and not image.cuda_packages
            continue
        assert image.packages[0].startswith(image.framework.replace("-", "=="))
        assert ("keras" in image.modules) == any(package.startswith("keras==3.") for package in image.packages)
        (cudnn,) = (package for package in image.cuda_packages if "cudnn" in package)
        version = tuple(map(int, cudnn.split("==")[1].split(".")))
        if float(gpus.bounds(image).gpus_minimum_capability) < 7.5:
            assert version[:3] <= (9, 10, 2), "cuDNN 9.11 and later has no code for GPUs before Turing"
