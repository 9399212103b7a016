"""What a job asks of its GPUs: the bounds an image needs, as HTCondor's submit commands.

Runs at render time too: standard library, Python 3.9.
"""

from __future__ import annotations

from dataclasses import dataclass

from submit import compatibility
from submit.compatibility import Bounds
from submit.errors import ImageError, wrong
from submit.images import OfferedImage
from submit.units import mebibytes, size

MOST_GPUS = 8  # in one slot: the largest hosts of the OSPool have eight
OPENCL = "opencl"  # of the images' frameworks, the one that brings no CUDA
PYOPENCL, OPENCL_VERSION = "pyopencl", "1.2"  # which version of OpenCL a kernel uses, a package does not say: the least
# A GPU pilot of the OSPool keeps this much for each of its GPUs free of CPU jobs (RoomForCPUOnlyJobs,
# flock.opensciencegrid.org, ospool-pilot/main/pilot/additional-htcondor-config): 8 cores, 32000 MB of memory, 5 GB of
# disk. Asking for less waits less.
CPUS_PER_GPU = 4
MEMORY_PER_GPU = 8 * 1024  # MiB
DISK = 10 * 1024  # MiB: data, its unpacked copy, checkpoints, results
DISK_WITH_IMAGE = 25 * 1024  # MiB: the image is on the disk too, and once more unpacked where a site cannot mount it


@dataclass(frozen=True)
class GpuRequest:
    """`request_gpus`, the bounds that go with it, and the host's resources for that many GPUs. Sizes as submit files
    write them.
    """

    request_gpus: int
    gpus_minimum_capability: str
    gpus_maximum_capability: str
    gpus_minimum_runtime: str
    gpus_minimum_memory: str
    request_cpus: int
    request_memory: str
    retry_request_memory: str
    request_disk: str


def bounds(image: OfferedImage) -> Bounds:
    """What an offered image needs: its framework's bounds with the cuDNN that its recipe pins."""
    framework, version = image.framework.rsplit("-", 1)
    if framework == OPENCL:
        return of_opencl(version)
    pinned = dict(package.split("==") for package in image.cuda_packages)
    return compatibility.of_framework(framework, version, image.variant or None, pinned["nvidia-cudnn-cu12"])


def of_opencl(version: str) -> Bounds:
    """What a program in OpenCL needs: a driver, which compiles for whatever GPU it drives.

    Raises:
        ImageError: no such version in the data.
    """
    rows = {row["version"]: row for row in compatibility.data()["opencl"]}
    if version not in rows:
        wanted = f"want one of {', '.join(rows)}"
        raise ImageError(wrong(OPENCL, version, "not in the data", wanted, "Name the version that the kernel uses"))
    row = rows[version]
    oldest = compatibility.of_cuda(row["cuda"])
    return Bounds(
        name=f"OpenCL {version}",
        gpus_minimum_capability=oldest.gpus_minimum_capability,
        gpus_minimum_runtime=oldest.gpus_minimum_runtime,
        reasons=(
            f"runtime >= {oldest.gpus_minimum_runtime}: NVIDIA's drivers of that CUDA and newer have OpenCL {version}, "
            "and other makers' GPUs, for which the image has no driver's file, advertise no such number",
            f"capability >= {oldest.gpus_minimum_capability}: what these drivers run",
            "no highest capability: the driver compiles the kernel for the GPU that it drives",
        ),
        sources=tuple(row["sources"]),
        confidence=row["confidence"],
    )


def request(image: OfferedImage, gpus: int, gpu_memory: str, image_on_disk: bool) -> GpuRequest:
    """The request for `gpus` GPUs of at least `gpu_memory` each that `image` runs on.

    Args:
        image_on_disk: the image is copied to the job's machine, as everything but a CVMFS path is.

    Raises:
        ValueError: `gpu_memory` is not a size (submit.units).
    """
    memory = MEMORY_PER_GPU * gpus
    needs = bounds(image)
    return GpuRequest(
        request_gpus=gpus,
        gpus_minimum_capability=needs.gpus_minimum_capability,
        gpus_maximum_capability=needs.gpus_maximum_capability,
        gpus_minimum_runtime=needs.gpus_minimum_runtime,
        gpus_minimum_memory=size(mebibytes(gpu_memory)),
        request_cpus=CPUS_PER_GPU * gpus,
        request_memory=size(memory),
        retry_request_memory=size(2 * memory),
        request_disk=size(DISK_WITH_IMAGE if image_on_disk else DISK),
    )
