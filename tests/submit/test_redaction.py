"""No credential survives, and what is none does."""

from __future__ import annotations

import base64
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submit.redaction import redacted

SEGMENT = st.text(string.ascii_letters + string.digits + "-_", min_size=8, max_size=200)


def encoded(value: dict[str, str], indent: int | None = None) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, indent=indent).encode()).decode().rstrip("=")


@given(SEGMENT, SEGMENT, st.sampled_from([None, 1]), st.sampled_from(["", "token ", "(", "https://h/x?authz=", '"']))
def test_a_token_goes_wherever_it_stands(payload: str, signature: str, indent: int | None, before: str) -> None:
    token = f"{encoded({'alg': 'ES256', 'kid': 'a1b2'}, indent)}.{encoded({'sub': payload}, indent)}.{signature}"
    shown = redacted(f"cannot upload: {before}{token} was refused (403)")
    assert signature not in shown
    assert token[:20] not in shown
    assert shown.startswith("cannot upload: ")
    assert shown.endswith(" was refused (403)")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: Bearer abc/def+1==", "Authorization: Bearer [hidden]"),
        ("authorization: bearer  s3cret, next", "authorization: bearer  [hidden], next"),
        ("GET /x?authz=Bearer%20opaque1234&directread HTTP", "GET /x?authz=Bearer%20[hidden]&directread HTTP"),
        ('{"access_token": "opaque", "expires_in": 5}', '{"access_token": "[hidden]", "expires_in": 5}'),
        ("retry with token=opaque please", "retry with token=[hidden] please"),
        ("cut off: eyJhbGciOiJFUzI1NiIs", "cut off: [hidden]"),
    ],
)
def test_other_forms(said: str, shown: str) -> None:
    assert redacted(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "remote object already exists, upload aborted",
        "failed to get token: no credentials found in _CONDOR_CREDS",
        "osdf:///ospool/ap40/data/jane/eyes.tar.zst: object not found at endpoint https://osdf-director.osg-htc.org",
        "Attempt #2: connection refused (1.2s elapsed, 3.4s since start)",
    ],
)
def test_words_without_secrets_stay(said: str) -> None:
    assert redacted(said) == said
