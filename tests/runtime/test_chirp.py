from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import classad2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.runtime import chirp


def test_an_attribute_reaches_the_starter(starter: Any) -> None:
    assert chirp.publish("ChirpOsgdlReason", 'p7/t1c.nii: shape 1 2; "re-export"\tit\\ now')
    assert starter.attributes == {"ChirpOsgdlReason": r'"p7/t1c.nii: shape 1 2; \"re-export\" it\\ now"'}
    assert chirp.publish("ChirpOsgdlStep", 41)
    assert starter.attributes["ChirpOsgdlStep"] == "41"


def test_a_refusal_is_false(starter: Any) -> None:
    starter.answer = b"-3\n"
    assert not chirp.publish("ChirpOsgdlStep", 1)
    starter.cookie = "another"
    assert not chirp.publish("ChirpOsgdlStep", 1)


def test_outside_a_job_nothing_happens() -> None:
    assert not chirp.publish("ChirpOsgdlStep", 1)


def test_a_name_htcondor_would_refuse_is_a_bug() -> None:
    with pytest.raises(ValueError, match="begin with Chirp"):
        chirp.publish("OsgdlStep", 1)


@pytest.mark.parametrize("content", ["", "127.0.0.1", "127.0.0.1 notaport x", "127.0.0.1 1 x", "host.invalid 9 x"])
def test_trouble_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    config = tmp_path / "config"
    config.write_text(content)
    monkeypatch.setenv("_CONDOR_CHIRP_CONFIG", str(config))
    assert not chirp.publish("ChirpOsgdlStep", 1)


def test_a_starter_that_does_not_answer_costs_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "config"
        config.write_text(f"127.0.0.1 {silent.getsockname()[1]} cookie")
        monkeypatch.setenv("_CONDOR_CHIRP_CONFIG", str(config))
        monkeypatch.setattr(chirp, "TIMEOUT_S", 0.2)
        began = time.monotonic()
        assert not chirp.publish("ChirpOsgdlStep", 1)
        assert time.monotonic() - began < 2


@given(st.text(max_size=700))
def test_a_string_survives_htcondors_own_parser(text: str) -> None:
    value = classad2.ExprTree(chirp.quote(text)).eval()
    assert value == chirp.quote(text)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    assert len(value) <= chirp.LONGEST_STRING
    assert value.isprintable()


@given(st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_and_truth_survive_it_too(value: bool | int | float) -> None:
    assert classad2.ExprTree(chirp.quote(value)).eval() == value


def test_a_loss_that_is_not_a_number_is_still_a_literal() -> None:
    value = classad2.ExprTree(chirp.quote(float("nan"))).eval()
    assert value != value
