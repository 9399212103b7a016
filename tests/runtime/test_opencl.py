"""The preflight by way of OpenCL: PoCL really computes, on the CPU and in the clothes of a GPU (gpu_by_pocl.c)."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import failures, gpu, known_photons, opencl, opencl_check, opencl_probe, request
from tests.runtime import test_preflight as preflight
from tests.runtime.conftest import Starter

needs_pocl = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pyopencl", "pocl_binary_distribution"))),
    reason="no OpenCL for the CPU: pip install '.[photons]'",
)
library = preflight.library  # a fixture: the CUDA driver that the tests do not have
UUID = b"sixteen letters!".hex()
GPU = f"GPU-{UUID[:8]}-{UUID[8:12]}-{UUID[12:16]}-{UUID[16:20]}-{UUID[20:]}"


@pytest.fixture(scope="session")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real loader, with a device that says it is a GPU."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler for the GPU's clothes")
    path, real = tmp_path_factory.mktemp("opencl") / "libOpenCL.so.1", opencl.library()
    source = Path(__file__).with_name("gpu_by_pocl.c")
    command = [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(source)]
    subprocess.run([*command, "-Wl,--no-as-needed", real, f"-Wl,-rpath,{Path(real).parent}"], check=True)
    return path


Run = Callable[..., "tuple[subprocess.CompletedProcess[str], dict[str, Any]]"]


@pytest.fixture
def run(tmp_path: Path, library: Path, loader: Path) -> Run:
    """The preflight of an OpenCL job on a slot with a GPU: `run(environment, job, machine, *words)`."""
    slot = preflight.Slot(tmp_path, library)
    (tmp_path / "vendors").mkdir()

    def run(
        environment: dict[str, str] | None = None,
        job: dict[str, str] | None = None,
        machine: dict[str, str] | None = None,
        *words: str,
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        own = {"OSGDL_LIBOPENCL": str(loader), "OCL_ICD_VENDORS": str(tmp_path / "vendors"), "HOME": str(tmp_path)}
        return slot.run({**own, **(environment or {})}, job, machine, "--opencl", *words)

    return run


@dataclass
class Case:
    """What is wrong, and the row that must be found."""

    row: str
    environment: dict[str, str] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    code: int = 75
    says: str = ""
    icd: str | None = None  # what the file of a driver says


REAL = {"OSGDL_LIBOPENCL": "unset"}  # the wheel's own loader: PoCL is a CPU there
CASES = [
    Case("opencl-no-loader", {"OSGDL_LIBOPENCL": "libOpenCL-absent.so"}, code=65, says="libOpenCL-absent.so: cannot"),
    Case("opencl-no-loader", {"OSGDL_LIBOPENCL": "libm.so.6"}, code=65, says="undefined symbol"),
    Case("opencl-no-icd", REAL, code=65, says="no .icd file in "),
    Case("opencl-no-driver", REAL, icd="libnvidia-opencl.so.1", says="nvidia.icd: libnvidia-opencl.so.1: cannot open"),
    Case("opencl-no-device", REAL, icd="libm.so.6", says="nvidia.icd in "),
    Case("opencl-no-device", job={"RequestGPUs": "2"}, says="1 visible; 2 (request_gpus)"),
    Case("opencl-no-compiler", {"FAKE_clBuildProgram": "-11"}, says="clBuildProgram: the compiler fails without"),
    Case("opencl-other", {"FAKE_clGetPlatformIDs": "-6"}, says="clGetPlatformIDs: OpenCL error -6"),
    Case("opencl-other", {"FAKE_clFinish": "-5"}, says="clFinish: OpenCL error -5"),
    Case("opencl-wrong-answer", {"FAKE_WRONG": "3"}, says="device 0: photon 0 at ("),
    Case("opencl-wrong-answer", {"FAKE_WRONG": "12"}, says="random numbers of photon 0"),
    Case("opencl-wrong-answer", {"FAKE_WRONG": "4096"}, says="work items that compute the same photon disagree"),
    Case("driver-hung", {"FAKE_HANG": "clGetPlatformIDs"}, says="no answer from clGetPlatformIDs in time"),
    Case("driver-hung", {"FAKE_HANG": "clBuildProgram"}, says="no answer from OpenCL's compiler in time"),
    Case("driver-crashed", {"FAKE_CRASH": "clGetDeviceInfo"}, says="SIGSEGV in clGetPlatformIDs"),
    Case("answer-hung", {"FAKE_HANG": "clFinish"}, says="no answer from the known answer in time"),
    Case("answer-crashed", {"FAKE_CRASH": "clEnqueueReadBuffer"}, says="SIGSEGV in the known answer"),
]


@needs_pocl
@pytest.mark.parametrize("case", CASES, ids=[f"{case.row}:{next(iter(case.environment), '')}" for case in CASES])
def test_every_fault_is_found(run: Run, tmp_path: Path, case: Case) -> None:
    if case.icd is not None:
        (tmp_path / "vendors" / "nvidia.icd").write_text(case.icd + "\n")
    two = {"FAKE_COUNT": "2", "CUDA_VISIBLE_DEVICES": "unset", "_CONDOR_AssignedGPUs": "unset"}
    environment = {**(two if case.job else {}), **case.environment}
    limit = ("--time-limit", "5") if "FAKE_HANG" in case.environment else ()
    done, report = run(environment, case.job, None, *limit)
    assert (report["failure"], done.returncode, report["code"]) == (case.row, case.code, case.code), done.stderr
    assert case.says in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(report["sentence"]), done.stderr


def test_every_row_is_provoked() -> None:
    # what a running job prints is no check's
    rows = {row.id for row in failures.table() if row.id.startswith("opencl-") and row.check}
    # the last three: below
    assert rows - {case.row for case in CASES} == {"opencl-no-cpu", "opencl-icd-hidden", "opencl-others-visible"}


@needs_pocl
def test_a_fine_gpu_is_fine_and_its_time_is_in_the_jobs_ad(run: Run, starter: Starter) -> None:
    done, report = run({"_CONDOR_CHIRP_CONFIG": os.environ["_CONDOR_CHIRP_CONFIG"]})
    assert done.returncode == 0 and not report["warnings"], done.stderr
    (device,) = report["facts"]["opencl"]["devices"]
    assert device["kind"] == "gpu" and device["units"] >= 1 and device["photon_ns"] > 0
    assert "Portable Computing Language" in report["facts"]["opencl"]["platforms"][0]
    assert f"OpenCL on {device['name']}, {device['photon_ns']:.3g} ns a photon, known answer right" in done.stderr
    assert float(starter.attributes["ChirpOsgdlPhotonNs"]) == device["photon_ns"]
    assert report["seconds"]["opencl"] < 20


@needs_pocl
def test_without_the_known_answer_nothing_is_computed(run: Run) -> None:
    done, report = run({"FAKE_CRASH": "clBuildProgram"}, None, None, "--no-known-answer")
    assert done.returncode == 0, done.stderr
    assert report["facts"]["opencl"]["devices"][0]["photon_ns"] is None and "a photon" not in done.stderr


@needs_pocl
def test_a_gpu_that_is_not_the_jobs_is_warned_of(run: Run) -> None:
    mine = {"CUDA_VISIBLE_DEVICES": GPU, "_CONDOR_AssignedGPUs": GPU, "OSGDL_LIBCUDA": ""}
    cuda = {"FAKE_UUID": "sixteen letters!"}
    # the CUDA driver of the tests reads FAKE_UUID as a number, of which there is none: GPU-00000000
    seen = "GPU-00000000-1415-1617-1819-1a1b1c1d1e1f"
    done, report = run({**cuda, "CUDA_VISIBLE_DEVICES": seen, "_CONDOR_AssignedGPUs": seen})
    assert done.returncode == 0 and report["facts"]["opencl"]["devices"][0]["uuid"] == GPU[4:], done.stderr
    assert report["warnings"] == [f"OpenCL device: {GPU}; OpenCL shows a GPU that the job was not given"]
    probed = gpu.Probed(driver={"count": 1}, devices=report["facts"]["opencl"]["devices"], ended=True)
    for assigned in (mine["_CONDOR_AssignedGPUs"], GPU[:12], GPU.replace("GPU-", "MIG-")):
        assert not list(opencl_check.judge(probed, request.Request(gpus=1), [assigned], on_cpu=False))


@needs_pocl
@pytest.mark.parametrize("simulated", [False, True])
def test_without_a_gpu_the_cpu_computes(run: Run, simulated: bool) -> None:
    machine = preflight.SIMULATED if simulated else {}
    given = "GPU-aaaa0000" if simulated else "unset"
    job = {} if simulated else {"RequestGPUs": "undefined"}
    done, report = run({**REAL, **preflight.NO_DRIVER, "_CONDOR_AssignedGPUs": given}, job, machine)
    assert done.returncode == 0 and report["facts"]["opencl"]["devices"][0]["kind"] == "cpu", done.stderr


@needs_pocl
def test_a_real_gpus_job_never_computes_on_the_cpu(run: Run, tmp_path: Path) -> None:
    """PoCL is there, and the GPU's driver is not: the job goes elsewhere."""
    (tmp_path / "vendors" / "nvidia.icd").write_text("libnvidia-opencl.so.1\n")
    done, report = run(REAL)
    assert "Portable Computing Language" in report["facts"]["opencl"]["platforms"][0]
    assert (done.returncode, report["failure"]) == (75, "opencl-no-driver")


