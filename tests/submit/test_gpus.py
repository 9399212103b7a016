from __future__ import annotations

import pytest

from submit import gpus, gpus_table, image_bounds, images
from submit.errors import ImageError

IMAGE = images.offered()["tensorflow-2.21"]


def test_the_request_has_the_bounds_of_the_image_and_a_unit_on_every_size() -> None:
    assert gpus.request(IMAGE, 2, "38 GB", image_on_disk=False) == gpus.GpuRequest(
        request_gpus=2,
        gpus_minimum_capability="6.0",
        gpus_maximum_capability="9.0",
        gpus_minimum_runtime="12.0",
        gpus_minimum_memory="38GB",
        request_cpus=8,
        request_memory="16GB",
        retry_request_memory="32GB",
        request_disk="10GB",
    )


def test_an_image_that_is_copied_needs_disk() -> None:
    assert gpus.request(IMAGE, 1, "500MB", image_on_disk=True).request_disk == "25GB"


@pytest.mark.parametrize("count", range(1, gpus.MOST_GPUS + 1))
def test_the_request_fits_what_gpu_pilots_keep_free(count: int) -> None:
    """RoomForCPUOnlyJobs of the OSPool's pilots: 8 cores and 32000 MB a GPU."""
    request = gpus.request(IMAGE, count, "10GB", image_on_disk=False)
    assert request.request_cpus <= 8 * count
    assert int(request.retry_request_memory.removesuffix("GB")) * 1024 <= 32_000 * count


def test_opencl_is_the_drivers_and_takes_every_gpu_that_it_drives() -> None:
    bounds = gpus.bounds(images.offered()["opencl-1.2"])
    assert gpus_table.cards(bounds)["refused"] == []
    assert bounds.gpus_maximum_capability == "" and not bounds.admits("3.5", 10020) and not bounds.admits("3.0", 12040)
    for asked in ("opencl==1.2", "OpenCL 1.2", "pyopencl==2026.1.4"):
        assert image_bounds.bounds(asked) == bounds
    with pytest.raises(ImageError, match=r"^opencl='2\.2': not in the data; want one of 1\.2\. Name the version"):
        image_bounds.bounds("opencl==2.2")


def test_an_image_without_cuda_needs_little_disk_and_no_highest_capability() -> None:
    found = gpus.request(images.offered()["opencl-1.2"], 1, "2GB", image_on_disk=False)
    assert (found.gpus_minimum_capability, found.gpus_maximum_capability) == ("3.5", "")
