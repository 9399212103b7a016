"""Requests taken apart and counted against slots."""

from __future__ import annotations

from pathlib import Path

import classad2
import htcondor2  # noqa: F401 - before the first ad with countMatches
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import match, preview_table
from submit.errors import KitError
from submit.preview import Preview
from submit.slots import Slots


def slot(site: str, memory: int, *gpus: str) -> str:
    """A slot's ad with GPUs of the form `Capability = 9.0; GlobalMemoryMb = 81079`."""
    names = [f"GPUs_GPU_{number:04x}" for number in range(len(gpus))]
    nested = [f'{name} = [ Id = "x"; DeviceName = "{gpu[-6:]}"; {gpu} ]' for name, gpu in zip(names, gpus, strict=True)]
    lines = [f'GLIDEIN_Site = "{site}"', f"Memory = {memory}", "HAS_SINGULARITY = true", "Requirements = START"]
    lines += ["START = TARGET.ProjectName =!= undefined", f"AvailableGPUs = {{ {', '.join(names)} }}", *nested]
    return "\n".join(lines)


H100 = "Capability = 9.0; GlobalMemoryMb = 81079"
T4 = "Capability = 7.5; GlobalMemoryMb = 15109"
SLOTS = [slot("A", 4096, H100), slot("A", 1024, H100), slot("B", 4096, T4), slot("B", 8192, T4, H100)]
JOB = """Requirements=(HAS_SINGULARITY =?= True) && (TARGET.Memory >= RequestMemory) && \\
(countMatches(MY.RequireGPUs, TARGET.AvailableGPUs) >= RequestGPUs)
RequestMemory=2048
RequestGPUs=1
ProjectName="X"
GPUsMinCapability=8.0
GPUsMinMemory=20480
RequireGPUs=Capability >= GPUsMinCapability && GlobalMemoryMb >= GPUsMinMemory""".replace("\\\n", "")


def test_each_clause_and_each_bound_of_a_gpu_is_counted() -> None:
    found = match.match(JOB, Slots.of_ads(SLOTS))
    assert (found.slots, found.matching_slots, found.matching_gpus) == (4, 2, 2)
    rows = [(clause.text, clause.alone, clause.survivors, clause.gain_if_dropped) for clause in found.clauses]
    assert rows == [
        ("HAS_SINGULARITY is true", 4, 4, 0),
        ("request_memory: TARGET.Memory >= 2048", 3, 3, 1),
        ("gpus_minimum_capability: Capability >= 8.0", 3, 2, 0),
        ("gpus_minimum_memory: GlobalMemoryMb >= 20480", 3, 2, 0),
        (match.OWN_TERMS, 4, 2, 0),
    ]
    assert found.clauses[1].relaxed == (1024, 1)
    assert found.by_site == {"A": 1, "B": 1}


def test_what_a_bound_of_the_gpu_costs() -> None:
    """The T4 fails both bounds, so dropping one alone wins nothing; with one bound it does."""
    job = JOB.replace(" && GlobalMemoryMb >= GPUsMinMemory", "")
    (clause,) = [clause for clause in match.match(job, Slots.of_ads(SLOTS)).clauses if "capability" in clause.text]
    assert clause.gain_if_dropped == 1 and clause.relaxed == (7.5, 1)


def test_bounds_that_no_one_gpu_meets_together() -> None:
    """One GPU is new and small, the other old and large: each bound is met, both by none."""
    mixed = slot("C", 4096, "Capability = 9.0; GlobalMemoryMb = 8000", "Capability = 7.0; GlobalMemoryMb = 32000")
    found = match.match(JOB, Slots.of_ads([mixed]))
    assert found.matching_slots == 0
    assert [clause.gain_if_dropped for clause in found.clauses] == [0, 0, 1, 1, 0]


def test_the_slot_has_terms_too() -> None:
    found = match.match(JOB.replace('ProjectName="X"', "Other=1"), Slots.of_ads(SLOTS))
    assert found.matching_slots == 0 and found.clauses[-1].gain_if_dropped == 2


def test_all_gpus_are_busy() -> None:
    """The slots that have them show none: no clause is to blame, and none should be relaxed."""
    busy = Slots.of_ads([slot("A", 4096), slot("B", 4096)])
    found = match.match(JOB, busy)
    assert found.no_gpu_free and not match.match(JOB, Slots.of_ads(SLOTS)).no_gpu_free
    assert not match.match('Requirements = TARGET.Memory >= 5000\nProjectName = "X"', busy).no_gpu_free
    said = preview_table.verdict(Preview(Path("train.sub"), "this access point's pool", 1, found, []))
    assert "no GPU is free" in said and said.endswith("let it wait: osgdl submit train.sub --yes.")


def test_a_job_without_gpus_and_a_pool_without_slots() -> None:
    job = 'Requirements = TARGET.Memory >= 5000\nProjectName = "X"'
    found = match.match(job, Slots.of_ads(SLOTS))
    assert (found.matching_slots, found.matching_gpus, found.by_gpu) == (1, 0, {})
    assert match.match(job, Slots.of_ads([])).matching_slots == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([(), (H100,), (T4,), (T4, H100)])), max_size=8),
    st.integers(0, 4096),
    st.sampled_from(["7.0", "8.0", "9.5"]),
)
def test_it_is_what_whole_ads_say_one_by_one(
    shapes: list[tuple[int, tuple[str, ...]]], memory: int, least: str
) -> None:
    ads = [slot(f"S{size}", 1024 * size, *gpus) for size, gpus in shapes]
    job = JOB.replace("RequestMemory=2048", f"RequestMemory={memory}").replace("Capability=8.0", f"Capability={least}")
    whole = classad2.parseOne(job, classad2.ParserType.Old)
    expected = sum(classad2.parseOne(ad, classad2.ParserType.Old).symmetricMatch(whole) for ad in ads)
    assert match.match(job, Slots.of_ads(ads)).matching_slots == expected


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("a && b", ["a", "b"]),
        ("((a) && (b || c && d))", ["a", "b || c && d"]),
        ('f("x && \\" (", y) && z', ['f("x && \\" (", y)', "z"]),
        ("(a) || (b)", ["(a) || (b)"]),
        ("member(x, {1 && 2})", ["member(x, {1 && 2})"]),
        ("", []),
    ],
)
def test_split(expression: str, parts: list[str]) -> None:
    assert match.split(expression) == parts


atoms = st.sampled_from(["A", "B", "C > 1", 'D == "x && (y"', "E =?= undefined", "(A || B)"])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).flatmap(
            lambda parts: st.lists(st.sampled_from([" && ", " || "]), min_size=len(parts), max_size=len(parts)).map(
                lambda joints: "".join(part + joint for part, joint in zip(parts, [*joints[:-1], ""], strict=True))
            )
        ),
        inner.map(lambda part: f"({part})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) ? ({t[1]}) : ({t[2]})"),
    ),
)


@given(expressions, st.lists(st.booleans(), min_size=2, max_size=2))
def test_the_parts_joined_again_mean_the_same(expression: str, values: list[bool]) -> None:
    ad = classad2.ClassAd({"A": values[0], "B": values[1], "C": 2, "D": "x && (y"})
    joined = " && ".join(f"({part})" for part in match.split(expression))
    assert classad2.ExprTree(joined).eval(ad) == classad2.ExprTree(expression).eval(ad)


def test_a_table_that_holds_no_expressions_is_named() -> None:
    slots = Slots.of_ads(["Requirements = (("])
    with pytest.raises(KitError, match=r"^slots: requirements='\(\(': no ClassAd expression; want what condor_status"):
        match.match("Requirements = true", slots)
