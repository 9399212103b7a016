from __future__ import annotations

from typing import Any

import classad2
import htcondor2  # noqa: F401 - before classad2 is used: alone, some functions evaluate to an error for ever
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import classad

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {"true", "false", "undefined", "error", "is", "isnt", "parent", "my", "target"}
)


def test_a_slot_ad() -> None:
    ad = classad.parse(
        'Machine = "gpu07.unl.example"\nCpus=4\nGPUs_Capability = 9.0\nOsgdlSimulatedGPU = true\n'
        'AvailableGPUs = { GPUs_a,GPUs_b }\nGPUs_GPU_a = [ id = "GPU-a"; DeviceName = "NVIDIA H100 80GB HBM3" ]\n'
        'Quoted = "say \\"no\\""\nBoth = "a" + "b"\nNone = undefined\n'
        "# a comment\n\nnot an assignment\nStart = (x == 1)\n"
    )
    assert ad["machine"] == "gpu07.unl.example"
    assert ad["Cpus"] == 4 and isinstance(ad["Cpus"], int)
    assert ad.number("gpus_capability") == 9.0
    assert ad["OsgdlSimulatedGPU"] is True
    assert ad["AvailableGPUs"] == "{ GPUs_a,GPUs_b }"
    assert ad["Quoted"] == 'say "no"'
    assert isinstance(ad["Both"], classad.Expression)
    assert ad.text("None", "-") == "-"
    assert ad.text("absent") == "" and ad.number("Machine", 3) == 3
    assert "absent" not in ad and "MACHINE" in ad


def test_the_last_of_two_assignments_counts() -> None:
    assert dict(classad.parse("A = 1\na = 2")) == {"a": 2}


def test_no_file_is_an_empty_ad(monkeypatch: Any) -> None:
    assert not classad.machine_ad()
    monkeypatch.setenv("_CONDOR_JOB_AD", "/nonexistent")
    assert not classad.job_ad()


@given(
    st.dictionaries(
        NAMES,
        st.one_of(
            st.booleans(),
            st.integers(-(2**60), 2**60),
            st.floats(-1e12, 1e12),
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n\\"), max_size=30).filter(
                lambda text: text == text.strip()
            ),
        ),
        max_size=5,
    )
)
def test_what_htcondor_prints_is_read_back(items: dict[str, Any]) -> None:
    ad = classad2.ClassAd()
    for name, value in items.items():
        ad[name] = value
    read = classad.parse(ad.printOld())
    assert {name.lower() for name in read} == {name.lower() for name in ad}
    for name in ad:
        assert read[name] == ad[name] or abs(read[name] - ad[name]) <= 1e-9 * abs(ad[name])
        assert type(read[name]) is type(ad[name])


@given(st.text(max_size=200))
def test_any_text_is_an_ad(text: str) -> None:
    classad.parse(text)
