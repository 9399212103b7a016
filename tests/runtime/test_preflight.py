"""The preflight against a driver that does what each row says: the verdict, the exit code, the row of the table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from submit.runtime import classad, failures, host, preflight, simulated

ROOT = Path(__file__).parents[2]
UUID = "aaaa0000-1415-1617-1819-1a1b1c1d1e1f"
GPU = f"GPU-{UUID}"
JOB = {
    "RequestGPUs": "1",
    "GPUsMinCapability": "7.0",
    "GPUsMaxCapability": "9.0",
    "GPUsMinMemory": "40000",
    "GPUsMinRuntime": "12000",
    "RequireGPUs": "(Capability >= GPUsMinCapability) && (Capability <= GPUsMaxCapability) && "
    "(GlobalMemoryMb >= GPUsMinMemory) && (MaxSupportedVersion >= GPUsMinRuntime)",
    "RequestDisk": "1024",
}
MACHINE = {"Machine": '"gpu07.unl.example"', "GLIDEIN_Site": '"Nebraska"', "Cpus": "4"}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler for the fake driver")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    source = Path(__file__).with_name("fake_libcuda.c")
    command = [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(source)]
    subprocess.run(command, check=True)
    return path


class Slot:
    """A job's place with the fake driver in it."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder, self._library = folder, library
        (folder / "dev").mkdir()
        (folder / "dev" / "nvidia0").touch()

    def run(
        self,
        environment: dict[str, str] | None = None,
        job: dict[str, str] | None = None,
        machine: dict[str, str] | None = None,
        *words: str,
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """The preflight in a process of its own; the process, and the report."""
        for name, ad in (("job", {**JOB, **(job or {})}), ("machine", {**MACHINE, **(machine or {})})):
            (self.folder / name).write_text("".join(f"{key} = {value}\n" for key, value in ad.items()))
        given = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OSGDL_LIBCUDA": str(self._library),
            "OSGDL_LIBNVML": str(self._library),
            "OSGDL_DEV": str(self.folder / "dev"),
            "_CONDOR_JOB_AD": str(self.folder / "job"),
            "_CONDOR_MACHINE_AD": str(self.folder / "machine"),
            "_CONDOR_AssignedGPUs": GPU,
            "CUDA_VISIBLE_DEVICES": GPU,
            **(environment or {}),
        }
        report = self.folder / "report.json"
        command = [sys.executable, "-m", "submit.runtime.preflight", "--json", str(report), *words]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={name: value for name, value in given.items() if value != "unset"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, json.loads(report.read_text()) if report.exists() else {}


@pytest.fixture
def slot(tmp_path: Path, library: Path) -> Slot:
    return Slot(tmp_path, library)


@dataclass
class Case:
    """What is wrong, and the row that must be found."""

    row: str
    environment: dict[str, str] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    code: int = 75
    says: str = ""


EDITED = {"Environment": '"CUDA_VISIBLE_DEVICES=0 A=1"'}
CASES = [
    # the driver's own results
    Case("no-libcuda", {"FAKE_cuInit": "303"}),
    Case("stub-libcuda", {"FAKE_cuInit": "34"}, code=65),
    Case("no-device", {"FAKE_cuInit": "100", "CUDA_VISIBLE_DEVICES": "unset"}, says="CUDA_ERROR_NO_DEVICE (100)"),
    Case("driver-combo-803", {"FAKE_cuInit": "803"}),
    Case("forward-compat-hw", {"FAKE_cuInit": "804"}),
    Case("system-not-ready", {"FAKE_cuInit": "802"}),
    Case("mps-failed", {"FAKE_cuInit": "805"}),
    Case("os-refused", {"FAKE_cuInit": "304"}),
    Case("cuda-unknown", {"FAKE_cuInit": "999"}, says="CUDA_ERROR_UNKNOWN"),
    Case("cuda-other", {"FAKE_cuInit": "1"}, says="cuInit: CUDA error (1)"),
    Case("devices-busy", {"FAKE_cuCtxCreate_v2": "46"}),
    Case("memory-taken", {"FAKE_cuCtxCreate_v2": "2"}, says="CUDA_ERROR_OUT_OF_MEMORY"),
    Case("ecc-uncorrectable", {"FAKE_cuCtxSynchronize": "214"}, says="uncorrectable ECC"),
    Case("nvlink-uncorrectable", {"FAKE_cuCtxSynchronize": "220"}),
    Case("kernel-failed", {"FAKE_cuCtxSynchronize": "719"}),
    Case("kernel-failed", {"FAKE_cuMemcpyDtoH_v2": "700"}),
    Case("unsupported-ptx-version", {"FAKE_cuModuleLoadData": "222"}),
    Case("ptx-refused", {"FAKE_cuModuleLoadData": "221"}),
    Case("nvml-mismatch", {"FAKE_nvmlInit_v2": "18", "FAKE_cuInit": "803"}),
    Case("nvml-unknown", {"FAKE_nvmlInit_v2": "9"}),
    Case("fell-off-bus", {"FAKE_nvmlDeviceGetTotalEccErrors": "15"}),
    # a driver that hangs, crashes or lies
    Case("driver-hung", {"FAKE_HANG": "cuInit"}, says="no answer from cuInit"),
    Case("driver-hung", {"FAKE_HANG": "nvmlInit_v2"}, says="no answer from NVML"),
    Case("driver-crashed", {"FAKE_CRASH": "cuInit"}, says="SIGSEGV in cuInit"),
    Case("driver-crashed", {"FAKE_CRASH": "cuCtxCreate_v2"}, says="SIGSEGV in cuCtxCreate"),
    Case("answer-hung", {"FAKE_HANG": "cuCtxSynchronize"}, says="no answer from the known answer"),
    Case("answer-crashed", {"FAKE_CRASH": "cuLaunchKernel"}, says="SIGSEGV in the known answer"),
    Case("wrong-answer", {"FAKE_WRONG": "matrix_product"}, says="1 of 221184 numbers of a matrix product wrong"),
    Case("wrong-answer", {"FAKE_WRONG": "convolution"}, says="1 of 203136 numbers of a convolution wrong"),
    # the GPU is not there
    Case("no-device-files", {"OSGDL_DEV": "/nonexistent"}),
    Case("no-nv-mig", {"OSGDL_DEV": "/nonexistent", "_CONDOR_AssignedGPUs": f"MIG-{UUID}"}),
    Case("libcuda-missing", {"OSGDL_LIBCUDA": "libcuda-absent.so.1"}, says="libcuda-absent.so.1: cannot open shared"),
    Case("libcuda-missing", {"OSGDL_LIBCUDA": "libm.so.6"}, says="undefined symbol"),
    Case("visible-hidden", {"CUDA_VISIBLE_DEVICES": ""}),
    Case("visible-hidden", {"CUDA_VISIBLE_DEVICES": "10000"}),
    Case("visible-hidden", {"CUDA_VISIBLE_DEVICES": "-1"}),
    Case("visible-edited", {"CUDA_VISIBLE_DEVICES": "0"}, job=EDITED, code=65, says="which HTCondor assigned"),
    Case("visible-edited", {"CUDA_VISIBLE_DEVICES": ""}, job=EDITED, code=65),
    Case("visible-not-assigned", {"CUDA_VISIBLE_DEVICES": "GPU-bbbb0000"}),
    Case("visible-not-assigned", {"CUDA_VISIBLE_DEVICES": f"{GPU},GPU-bbbb0000"}),
    Case("visible-not-assigned", {"FAKE_UUID": "0xcccc0000"}),
    Case("visible-absent", {"FAKE_cuInit": "100"}),
    Case("visible-absent", {"FAKE_COUNT": "0"}),
    Case("no-device", {"FAKE_COUNT": "0", "CUDA_VISIBLE_DEVICES": "unset"}),
    Case("too-few-devices", job={"RequestGPUs": "2"}, says="1 visible; 2 (request_gpus)"),
    # it is not what was asked for
    Case("capability-below", {"FAKE_CAPABILITY": "61"}, says="NVIDIA Fake 0 has 6.1; 7.0 or more"),
    Case("capability-above", {"FAKE_CAPABILITY": "120"}, says="has 12.0; 9.0 or less"),
    Case("memory-below", {"FAKE_MEMORY_MB": "16160"}, says="has 16160 MiB; 40000 MiB"),
    Case("driver-below", {"FAKE_RUNTIME": "11040"}, says="CUDA 11.4; 12.0 or newer"),
    Case("memory-taken", {"FAKE_FREE_MB": "30000"}, says="30000 of 81079 MiB free"),
    Case("ecc-counted", {"FAKE_ECC": "3"}, says="3 uncorrectable errors"),
    Case("capability-below", job={"RequireGPUs": "Capability >= 9.5", "GPUsMinCapability": "undefined"}),
    # the host
    Case("disk-below", job={"RequestDisk": str(2**45)}),
    Case("disk-read-only", {"_CONDOR_SCRATCH_DIR": "/proc"}),
    Case("shm-below", job={"OsgdlMinShmMb": str(2**30)}),
    Case("glibc-too-old", job={"OsgdlMinGlibc": '"99.0"'}, code=65, says="99.0 (OsgdlMinGlibc)"),
    # the local pool's bad sites
    Case("wrong-answer", machine={"OsgdlSimulatedFault": '"wrong-answer"'}),
    Case("driver-below", machine={"OsgdlSimulatedRuntime": "11040"}, says="CUDA 11.4; 12.0 or newer"),
]
SIMULATED = {
    "OsgdlSimulatedGPU": "True",
    "GPUs_GPU_aaaa0000": '[ Capability = 9.0; DeviceName = "NVIDIA H100 80GB HBM3"; GlobalMemoryMb = 81079; '
    f'MaxSupportedVersion = 12080; ECCEnabled = true; DeviceUuid = "{UUID}"; id = "GPU-aaaa0000" ]',
}
NO_DRIVER = {"OSGDL_LIBCUDA": "absent", "OSGDL_DEV": "/nonexistent", "CUDA_VISIBLE_DEVICES": "GPU-aaaa0000"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.row}:{next(iter(case.environment.items()), '')}")
def test_every_fault_is_found(slot: Slot, case: Case) -> None:
    environment = dict(case.environment)
    machine = dict(case.machine)
    if any(name.startswith("OsgdlSimulated") for name in machine):
        machine, environment = {**SIMULATED, **machine}, {**NO_DRIVER, "_CONDOR_AssignedGPUs": "GPU-aaaa0000"}
    began = time.monotonic()
    done, report = slot.run(environment, case.job, machine, "--time-limit", "2")
    assert (report["failure"], done.returncode, report["code"]) == (case.row, case.code, case.code), done.stderr
    assert report["verdict"] == {75: "machine", 65: "request"}[case.code]
    assert case.says in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(report["sentence"]), done.stderr
    assert done.stderr.strip().endswith("[on gpu07.unl.example]") == (case.code == 75)
    assert time.monotonic() - began < 6


def test_at_least_thirty_rows_are_provoked() -> None:
    rows = {case.row for case in CASES}
    assert len(rows) >= 30
    checked = {row.id for row in failures.table() if row.check and row.verdict != failures.WARNING}
    # test_host.py, test_opencl.py
    assert {row for row in checked - rows if not row.startswith("opencl-")} == {"no-avx", "disk-full"}


def test_a_fine_gpu_is_fine_and_costs_seconds_at_most(slot: Slot) -> None:
    done, report = slot.run()
    assert done.returncode == 0 and report["verdict"] == "fine" and not report["warnings"], done.stderr
    assert done.stderr.startswith(
        "preflight  fine: NVIDIA Fake 0, capability 9.0, 80579 MiB free, known answer right ("
    )
    assert report["facts"]["driver"] == "570.86.15" and report["facts"]["runtime"] == 12080
    assert report["facts"]["devices"][0]["uuid"] == UUID
    answer = report["seconds"]["answer"]
    assert report["seconds"]["total"] - answer < 1 and answer < 3


def test_without_the_known_answer_a_lie_goes_unseen(slot: Slot) -> None:
    done, report = slot.run({"FAKE_WRONG": "convolution"}, None, None, "--no-known-answer")
    assert done.returncode == 0 and "answer" not in report["seconds"] and "known answer" not in done.stderr


def test_every_gpu_is_asked(slot: Slot) -> None:
    both = {"FAKE_COUNT": "2", "_CONDOR_AssignedGPUs": "GPU-aaaa0000,GPU-aaaa0001"}
    both["CUDA_VISIBLE_DEVICES"] = both["_CONDOR_AssignedGPUs"]
    done, report = slot.run(both, {"RequestGPUs": "2"})
    assert done.returncode == 0, done.stderr
    assert [device["name"] for device in report["facts"]["devices"]] == ["NVIDIA Fake 0", "NVIDIA Fake 1"]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FAKE_SLOW": "0x40"}, "too hot (hardware) on NVIDIA Fake 0"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES: '0'"),
        ({"FAKE_FREE_MB": "60000"}, "60000 of 81079 MiB free"),
    ],
)
def test_a_warning_does_not_end_the_job(slot: Slot, environment: dict[str, str], says: str) -> None:
    done, report = slot.run(environment)
    assert done.returncode == 0 and says in report["warnings"][0] and f"warning: {report['warnings'][0]}" in done.stderr


