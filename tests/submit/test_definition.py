"""A container recipe on another base."""

from __future__ import annotations

import pytest

from submit import definition
from submit.errors import ImageError

TEXT = """Bootstrap: docker
From: python:3.12-slim

# a comment
%post
    packages="
        tensorflow==2.21.0
        keras==3.15.1"
    cuda="nvidia-cudnn-cu12==9.10.2.21"
    python3 -m pip install $packages

%environment
    export A=1
"""


def test_pins_leave_the_cuda_libraries_out() -> None:
    assert definition.pins(TEXT) == ["tensorflow==2.21.0", "keras==3.15.1"]


def test_rebase_changes_the_header_and_the_environment_of_post_alone() -> None:
    text = definition.rebase(TEXT, "/base", {"PIP_NO_INDEX": "1"})
    assert text.startswith("Bootstrap: localimage\nFrom: /base\n")
    assert "python:3.12" not in text
    assert "%post\n    export PIP_NO_INDEX=1\n    packages=" in text
    assert text.endswith(TEXT[TEXT.index("    python3") :])


@pytest.mark.parametrize(
    ("text", "words"), [("From: x\n%post\n", "Bootstrap"), ("Bootstrap: docker\n%test\n", "%post")]
)
def test_what_is_no_recipe_is_refused(text: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        definition.rebase(text, "/base", {})
