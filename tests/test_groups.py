"""Tests that share files run one after the other."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("groups")
def test_pytest_xdist_knows_the_group(request: pytest.FixtureRequest) -> None:
    """pytest 9.2 with pytest-xdist 3.8 ran a group on two workers, which took each other's files."""
    if not request.config.getoption("loadgroup", False):
        pytest.skip("not on workers by group")
    assert request.node.nodeid.endswith("@groups")
