"""An Apptainer definition file as text: what it installs, and the same recipe on another base."""

from __future__ import annotations

import re
from collections.abc import Mapping

from submit.errors import ImageError

# `name==version` as pip writes it; the CUDA libraries are of no use without a GPU
_PIN = re.compile(r"(?<![\w.-])([A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+)")
_CUDA = ("nvidia-", "jax-cuda")


def pins(text: str) -> list[str]:
    """Every `name==version` that the definition installs, CUDA libraries left out, in its order."""
    found = dict.fromkeys(_PIN.findall(text))
    return [pin for pin in found if not pin.startswith(_CUDA)]


def rebase(text: str, base: str, environment: Mapping[str, str]) -> str:
    """The same definition on the folder `base`, with `environment` set for its %post.

    Raises ImageError where the definition has no Bootstrap line or no %post section.
    """
    header, found, rest = text.partition("\n%")
    if not found or not re.search(r"(?mi)^bootstrap\s*:", header):
        raise ImageError(
            "container.def: no `Bootstrap:` header; want an Apptainer definition. See the template's container.def"
        )
    if not re.search(r"(?m)^%post\s*$", found + rest):
        raise ImageError(
            "container.def: no %post section, so it installs nothing; add one, or use the template's container.def"
        )
    exports = "".join(f"    export {name}={value}\n" for name, value in environment.items())
    body = re.sub(r"(?m)^%post[ \t]*$\n", lambda match: f"%post\n{exports}", found[1:] + rest, count=1)
    return f"Bootstrap: localimage\nFrom: {base}\n\n{body}"
