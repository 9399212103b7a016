"""What goes wrong on the access point, in words a user can act on.

KitError            anything the user can mend; the command line prints its text alone and exits with `code`
|- AnswerError      an answer to a template's question that cannot be used
|- ImageError       a container image that cannot be named, built, found or pushed
|- PoolError        the local pool cannot start, or something in it failed
|- NoMatch          no slot of the pool meets the request of a job
|- StageError       data that cannot be staged: packed, uploaded, listed or read back
`- ToolMissing      a program that is not installed
"""

from __future__ import annotations


class KitError(Exception):
    """One line: which field or file, what it held, what is wanted, the edit or command that mends it."""

    code = 1


class AnswerError(KitError):
    """An answer to a template's question cannot be used."""


class ImageError(KitError):
    """A container image cannot be named, built, found or pushed."""


class PoolError(KitError):
    """The local pool cannot start, or something in it failed."""


class NoMatch(KitError):
    """No slot of the pool meets the request of a job."""


class StageError(KitError):
    """Data cannot be staged: packed, uploaded, listed or read back."""


class ToolMissing(KitError):
    """A program that the command needs is not installed."""


def wrong(field: str, value: object, what: str, wanted: str, fix: str) -> str:
    """The form of every message about a value: `<field>=<value>: <what is wrong>; <what is wanted>. <mend>`

    A long value is cut in the middle: the message stays one line a person reads.
    """
    shown = ascii(value) if not str(value).isprintable() else repr(value)
    if len(shown) > 100:
        shown = f"{shown[:70]}...{shown[-20:]}"
    return f"{field}={shown}: {what}; {wanted}. {fix.rstrip('.')}."
