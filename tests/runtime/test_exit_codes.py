from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import classad2
import htcondor2  # noqa: F401 - before classad2 is used
import pytest

from submit.runtime import exit_codes
from submit.runtime.exit_codes import BadInput, BadMachine, Checkpointed

REPO = Path(__file__).resolve().parents[2]

ROOT = Path(__file__).parents[2]


def raising(fault: BaseException) -> Any:
    def main() -> int:
        raise fault

    return main


def test_done_clears_the_last_reason(starter: Any) -> None:
    assert exit_codes.run(lambda: None) == 0
    assert exit_codes.run(lambda: 3) == 3
    assert starter.attributes == {"ChirpOsgdlReason": '""'}


def test_bad_input_is_one_line_and_the_hold_reason(starter: Any, capsys: Any) -> None:
    fault = BadInput("p7/t1c.nii.gz", "shape 240x240x154", "240x240x155", "re-export\nit")
    assert exit_codes.run(raising(fault)) == 65
    assert capsys.readouterr().err == "p7/t1c.nii.gz: shape 240x240x154; 240x240x155; re-export it\n"
    assert starter.attributes["ChirpOsgdlReason"] == '"p7/t1c.nii.gz: shape 240x240x154; 240x240x155; re-export it"'
    assert "ChirpOsgdlAvoid" not in starter.attributes


def test_debug_shows_where(capsys: Any) -> None:
    assert exit_codes.run(raising(BadInput("a", "b", "c", "d")), debug=True) == 65
    assert "Traceback" in capsys.readouterr().err


def test_a_bad_machine_is_remembered_the_last_three(starter: Any, job: Any, capsys: Any) -> None:
    job.ads(machine='Machine = "d.example"\n', job='ChirpOsgdlAvoid = "a.example,b.example, D.example,c.example"\n')
    assert exit_codes.run(raising(BadMachine("GPU", "0 visible", "1", "try elsewhere"))) == 75
    assert starter.attributes["ChirpOsgdlAvoid"] == '"b.example,c.example,d.example"'
    assert starter.attributes["ChirpOsgdlReason"].endswith('[on d.example]"')
    assert "Traceback" not in capsys.readouterr().err


def test_a_first_bad_machine(starter: Any, job: Any) -> None:
    job.ads(machine='Machine = "d.example"\n', job="ClusterId = 1\n")
    exit_codes.run(raising(BadMachine("a", "b", "c", "d")))
    assert starter.attributes["ChirpOsgdlAvoid"] == '"d.example"'


def test_a_full_disk_is_the_machines_fault(starter: Any, job: Any) -> None:
    job.ads(machine='Machine = "d.example"\n')
    assert exit_codes.run(raising(OSError(errno.ENOSPC, "No space left on device", "out/model.keras"))) == 75
    assert starter.attributes["ChirpOsgdlReason"].startswith('"out/model.keras: No space left on device;')


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (OSError(errno.EACCES, "Permission denied", "x"), "PermissionError: [Errno 13] Permission denied: 'x'"),
        (MemoryError(), "memory: the process ran out; it needs more than the slot has; raise request_memory"),
    ],
)
def test_anything_else_is_a_bug_with_its_traceback(starter: Any, capsys: Any, fault: Exception, reason: str) -> None:
    assert exit_codes.run(raising(fault)) == 1
    assert starter.attributes["ChirpOsgdlReason"] == f'"{reason}"'
    assert "Traceback" in capsys.readouterr().err


def test_checkpointed_and_interrupted_are_not_faults(starter: Any, capsys: Any) -> None:
    assert exit_codes.run(raising(Checkpointed("step 7 of 9 saved"))) == 85
    assert exit_codes.run(raising(KeyboardInterrupt())) == 130
    assert starter.attributes == {"ChirpOsgdlReason": '""'}
    assert "Traceback" not in capsys.readouterr().err


def test_an_exit_by_name_passes() -> None:
    with pytest.raises(SystemExit):
        exit_codes.run(raising(SystemExit(2)))


