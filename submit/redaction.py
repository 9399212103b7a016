"""Takes credentials out of what other programs say, before a person or a log sees it."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
# What follows is a secret. A bare `token:` is not among them: clients write "token: not found".
_NAMES = r"authz|access_token|refresh_token|id_token|client_secret|X-Amz-Signature|X-Amz-Security-Token"
_RULES = [
    (re.compile(r"\b(bearer(?:\s|%20|\+)+)(?!\[)[^\s\"',;&]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"\b((?:{_NAMES})[\"']?\s*[=:]\s*[\"']?)(?!\[|bearer)[^\s\"',;&]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b((?:token|password)=[\"']?)(?!\[|bearer)[^\s\"',;&]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    # RFC 7519: base64url parts with dots between them, the first of which is a JSON object and so begins `ey` or `ew`
    (re.compile(r"(?<![A-Za-z0-9])e[yw][A-Za-z0-9_=-]{6,}\.[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_=-]*)?"), HIDDEN),
    # one that was cut short
    (re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_=-]{10,}"), HIDDEN),
]


def redacted(text: str) -> str:
    """`text` without JSON web tokens, `Bearer ...` and values of parameters that carry secrets."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text