def test_a_folder_mounted_over_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilots bind the machine's /etc/OpenCL/vendors over the image's: then it is the machine that names no driver."""
    monkeypatch.setenv("OCL_ICD_VENDORS", "/proc")
    assert opencl_probe.missing("gpu") == ("opencl-icd-hidden", "no .icd file in /proc")
    assert opencl_probe.missing("cpu")[0] == "opencl-no-cpu"


@needs_pocl
def test_pocl_without_a_linker_is_the_images_fault(run: Run, tmp_path: Path) -> None:
    """As in python:slim, which has none."""
    (tmp_path / "bin").mkdir()
    job = {"RequestGPUs": "undefined"}
    nothing = {**REAL, **preflight.NO_DRIVER, "_CONDOR_AssignedGPUs": "unset", "PATH": str(tmp_path / "bin")}
    done, report = run(nothing, job)
    assert (done.returncode, report["failure"]) == (65, "opencl-no-cpu"), done.stderr
    assert "OpenCL device: PoCL gave up (SIGABRT) on the known answer; PoCL, which" in done.stderr


@needs_pocl
def test_no_pocl_for_a_job_without_a_gpu_is_the_images_fault(run: Run) -> None:
    # the disguise leaves no CPU
    job = {"RequestGPUs": "undefined"}
    done, report = run({**preflight.NO_DRIVER, "_CONDOR_AssignedGPUs": "unset"}, job)
    assert (done.returncode, report["failure"]) == (65, "opencl-no-cpu"), done.stderr


@needs_pocl
def test_the_loader_is_that_of_pyopencl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its platforms and devices, by ctypes and by pyopencl."""
    code = (
        "import pyopencl as cl; print([(d.name, d.version, d.driver_version, d.max_compute_units, "
        "d.global_mem_size >> 20) for p in cl.get_platforms() for d in p.get_devices()])"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    child = "from submit.runtime.opencl import Loader; print([(d.name, d.version, d.driver, d.units, d.memory_mb) "
    ours = subprocess.run(
        [sys.executable, "-c", child + "for d in Loader().devices()])"],
        capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ours.stdout == theirs.stdout != "[]\n"
    monkeypatch.setattr(opencl, "wheel", lambda: None)
    assert opencl.library() == "libOpenCL.so.1"


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # Random123, kat_vectors: philox4x32 10
        ((0,) * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_numbers(counter: Any, key: Any, words: str) -> None:
    assert " ".join(f"{word:08x}" for word in known_photons.philox(counter, key)) == words


def _packed(expected: list[tuple[known_photons.Vector, int]], copies: int = 2) -> bytearray:
    return bytearray(b"".join(struct.pack("<3fI", *place, bits) for place, bits in expected) * copies)


def test_what_is_expected_is_physics() -> None:
    """Free paths have mean 1, cosines mean g: <r2> after N of both is 2 [N/(1-g) - g (1-g^N)/(1-g)^2]."""
    n, g = known_photons.SCATTERS, known_photons.G
    wanted = 2 * (n / (1 - g) - g * (1 - g**n) / (1 - g) ** 2)
    squares = [math.dist(place, (0, 0, 0)) ** 2 for place, _ in known_photons.answer()]
    mean = sum(squares) / len(squares)
    error = math.sqrt(sum((square - mean) ** 2 for square in squares)) / len(squares)
    assert abs(mean - wanted) < 4 * error and error < 0.1 * wanted


@pytest.fixture(scope="module")
def expected() -> Iterator[list[tuple[known_photons.Vector, int]]]:
    yield list(known_photons.answer())


@given(byte=st.integers(0, 2 * known_photons.PHOTONS * 16 - 1), data=st.data())
def test_a_bit_that_matters_is_seen(
    expected: list[tuple[known_photons.Vector, int]], byte: int, data: st.DataObject
) -> None:
    got = _packed(expected)
    assert known_photons.judge(bytes(got), expected) == ""
    # of a float32 in the first copy the low bits may differ by rounding
    high = byte >= len(got) // 2 or byte % 16 >= 12 or byte % 4 == 3
    got[byte] ^= 1 << data.draw(st.integers(6 if high and byte % 4 == 3 else 0, 6 if high else 7))
    wrong = known_photons.judge(bytes(got), expected)
    assert wrong or not high


@needs_pocl
def test_the_tolerance_is_a_hundred_times_what_is_seen(tmp_path: Path) -> None:
    """The places in float32 against Python's; also: one launch of many copies gives every copy the same bits."""
    code = (
        "import json; from submit.runtime import known_photons as k, opencl; l = opencl.Loader();"
        "n = l.kernel(l.devices()[0], k.CODE.read_text(), k.KERNEL);"
        "print(json.dumps([n.run(k.PHOTONS, 16 * k.PHOTONS)[0].hex(), n.run(k.PHOTONS * 7, 112 * k.PHOTONS)[0].hex()]))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    one, seven = map(bytes.fromhex, json.loads(done.stdout))
    assert seven == 7 * one
    places = [struct.unpack_from("<3f", one, 16 * photon) for photon in range(known_photons.PHOTONS)]
    answers = [place for place, _ in known_photons.answer()]
    assert max(map(math.dist, places, answers)) < known_photons.TOLERANCE / 30
