from __future__ import annotations

from submit.runtime import gpu
from submit.runtime.request import Request


def test_what_a_driver_prints_is_passed_over() -> None:
    probed = gpu._read(["hello", "{", '{"at": 1, "end": true}', "[]", '{"at": "x"}', "null", '{"stage": "a", "at": 2}'])
    assert probed.ended and probed.stage == "a"


def test_a_fault_of_the_probe_is_no_fault_of_the_machine() -> None:
    probed = gpu._read(
        ['{"at": 0, "stage": "query"}', '{"at": 0, "error": {"row": "cannot-check", "held": "KeyError: 1"}}']
    )
    findings = list(gpu.judge(probed, Request(gpus=1), []))
    assert [finding.is_warning for finding in findings] == [True]