def test_a_failure_in_words_counts_as_a_bug_without_a_traceback(starter: Any, capsys: Any) -> None:
    assert exit_codes.run(raising(exit_codes.Fault("loss", "nan", "a number", "lower train.learning_rate"))) == 1
    assert capsys.readouterr().err == "loss: nan; a number; lower train.learning_rate\n"
    assert starter.attributes["ChirpOsgdlReason"] == '"loss: nan; a number; lower train.learning_rate"'


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        (
            RuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered"),
            75,
            "GPU memory: ",
        ),
        (RuntimeError("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."), 75, "GPU: RuntimeError: NVRM"),
        (OSError("libcuda.so.1: cannot open shared object file"), 75, "libcuda.so.1: OSError: "),
        (ImportError("libcudnn.so.9: cannot open shared object file"), 65, "GPU: ImportError: libcudnn.so.9"),
        (ValueError("CUDA_ERROR_INVALID_HANDLE"), 1, "ValueError: CUDA_ERROR_INVALID_HANDLE"),
    ],
)
def test_what_a_framework_raises_is_looked_up(
    starter: Any, job: Any, capsys: Any, fault: Exception, code: int, reason: str
) -> None:
    job.ads(machine='Machine = "d.example"\nGPUs_Capability = 9.0\n')
    assert exit_codes.run(raising(fault)) == code
    assert starter.attributes["ChirpOsgdlReason"].startswith(f'"{reason}')
    assert ("ChirpOsgdlAvoid" in starter.attributes) == (code == 75)
    assert "Traceback" in capsys.readouterr().err


def test_the_gpu_decides_where_a_row_has_a_condition(starter: Any, job: Any) -> None:
    job.ads(machine='Machine = "d.example"\nGPUs_GPU_1 = [ Capability = 12.0; id = "GPU-1" ]\n')
    assert exit_codes.run(raising(ValueError("CUDA_ERROR_INVALID_HANDLE"))) == 65
    assert "gpus_maximum_capability" in starter.attributes["ChirpOsgdlReason"]


def test_a_site_is_avoided_when_two_of_its_machines_were_bad(starter: Any, job: Any) -> None:
    """Each try reads what the tries before it left in the job's ad, as in the queue."""
    tried = [
        ("a1", "San Diego", None),
        ("b1", "Nebraska", None),
        ("a1", "San Diego", None),  # the same machine twice is one machine
        ("a2", "San Diego", "San Diego"),
        ("b2", "Nebraska", "Nebraska,San Diego"),
        ("c1", "Utah", "Nebraska,San Diego"),
        ("c2", "Utah", "Utah,Nebraska"),  # two at most
        ("d1", "", "Utah,Nebraska"),
    ]
    for machine, site, sites in tried:
        ad = "".join(f"{name} = {value}\n" for name, value in starter.attributes.items())
        job.ads(machine=f'Machine = "{machine}"\nGLIDEIN_Site = "{site}"\n', job=ad)
        assert exit_codes.run(raising(BadMachine("a", "b", "c", "d"))) == 75
        assert starter.attributes.get("ChirpOsgdlAvoidSites") == (sites and f'"{sites}"')
    assert starter.attributes["ChirpOsgdlAvoid"] == '"c1,c2,d1"'
    assert starter.attributes["ChirpOsgdlReturned75"].count("@") == 6


def test_the_submit_files_line_keeps_off_such_a_site() -> None:
    """The line of exit_codes.sub, evaluated by HTCondor."""
    text = (ROOT / "templates/shared/exit_codes.sub").read_text()
    clause = re.search(r"!stringListIMember\(TARGET\.GLIDEIN_Site.*\)", text)
    assert clause
    job = classad2.ClassAd()
    job["Requirements"] = classad2.ExprTree(clause[0])
    for avoided, site, runs in [
        (None, "Utah", True),
        ("Utah,San Diego", "San Diego", False),
        ("Utah,San Diego", "Diego", True),
        ("Utah", None, True),
        ("Utah", "utah", False),
    ]:
        slot = classad2.ClassAd()
        if site:
            slot["GLIDEIN_Site"] = site
        if avoided:
            job["ChirpOsgdlAvoidSites"] = avoided
        assert slot.matches(job) is runs, (avoided, site)


def test_what_is_remembered_is_never_cut(starter: Any, job: Any) -> None:
    names = [f"{'x' * 90}{number}@Nebraska" for number in range(6)]
    job.ads(
        machine=f'Machine = "{"y" * 90}"\nGLIDEIN_Site = "Utah"\n', job=f'ChirpOsgdlReturned75 = "{",".join(names)}"\n'
    )
    exit_codes.run(raising(BadMachine("a", "b", "c", "d")))
    remembered = starter.attributes["ChirpOsgdlReturned75"].strip('"').split(",")
    assert remembered == [*names[2:], f"{'y' * 90}@Utah"]


def test_the_end_is_at_once_and_nothing_printed_is_lost() -> None:
    script = (
        "import atexit, sys; from submit.runtime import exit_codes; atexit.register(print, 'teardown');"
        "print('out'); print('err', file=sys.stderr); exit_codes.end(85)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (85, "out\n", "err\n")
