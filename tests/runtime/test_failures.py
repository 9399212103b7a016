"""The table of failures: whole, in step with its TOML, and every pattern finds a line as it is really printed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import data_json, explain_stderr
from submit.runtime import failures

TOML = Path(__file__).parents[2] / "submit" / "data" / "failures.toml"
TESLA = {"capability": 6.0}
HOPPER = {"capability": 9.0}
BLACKWELL = {"capability": 12.0}

# row, what is known of the GPU, a line as it is printed
LINES: list[tuple[str, dict[str, float], str]] = [
    ("ecc-uncorrectable", {}, "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    ("fell-off-bus", {}, "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus."),
    ("fell-off-bus", {}, "Unable to determine the device handle for GPU0: GPU is lost.  Reboot the system to recover"),
    ("xid-ecc", {}, "NVRM: Xid (PCI:0000:41:00): 63, pid=7, Row Remapper: New row marked for remapping"),
    ("nvlink-uncorrectable", {}, "CUDA_ERROR_NVLINK_UNCORRECTABLE: uncorrectable NVLink error detected"),
    ("system-not-ready", {}, "failed call to cuInit: CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized"),
    ("devices-busy", {}, "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    ("devices-busy", {}, "all CUDA-capable devices are busy or unavailable"),
    ("mps-failed", {}, "cuInit: CUDA_ERROR_MPS_CONNECTION_FAILED"),
    ("nvml-mismatch", {}, "Failed to initialize NVML: Driver/library version mismatch"),
    ("nvml-unknown", {}, "Failed to initialize NVML: Unknown Error"),
    ("os-refused", {}, "cuInit: CUDA_ERROR_OPERATING_SYSTEM: OS call failed or operation not supported on this OS"),
    ("cuda-unknown", {}, "failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error"),
    ("no-libcuda", {}, "E cuda_driver.cc:282] failed call to cuInit: UNKNOWN ERROR (303)"),
    ("no-libcuda", {}, "OSError: libcuda.so.1: cannot open shared object file: No such file or directory"),
    ("no-libcuda", {}, "Could not find cuda drivers on your machine, GPU will not be used."),
    ("stub-libcuda", {}, "RuntimeError: CUDA driver is a stub library"),
    ("no-device", {}, "failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"),
    ("driver-too-old", {}, "CUDA driver version is insufficient for CUDA runtime version"),
    ("torch-driver-too-old", {}, "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)."),
    ("oci-cuda-condition", {}, "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please"),
    ("unsupported-ptx-version", {}, "CUDA error: the provided PTX was compiled with an unsupported toolchain."),
    ("forward-compat-hw", {}, "Error 804: forward compatibility was attempted on non supported HW"),
    ("driver-combo-803", {}, "Error 803: system has unsupported display driver / cuda driver combination"),
    ("no-kernel-image", {}, "RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    ("torch-cap-warning", {}, "NVIDIA B200 with CUDA capability sm_100 is not compatible with the current PyTorch "
     "installation."),
    ("tf-not-built-for-cc", {}, "TensorFlow was not built with CUDA kernel binaries compatible with compute capability "
     "12.0a. CUDA kernels will be jit-compiled from PTX, which could take 30 minutes or longer."),
    ("tf-min-capability", {}, "Ignoring visible gpu device (device: 0, name: Tesla K20m, compute capability: 3.5) with "
     "Cuda compute capability 3.5. The minimum required Cuda capability is 5.0."),
    ("tf-invalid-ptx", BLACKWELL, "'cuLaunchKernel(...)' failed with 'CUDA_ERROR_INVALID_HANDLE'"),
    ("llvm-ptx-target", BLACKWELL, "LLVM ERROR: PTX version 8.5 does not support target 'sm_120'."),
    ("device-kernel-image-invalid", {}, "cudaGetDevice() failed. Status: device kernel image is invalid"),
    ("blas-gemm-old-cuda", HOPPER, "Blas GEMM launch failed : a.shape=(32, 784), b.shape=(784, 512)"),
    ("blas-gemm-old-cuda", HOPPER, "Blas xGEMV launch failed : a.shape=[1,1,4]"),
    ("ptxas-unknown-sm", {}, "ptxas fatal   : Value 'sm_86' is not defined for option 'gpu-name'"),
    ("cudnn-pre-turing", TESLA, "CUDNN_STATUS_EXECUTION_FAILED_CUDART"),
    ("segfault-pre-turing", TESLA, "./run.sh: line 30: 17 Segmentation fault (core dumped) python3 train.py"),
    ("oom", {}, "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
    ("oom", {}, "ResourceExhaustedError: {{OOM when allocating tensor with shape[64,240,240,64] and type float on "
     "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc"),
    ("tf-cannot-dlopen", {}, "Cannot dlopen some GPU libraries. Please make sure the missing libraries"),
    ("no-libcuda", {}, "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
    ("no-device", {}, "RuntimeError: No CUDA GPUs are available"),
    ("cpu-only-framework", {}, "AssertionError: Torch not compiled with CUDA enabled"),
    ("cpu-only-framework", {}, "An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not "
     "installed. Falling back to cpu."),
    ("missing-cudnn-so", {}, "Could not load dynamic library 'libcudnn.so.8'; dlerror: libcudnn.so.8: cannot open"),
    ("missing-cudart-so", {}, "ImportError: libcublas.so.11: cannot open shared object file: No such file"),
    ("cudnn-older-than-build", {}, "Loaded runtime CuDNN library: 8.2.1 but source was compiled with: 8.6.0."),
    ("nvjitlink-symbol", {}, "undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12"),
    ("glibc-too-old", {}, "python3: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.28' not found"),
    ("keras3-load", {}, "ValueError: File format not supported: filepath=m. Keras 3 only supports V3 `.keras` files"),
    ("numpy2-abi", {}, "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.1 as it may crash"),
    ("illegal-instruction", {}, "./run.sh: line 30:    17 Illegal instruction     (core dumped) python3 train.py"),
    ("disk-full", {}, "h5py: OSError: [Errno 28] No space left on device"),
    ("shm-bus-error", {}, "RuntimeError: DataLoader worker (pid 21) is killed by signal: Bus error."),
    ("opencl-lost", {}, "pyopencl._cl.RuntimeError: clEnqueueReadBuffer failed: OUT_OF_RESOURCES"),
    ("opencl-lost", {}, "Error CL_OUT_OF_RESOURCES when calling clEnqueueReadBuffer to fetch results."),
    ("opencl-no-driver", {}, "pyopencl._cl.LogicError: clGetPlatformIDs failed: PLATFORM_NOT_FOUND_KHR"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "facts", "line"), LINES, ids=[line[0] for line in LINES])
def test_a_real_line_is_known(row: str, facts: dict[str, float], line: str) -> None:
    found = failures.matches(f"training 3/9\n{line}\n", facts)[0].failure
    assert found.id == row
    told = explain_stderr.explain(f"training 3/9\n{line}\n", facts)
    assert told.matches[0].line == 2 and told.matches[0].failure.id == row
    assert found.fix in told.sentence


def test_every_pattern_has_such_a_line() -> None:
    assert {row.id for row in failures.table() if row.pattern} == {line[0] for line in LINES}


def test_the_json_is_the_toml() -> None:
    assert failures.TABLE.read_bytes() == data_json.as_json(TOML), "run python -m submit.data_json"


def test_every_row_is_whole() -> None:
    rows = failures.table()
    assert len(rows) >= 40 and len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.verdict in (failures.MACHINE, failures.REQUEST, failures.WARNING), row.id
        assert row.pattern or row.cuda_result or row.nvml_result or row.check, row.id
        assert row.confidence in ("high", "medium") and row.sources, row.id
        assert set(row.sources) <= set(failures.sources()), row.id
        assert set(row.condition) <= {f"capability_{kind}" for kind in ("min", "max", "below")}, row.id
        assert ";" not in row.where + row.wanted and "\n" not in row.diagnosis + row.fix, row.id
        re.compile(row.pattern)
    codes = [code for row in rows for code in row.cuda_result]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("CUDA_ERROR_INVALID_HANDLE", HOPPER),
        ("CUDA_ERROR_INVALID_HANDLE", {}),
        ("Segmentation fault", HOPPER),
        ("CUBLAS_STATUS_EXECUTION_FAILED", {"capability": 7.5}),
        ("OOM when allocating tensor with shape[9] and type float on /job:localhost/device:CPU:0 by allocator cpu", {}),
        ("KeyError: 'flair'", {}),
        ("loss: nan at step 3; a number; lower train.learning_rate", {}),
    ],
)
def test_other_lines_are_not(line: str, facts: dict[str, float]) -> None:
    assert failures.matches(line, facts) == []


def test_results_and_checks() -> None:
    assert failures.by_cuda_result(214).id == "ecc-uncorrectable"
    assert failures.by_cuda_result(12345).id == "cuda-other"
    assert failures.by_nvml_result(3) is None
    with pytest.raises(KeyError):
        failures.by_check("no-such-row")


@given(st.text(max_size=300), st.dictionaries(st.sampled_from(["capability", "runtime", "x"]), st.floats()))
def test_no_text_breaks_it(text: str, facts: dict[str, float]) -> None:
    failures.matches(text, facts)


@given(st.sampled_from(LINES), st.text(max_size=40), st.text(max_size=40))
def test_a_known_line_is_found_among_others(known: Any, before: str, after: str) -> None:
    row, facts, line = known
    assert row in {match.failure.id for match in failures.matches(f"{before}\n{line}\n{after}", facts)}


def test_a_long_log_costs_little() -> None:
    text = "2026-11-23 10:00:00.000 I tensorflow/core/common.cc:12] step 12 of 4000: loss 0.1234\n" * 100_000
    began = time.process_time()
    assert failures.matches(text + "x" * 10_000_000) == []
    assert time.process_time() - began < 10