@pytest.mark.parametrize("nvml", [{"OSGDL_LIBNVML": "absent"}, {"FAKE_nvmlInit_v2": "3"}])
def test_no_nvml_is_no_fault(slot: Slot, nvml: dict[str, str]) -> None:
    done, report = slot.run(nvml)
    assert done.returncode == 0 and report["facts"]["driver"] == "", done.stderr


def test_a_job_without_a_gpu_has_its_host_checked(slot: Slot) -> None:
    done, report = slot.run({**NO_DRIVER, "_CONDOR_AssignedGPUs": "unset"}, {"RequestGPUs": "undefined"})
    assert done.returncode == 0 and "no GPU asked for" in done.stderr
    assert set(report["seconds"]) == {"disk", "shm", "glibc", "processor", "total"}


def test_bounds_that_no_machine_promised_do_not_count(slot: Slot) -> None:
    """A user's own require_gpus takes the clauses of gpus_minimum_capability away, and leaves the attributes."""
    done, _ = slot.run({"FAKE_CAPABILITY": "61"}, {"RequireGPUs": "(Capability >= 6.0)"})
    assert done.returncode == 0, done.stderr


def test_a_simulated_gpu_is_what_its_slot_says(slot: Slot) -> None:
    done, report = slot.run({**NO_DRIVER, "_CONDOR_AssignedGPUs": "GPU-aaaa0000"}, None, SIMULATED)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("preflight  fine: simulated NVIDIA H100 80GB HBM3, capability 9.0, 81079 MiB free")
    assert report["seconds"]["total"] < 2


