from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.units import mebibytes, size


@pytest.mark.parametrize(
    ("text", "mib"), [("10GB", 10240), ("10 gb", 10240), ("1T", 1048576), ("512MB", 512), ("2GiB", 2048), ("7m", 7)]
)
def test_htcondors_units_are_binary(text: str, mib: int) -> None:
    assert mebibytes(text) == mib


@pytest.mark.parametrize("text", ["", "0GB", "GB", "1.5GB", "-1GB", "1KB", "1GBB", "1GB\n", "１GB", "99999999GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; want a whole number above 0 and a unit"):
        mebibytes(text)


def test_a_bare_number_is_refused_because_its_unit_depends_on_the_command() -> None:
    with pytest.raises(ValueError, match=r"^has no unit; want"):
        mebibytes("10")


@given(st.integers(1, 10**9))
def test_size_is_exact(mib: int) -> None:
    if mib < 10**7:
        assert mebibytes(size(mib)) == mib
