from __future__ import annotations

import errno
from typing import Any

import pytest

from submit.runtime import exit_codes
from submit.runtime.exit_codes import BadInput, BadMachine, Checkpointed


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