def test_only_the_machines_ad_makes_a_gpu_simulated(slot: Slot) -> None:
    lie = {**SIMULATED, "OsgdlSimulatedGPU": '"True"'}
    done, report = slot.run({**NO_DRIVER, "_CONDOR_AssignedGPUs": "GPU-aaaa0000"}, None, lie)
    assert done.returncode == 75 and report["failure"] == "no-device-files"
    done, report = slot.run(None, None, lie)  # where there is a driver, it is the driver that is asked
    assert done.returncode == 0 and report["facts"]["devices"][0]["name"] == "NVIDIA Fake 0"
    with pytest.raises(ValueError, match="not a simulated slot"):
        simulated.Driver(classad.parse('OsgdlSimulatedGPU = "True"\n'))


def test_the_queue_sees_how_long_it_took(starter: Any, job: Any, monkeypatch: Any) -> None:
    job.ads(machine='Machine = "a"\n', job="ClusterId = 1\n")
    assert preflight.main([]) == 0
    assert 0 <= float(starter.attributes["ChirpOsgdlPreflightSeconds"]) < 1


def test_a_check_that_breaks_is_a_warning(monkeypatch: Any) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(host, "processor", broken)
    report = preflight.Preflight().run()
    assert report.code == 0 and report.warnings[0].startswith("preflight: processor: ZeroDivisionError: x")
