"""Every recorded failure is explained rightly: its cause, whose fault it is, whether waiting helps, what mends it.

failures.toml says what is right, by hand; recorded/ is what the jobs left on the local pool.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from submit import eventlog, explain_job, explain_log, explain_table

HERE = Path(__file__).parent / "failures"
ROWS: list[dict[str, Any]] = tomllib.loads((HERE / "failures.toml").read_text(encoding="utf-8"))["failure"]
RECORDED = [row for row in ROWS if "source" not in row]
KEYS = {"state", "cause", "fault", "helps", "mend", "what", "also", "certain"}


def left(row: dict[str, Any], folder: Path) -> tuple[Path, str | None, dict[str, Any]]:
    """The event log, the stderr and the ad of a row."""
    kept = HERE / "recorded" / row.get("borrows", row["name"])
    log = row["log"].lstrip("\n") if "log" in row else (kept / "job.log").read_text()
    if "cut" in row:  # as it stood after so many ends
        ends = [match.end() for match in re.finditer(r"(?ms)^004 .*?^\.\.\.\n", log)]
        log = log[: ends[row["cut"] - 1]]
    if "gpu" in row:
        log = re.sub(r"GPUs_Capability = [\d.]+", f"GPUs_Capability = {row['gpu']}", log)
    if "hold" in row:
        code, subcode, reason = row["hold"]
        head, _, _ = log.rpartition("\n012 ")[2].partition("\n")
        log = f"{log.rpartition(chr(10) + '012 ')[0]}\n012 {head}\n\t{reason}\n\tCode {code} Subcode {subcode}\n...\n"
    file = folder / "job.log"
    file.write_text(log)
    err, ad = kept / "job.err", kept / "job.json"
    text = row["stderr"] if "stderr" in row else err.read_text() if err.exists() and "log" not in row else None
    return file, text, json.loads(ad.read_text()) if ad.exists() and "source" not in row else {}


def told(row: dict[str, Any], folder: Path) -> explain_job.Told:
    log, stderr, ad = left(row, folder)
    ((name, history),) = eventlog.read(log).items()
    evidence = explain_log.read(log, [name])[name]
    return explain_job.told(
        history, evidence, stderr=stderr, now=history.submitted + 60, ad=ad, err="logs/job.err", log="logs/job.log"
    )


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_failure_is_explained_rightly(row: dict[str, Any], tmp_path: Path) -> None:
    right, found = row["right"], told(row, tmp_path)
    assert set(right) <= KEYS
    cause = found.cause
    said = {
        "state": found.state,
        "cause": cause.id,
        "fault": cause.fault,
        "helps": cause.helps,
        "certain": cause.certain,
    }
    assert said == {"certain": True, **{name: right[name] for name in said if name in right}}, explain_table.text(
        [found]
    )
    assert right.get("what", "") in cause.what
    assert right.get("mend", "") in cause.mend
    assert right.get("also", "") in " ".join(cause.also)


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_what_is_said_is_whole(row: dict[str, Any], tmp_path: Path) -> None:
    """No name is left unfilled, nothing is said twice, and what fails says what to do."""
    found = told(row, tmp_path)
    cause = found.cause
    for words in (cause.what, cause.waits, cause.mend, *cause.also):
        assert not re.search(r"(?<!\$)\{\w*\}", words), words
        assert "  " not in words and ";;" not in words, words
    assert cause.mend or cause.fault in ("nobody", "machine")
    text = explain_table.text([found])
    assert len(text) < 6000 and all(len(line) < 700 for line in text.split("\n"))
    if cause.fault == "unclear" and found.err:  # never a guess without what there is to look at
        assert found.tail


def test_there_are_enough_and_none_is_left_over() -> None:
    assert len(RECORDED) >= 40
    assert {row["name"] for row in RECORDED} == {folder.name for folder in (HERE / "recorded").iterdir()}
    assert len({row["name"] for row in ROWS}) == len(ROWS)


def test_the_page_has_the_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "when-a-job-fails.md").read_text()
    assert f"hold {len(ROWS)} failures" in page and f"{len(RECORDED)} were made on HTCondor" in page
    assert f"{len(ROWS) - len(RECORDED)} were composed" in page


@pytest.mark.parametrize("row", RECORDED, ids=[row["name"] for row in RECORDED])
def test_a_recording_is_small_and_names_no_machine_of_ours(row: dict[str, Any]) -> None:
    files = list((HERE / "recorded" / row["name"]).iterdir())
    assert sum(file.stat().st_size for file in files) < 30_000
    for file in files:
        text = file.read_text()
        assert not re.search(r"/(?:tmp|work|root)/", text)
