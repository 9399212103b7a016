"""How busy the GPUs are, by a fake NVML; a driver that hangs or is not there costs the training nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GPU = "GPU-ddc1c098-3c4a-0000-0000-000000000000"
SHOW = (
    "import sys, time; from submit.runtime.gpu_use import GpuUse\n"
    "use = GpuUse(every_s=0.01); first = use.share()\n"
    "deadline = time.monotonic() + float(sys.argv[1])\n"
    "while use.share() is None and time.monotonic() < deadline: time.sleep(0.01)\n"
    "print(first, use.share())"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("driver") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_libcuda.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return path


def shown(library: Path | str, wait: float = 10.0, visible: str = GPU, **environment: str) -> str:
    given = {**os.environ, "OSGDL_LIBNVML": str(library), "CUDA_VISIBLE_DEVICES": visible, **environment}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(wait)], capture_output=True, text=True, env=given, timeout=30
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.strip()


def test_the_share_comes_in_the_background(library: Path) -> None:
    # the first may be there already: the background does not wait
    assert shown(library).split()[1] == "0.83"
    assert shown(library, FAKE_BUSY="250", visible=f"{GPU},{GPU}").split()[1] == "1.0"


@pytest.mark.parametrize(
    "trouble",
    [
        {"FAKE_nvmlInit_v2": "9"},
        {"FAKE_nvmlDeviceGetUtilizationRates": "3"},
        {"FAKE_nvmlDeviceGetUtilizationRates": "15"},
        {"FAKE_HANG": "nvmlInit_v2"},
        {"visible": "MIG-ddc1c098"},
        {"visible": "0,1"},
        {"visible": ""},
    ],
    ids=["no-start", "not-supported", "lost", "hangs", "slice", "indices", "none"],
)
def test_what_is_not_known_is_none(library: Path, trouble: dict[str, str]) -> None:
    assert shown(library, 0.3, **trouble) == "None None"


def test_no_library() -> None:
    assert shown("absent", 0.3) == "None None"
