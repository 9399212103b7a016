"""docs/faults.md names a test for every fault: each is there."""

from __future__ import annotations

from tests import pages


def test_every_test_that_the_page_names_is_there() -> None:
    rows = pages.named("faults.md")
    assert len(rows) > 20
    assert all(rows)
    assert {name for names in rows for name in names} <= pages.written()
