"""What a job's stderr says: rows of the failure table, the last word, symptoms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import explain_stderr
from submit.errors import KitError
from submit.explain_cause import WHOSE
from submit.runtime import failures
from submit.runtime.findings import Finding

LOG = """\
training 10/100  1:30 left  loss 0.10
2026-11-23 10:00:00 E external/xla/cuda_driver.cc:1080] failed to synchronize: CUDA_ERROR_ECC_UNCORRECTABLE
CUDA_ERROR_OUT_OF_MEMORY: out of memory
"""
CHAINED = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    a()
KeyError: 't1'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 4, in <module>
    raise ValueError("no t1")
ValueError: no t1
cleaning up
"""


def test_what_happened_whose_fault_and_what_mends_it() -> None:
    told = explain_stderr.explain(LOG)
    assert [(match.failure.id, match.line) for match in told.matches] == [("ecc-uncorrectable", 2), ("oom", 3)]
    assert told.sentence == (
        "The GPU's memory has a hardware fault (uncorrectable ECC error); such machines often stay in service: the "
        "machine's fault, not yours; waiting helps, because the next try goes to another machine; the job is tried "
        "elsewhere; report the machine to its site."
    )
    assert told.as_dict()["found"][0]["sources"][0] == "MFlowCode/MFC#1748"  # type: ignore[index]


def test_a_wrong_request_is_not_waited_for() -> None:
    told = explain_stderr.explain("CUDA error: no kernel image is available for execution on the device")
    assert "the request or the image is at fault; waiting does not help" in told.sentence
    assert "gpus_maximum_capability" in told.sentence


def test_what_depends_on_the_gpu() -> None:
    line = "Segmentation fault"
    explain = explain_stderr.explain
    assert [match.failure.id for match in explain(line).possible] == ["segfault-pre-turing"]
    assert explain(line).sentence.startswith("On a GPU of capability below 7.5: it crashed in compiled code")
    assert [match.failure.id for match in explain(line, {"capability": 7.0}).matches] == ["segfault-pre-turing"]
    known = explain(line, {"capability": 9.0})
    assert not known.matches and not known.possible and known.sentence.startswith("Nothing that the table")


@pytest.mark.parametrize("row", [row for row in failures.table() if row.check or row.cuda_result], ids=lambda r: r.id)
def test_the_kits_own_lines_are_understood(row: failures.Failure) -> None:
    """What the preflight says of a row is read back as a row with the same verdict and the same mend."""
    text = f"hello\n{Finding(row, 'held').fault} [on gpu07.unl.example]\n"
    (match, *_) = explain_stderr.explain(text).matches
    assert (match.failure.verdict, match.failure.fix, match.line) == (row.verdict, row.fix, 2)


def test_the_last_word_is_what_the_last_traceback_raised() -> None:
    assert explain_stderr.explain(CHAINED).last_word == (11, "ValueError: no t1")
    assert explain_stderr.explain("a\n\nlast one\n\n").last_word == (3, "last one")
    assert explain_stderr.explain("").last_word == (0, "")
    torn = CHAINED.partition("ValueError: no")[0]
    assert explain_stderr.explain(torn).last_word[1] == 'raise ValueError("no t1")'
    assert explain_stderr.explain(CHAINED).tail[-1] == "cleaning up"


def test_symptoms_are_whole() -> None:
    rows = [*explain_stderr.symptoms(), *explain_stderr.exits()]
    for row in rows:
        assert row.fault in WHOSE and row.what, row.id
        names = {*re.compile(row.pattern).groupindex, "memory", "disk", "job", "line"}
        assert set(re.findall(r"(?<!\$)\{(\w+)\}", row.what + row.mend + row.waits)) <= names, row.id
        assert not row.before or row.waits, row.id
    codes = [(row.code, row.ended) for row in explain_stderr.exits()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("word", "id", "name"),
    [
        ("bash: line 3: nvcc: command not found", "command-not-found", "nvcc"),
        ("/usr/bin/env: 'bash\\r': No such file or directory", "windows-line-ends", ""),
        ("./run.sh: ./tool: Permission denied", "not-executable", "./tool"),
        ("PermissionError: [Errno 13] Permission denied: '/var/cache/x'", "permission", "/var/cache/x"),
        ("OSError: [Errno 30] Read-only file system: '/root/.keras'", "image-read-only", "/root/.keras"),
        ("OSError: [Errno 30] Read-only file system: '/srv/scratch/x'", "python-exception", ""),
        ("SyntaxError: invalid syntax", "syntax", ""),
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool", "network", ""),
        ("ImportError: cannot import name 'x' from 'y'", "import-failed", ""),
        ("mymodule.errors.NoSuchThing", "", ""),
        ("epoch 3 of 12: loss 0.02", "", ""),
        ("loss inferred from labels", "", ""),
        ("epoch 3: loss=nan", "diverged", ""),
        ("WARNING: loss scale is infinite", "", ""),
    ],
)
def test_a_last_word(word: str, id: str, name: str) -> None:
    found = explain_stderr.symptom(word)
    assert (found[0].id if found else "") == id
    if found and name:
        assert name in {found[1].get("name"), found[1].get("file")}


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "1.0.err"
    file.write_bytes(b"\xff\n" * 3 + LOG.encode())
    assert explain_stderr.read(file).matches[0].line == 5
    with pytest.raises(KitError, match=r"absent\.err: No such file or directory; want the error file of a job"):
        explain_stderr.read(tmp_path / "absent.err")


@given(st.text(max_size=300))
def test_any_text_is_explained(text: str) -> None:
    told = explain_stderr.explain(text)
    assert told.sentence and json.dumps(told.as_dict())
    explain_stderr.symptom(text)
