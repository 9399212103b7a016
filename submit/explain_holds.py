"""What a hold means: a row of data/holds.toml for its code, subcode and reason.

row, values = explain_holds.find(13, 2, "Transfer input files failure at access point ...")
row.what, values["file"]
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).parent / "data" / "holds.toml"
LONGEST_REASON = 2000  # characters that are looked at
UNKNOWN = "unknown-hold"
_URL = re.compile(r"((?:[a-z]+\+)?(?:osdf|pelican|stash|https?|s3|gs|ftp)://[^\s|,;)]+?)(?=:? |[|,;)]|:?$)")
_URL_FILE = re.compile(r"URL file = ([^\s|)]+)")  # how HTCondor names it at the end of a plugin's words


@dataclass(frozen=True)
class Hold:
    """A row; its fields are explained at the head of the table."""

    id: str
    code: int
    fault: str
    helps: bool
    waits: str
    what: str
    mend: str
    subcode: tuple[int, ...] = ()
    pattern: str = ""
    url: bool = False
    seen: bool = False


@lru_cache(maxsize=1)
def table() -> tuple[Hold, ...]:
    """Every row, in the order of precedence."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["hold"]
    return tuple(Hold(**{**row, "subcode": tuple(row.get("subcode", ()))}) for row in rows)


def find(code: int, subcode: int, reason: str) -> tuple[Hold, dict[str, str]]:
    """The row, and what its pattern found in the reason; a row of no code where the table knows none."""
    reason = " ".join(reason.split())[:LONGEST_REASON]
    urls = _URL_FILE.search(reason) or _URL.search(reason)
    for row in table():
        if row.code != code or (row.subcode and subcode not in row.subcode) or (row.url and not urls):
            continue
        if found := re.search(row.pattern, reason):
            values = {name: text or "" for name, text in found.groupdict().items()}
            return row, {"reason": reason, "url": urls[1] if urls else "", **values}
    unknown = Hold(
        id=UNKNOWN,
        code=code,
        fault="unclear",
        helps=False,
        waits="it stays held until it is released",
        what=f"held with code {code}, subcode {subcode}, which the kit's table does not know: {{reason}}",
        mend="read the reason; condor_release {job} tries it once more",
    )
    return unknown, {"reason": reason or "no reason given"}
