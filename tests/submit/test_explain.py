from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import explain
from submit.errors import KitError
from submit.runtime import failures
from submit.runtime.findings import Finding

LOG = """\
training 10/100  1:30 left  loss 0.10
2026-11-23 10:00:00 E external/xla/cuda_driver.cc:1080] failed to synchronize: CUDA_ERROR_ECC_UNCORRECTABLE
CUDA_ERROR_OUT_OF_MEMORY: out of memory
"""


def test_what_happened_whose_fault_and_what_mends_it() -> None:
    told = explain.explain(LOG)
    assert [(match.failure.id, match.line) for match in told.matches] == [("ecc-uncorrectable", 2), ("oom", 3)]
    assert told.sentence == (
        "The GPU's memory has a hardware fault (uncorrectable ECC error); such machines often stay in service: the "
        "machine's fault, not yours; waiting helps, because the next try goes to another machine; the job is tried "
        "elsewhere; report the machine to its site."
    )
    assert told.as_dict()["found"][0]["sources"][0] == "MFlowCode/MFC#1748"  # type: ignore[index]


def test_a_wrong_request_is_not_waited_for() -> None:
    told = explain.explain("CUDA error: no kernel image is available for execution on the device")
    assert "the request or the image is at fault; waiting does not help" in told.sentence
    assert "gpus_maximum_capability" in told.sentence


def test_what_depends_on_the_gpu() -> None:
    line = "Segmentation fault"
    assert [match.failure.id for match in explain.explain(line).possible] == ["cudnn-pre-turing"]
    assert explain.explain(line).sentence.startswith("On a GPU of capability below 7.5: cuDNN 9.11")
    assert [match.failure.id for match in explain.explain(line, {"capability": 7.0}).matches] == ["cudnn-pre-turing"]
    known = explain.explain(line, {"capability": 9.0})
    assert not known.matches and not known.possible and known.sentence.startswith("Nothing that the table")


@pytest.mark.parametrize("row", [row for row in failures.table() if row.check or row.cuda_result], ids=lambda r: r.id)
def test_the_kits_own_lines_are_understood(row: failures.Failure) -> None:
    """What the preflight says of a row is read back as a row with the same verdict and the same mend."""
    (match, *_) = explain.explain(f"hello\n{Finding(row, 'held').fault} [on gpu07.unl.example]\n").matches
    assert (match.failure.verdict, match.failure.fix, match.line) == (row.verdict, row.fix, 2)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "1.0.err"
    file.write_bytes(b"\xff\n" * 3 + LOG.encode())
    assert explain.read(file).matches[0].line == 5
    with pytest.raises(KitError, match=r"absent\.err: No such file or directory; want the error file of a job"):
        explain.read(tmp_path / "absent.err")


@given(st.text(max_size=300))
def test_any_text_is_explained(text: str) -> None:
    assert explain.explain(text).sentence
