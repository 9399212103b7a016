"""Requests taken apart and counted against slots."""

from __future__ import annotations

import classad2
import htcondor2  # noqa: F401 - before the first ad with countMatches
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit import match

SLOT = """Memory = 4096
HAS_SINGULARITY = true
AvailableGPUs = { [ Capability = 9.0; GlobalMemoryMb = 81079 ] }"""
JOB = """Requirements=(HAS_SINGULARITY =?= True) && (TARGET.Memory >= RequestMemory) && \
(countMatches(MY.RequireGPUs, TARGET.AvailableGPUs) >= RequestGPUs)
RequestMemory=2048
RequestGPUs=1
GPUsMinCapability=8.0
GPUsMinMemory=204800
RequireGPUs=Capability >= GPUsMinCapability && GlobalMemoryMb >= GPUsMinMemory"""


def test_each_clause_and_each_bound_of_a_gpu_is_counted() -> None:
    clauses, together = match.clauses(JOB, [SLOT, SLOT.replace("4096", "1024")])
    assert together == 0
    assert [(clause.text, clause.slots) for clause in clauses] == [
        ("HAS_SINGULARITY is true", 2),
        ("request_memory: TARGET.Memory >= 2048", 1),
        ("gpus_minimum_capability: Capability >= 8.0", 2),
        ("gpus_minimum_memory: GlobalMemoryMb >= 204800", 0),
    ]


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
