from __future__ import annotations

from typing import Any

import classad2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import classad, gpu_ad, request, visible

LONG = "ddc1c098-3c4a-2b7e-9d11-0123456789ab"


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        (None, visible.UNSET, ()),
        ("", visible.HIDDEN, ("",)),
        ("10000", visible.HIDDEN, ()),
        ("-1", visible.HIDDEN, ()),
        ("NoDevFiles", visible.HIDDEN, ()),
        ("0", visible.INDICES, ("0",)),
        ("0, 1", visible.INDICES, ("0", "1")),
        ("GPU-ddc1c098", visible.UUIDS, ("GPU-ddc1c098",)),
        (f"GPU-{LONG},MIG-{LONG}", visible.UUIDS, (f"GPU-{LONG}", f"MIG-{LONG}")),
        (f"MIG-GPU-{LONG}/7/0", visible.UUIDS, (f"MIG-GPU-{LONG}/7/0",)),
        ("GPU-ddc1c098,1", visible.ODD, ("GPU-ddc1c098", "1")),
        ("all", visible.ODD, ("all",)),
    ],
)
def test_the_forms(text: str | None, kind: str, names: tuple[str, ...]) -> None:
    parsed = visible.parse(text)
    assert parsed.kind == kind and (kind == visible.HIDDEN or parsed.names == names)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GPU-ddc1c098", f"GPU-{LONG}", True),
        (f"GPU-{LONG}".upper(), "GPU-ddc1c098", True),
        (f"MIG-GPU-{LONG}/7/0", f"GPU-{LONG}", True),
        ("GPU-ddc1c098", "GPU-ddc1c099", False),
        ("CUDA0", "CUDA0", True),
        ("CUDA0", "GPU-ddc1c098", False),
    ],
)
def test_short_names_are_those_of_long_ones(one: str, other: str, same: bool) -> None:
    assert visible.same(one, other) is same and visible.same(other, one) is same


@given(
    st.one_of(st.none(), st.text(max_size=60), st.from_regex(r"((GPU|MIG)-[0-9a-f/-]{0,12},?){0,4}", fullmatch=True))
)
def test_no_value_breaks_it(text: str | None) -> None:
    for found in visible.check(text, ["GPU-ddc1c098"], request.Request(gpus=1)):
        assert found.failure.verdict == "machine" or found.is_warning


@pytest.mark.parametrize(
    ("environment", "sets"),
    [
        ('"CUDA_VISIBLE_DEVICES=0"', True),
        ("\"A=1 CUDA_VISIBLE_DEVICES='0'\"", True),
        ('"MY_CUDA_VISIBLE_DEVICES=0"', False),
        ('"A=1"', False),
    ],
)
def test_who_set_it(environment: str, sets: bool) -> None:
    assert request.read(classad.parse(f"Environment = {environment}\n")).sets_visible is sets


@pytest.mark.parametrize(
    ("require", "capability", "memory"),
    [
        ("(Capability >= GPUsMinCapability) && (GlobalMemoryMb >= GPUsMinMemory)", 7.0, 40000),
        ("Capability >= 8.6", 8.6, 0),
        ("Capability >= 8.0 || regexp(\"A10\", DeviceName)", 0, 0),
        ("!(Capability >= 8.0)", 0, 0),
        ("DeviceName != \"x\" && Capability >= 8.0", 8.0, 0),
        ("undefined", 0, 0),
    ],
)  # fmt: skip
def test_bounds_are_what_the_match_used(require: str, capability: float, memory: float) -> None:
    asked = request.read(classad.parse(f"RequireGPUs = {require}\nGPUsMinCapability = 7.0\nGPUsMinMemory = 40000\n"))
    assert (asked.min_capability, asked.min_memory_mb) == (capability, memory)


def test_the_bounds_as_condor_submit_writes_them() -> None:
    """The ad of a job with gpus_minimum_capability alone, through HTCondor's own printer."""
    ad = classad2.ClassAd()
    ad["RequestGPUs"], ad["GPUsMinCapability"], ad["GPUsMaxCapability"] = 1, 7.0, 9.0
    ad["RequireGPUs"] = classad2.ExprTree("Capability >= GPUsMinCapability && Capability <= GPUsMaxCapability")
    asked = request.read(classad.parse(ad.printOld()))
    assert (asked.gpus, asked.min_capability, asked.max_capability) == (1, 7.0, 9.0)


def test_what_is_advertised_of_a_gpu(monkeypatch: Any) -> None:
    machine = classad.parse(
        'GPUs_GPU_0 = [ DeviceName = "A; B"; Capability = 8.0; id = "GPU-0" ]\n'
        "GPUs_MIG_1 = [ Capability = 9.0; ECCEnabled = true; MaxSupportedVersion = 12080 ]\nGPUs_GlobalMemoryMb = 5\n"
    )
    assert gpu_ad.properties(machine, "MIG-1")["ECCEnabled"] is True
    assert gpu_ad.facts(machine, ["MIG-1"]) == {"capability": 9.0, "runtime": 12080, "memory_mb": 5}
    assert gpu_ad.properties(machine)["DeviceName"] == "A; B"
    assert gpu_ad.facts(classad.parse("")) == {}
