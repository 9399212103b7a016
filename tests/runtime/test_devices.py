from __future__ import annotations

import time
from typing import Any

import pytest

from submit.runtime import devices, exit_codes
from submit.runtime.exit_codes import BadMachine

H100 = 'GPUs_GPU_aaaa0 = [ Capability = 9.0; DeviceName = "NVIDIA H100 80GB HBM3"; id = "GPU-aaaa0" ]\n'
A100 = 'GPUs_GPU_0 = [ DeviceName = "NVIDIA A100-SXM4-40GB"; id = "GPU-0" ]\n'
SLOT = 'Machine = "gpu07.unl.example"\nGLIDEIN_Site = "Nebraska"\nCpus = 4\n'


def test_a_laptop_may_use_its_cpu(capsys: Any) -> None:
    assert devices.require_gpu(0) == "cpu"
    assert "no GPU asked for" in capsys.readouterr().err
    assert devices.require_gpu(1) == "gpu"
    assert devices.here() == devices.Place("", "", "", 0, False, False, 0)


def test_the_assigned_gpus_model(job: Any, monkeypatch: Any) -> None:
    job.ads(machine=SLOT + A100 + H100, job="RequestGPUs = 1\n")
    monkeypatch.setenv("_CONDOR_AssignedGPUs", "GPU-aaaa0")
    assert devices.here() == devices.Place("gpu07.unl.example", "Nebraska", "NVIDIA H100 80GB HBM3", 1, False, True, 4)
    assert devices.require_gpu(1) == "gpu (NVIDIA H100 80GB HBM3)"


def test_one_attribute_for_all_gpus(job: Any) -> None:
    job.ads(machine=SLOT + 'GPUs_DeviceName = "Tesla V100"\n')
    assert devices.here().gpu == "Tesla V100"


@pytest.mark.parametrize(
    ("assigned", "request_gpus", "visible"),
    [("GPU-aaaa0", "1", 0), ("", "1", 0), ("GPU-aaaa0, GPU-0", "2", 1), ("MIG-1", "undefined", 0)],
)
def test_a_gpu_the_framework_does_not_see(
    job: Any, monkeypatch: Any, assigned: str, request_gpus: str, visible: int
) -> None:
    job.ads(machine=SLOT + H100, job=f"RequestGPUs = {request_gpus}\n")
    monkeypatch.setenv("_CONDOR_AssignedGPUs", assigned)
    with pytest.raises(BadMachine, match=rf"GPU: {visible} visible, \d assigned \(NVIDIA H100"):
        devices.require_gpu(visible)


def test_only_a_simulated_gpu_may_be_a_cpu(job: Any, monkeypatch: Any, capsys: Any) -> None:
    job.ads(machine=SLOT + H100 + "OsgdlSimulatedGPU = True\n", job="RequestGPUs = 1\n")
    monkeypatch.setenv("_CONDOR_AssignedGPUs", "GPU-aaaa0")
    assert devices.require_gpu(0) == "cpu (simulated GPU: NVIDIA H100 80GB HBM3)"
    assert "simulated GPU (NVIDIA H100 80GB HBM3)" in capsys.readouterr().err
    job.ads(machine=SLOT + H100 + 'OsgdlSimulatedGPU = "yes"\n', job="RequestGPUs = 1\n")
    with pytest.raises(BadMachine):
        devices.require_gpu(0)


def test_a_simulated_gpu_is_lost_in_the_middle(job: Any, monkeypatch: Any) -> None:
    bad = 'OsgdlSimulatedGPU = True\nOsgdlSimulatedFault = "lost"\nOsgdlSimulatedLostAfter = 0.05\n'
    job.ads(machine=SLOT + bad)
    devices._lost_at.cache_clear()
    devices.still_there()
    time.sleep(0.1)
    assert exit_codes.run(devices.still_there) == exit_codes.BAD_MACHINE  # type: ignore[arg-type]
    for machine in (bad.replace("True", '"True"'), bad.replace("lost", "wrong-answer"), ""):
        job.ads(machine=SLOT + machine)
        devices._lost_at.cache_clear()
        time.sleep(0.06)
        devices.still_there()
    devices._lost_at.cache_clear()
