"""The OSDF by Pelican's client, for a machine where /ospool isn't mounted.

Written from the client's source at 7.27.0-rc.1 (cmd/object_*.go, client/acquire_token.go, oauth2/oauth2.go) and tested
on a stand-in that behaves so; it was never run on the real one, which cannot be installed where this is developed:

    PROGRAM object put FILE URL          0, 1 (of no use to try again), 11 (try again); it refuses a name that is taken
    PROGRAM object stat --json URL       {"Name", "Size", "ModTime", "IsCollection"}
    PROGRAM object ls --long --json URL  a list of the same
    PROGRAM object get URL FILE          through the caches
    PROGRAM object delete URL            a hidden command: the origin forgets it, the caches don't

The client finds the token itself: BEARER_TOKEN, the file BEARER_TOKEN_FILE, $XDG_RUNTIME_DIR/bt_uUID, /tmp/bt_uUID,
then HTCondor's $_CONDOR_CREDS/*.use, then its own wallet. We read none of them, and nothing that it prints is shown
before redaction.py has seen it. It logs a person in, or asks for the wallet's password, at a terminal: it gets none.

Whether a reader can see half an object is the origin's matter (Origin.EnableAtomicUploads, Origin.Posc.Enabled: both
are off unless its administrator turns them on). So a name counts once its size is right, and the manifest goes last.
Where a killed upload leaves half an object, the next run says so and stops: no client can tell it from one under way.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from submit import spool
from submit.errors import StageError
from submit.origin import DOCUMENTED_QUOTA, Room, bytes_words, checked, occupied, size_of
from submit.redaction import redacted

PROGRAMS = ("pelican", "osdf")
RETRYABLE = 11  # cmd/object_put.go
PAUSES = (5.0, 20.0)  # seconds before the second and the third try
# client/handle_http.go: ErrObjectNotFound, and what a listing says
_MISSING = ("object not found", "no such object")
_TAKEN = "already exists"
_NOT_ALLOWED = ("401", "403", "authoriz", "permission", "token", "credential")
_TOKENS = (
    "The client takes the token of BEARER_TOKEN, BEARER_TOKEN_FILE, $XDG_RUNTIME_DIR/bt_u{uid}, /tmp/bt_u{uid} or "
    "$_CONDOR_CREDS; or log in once at a terminal: {program} object ls {url}"
)


class PelicanOrigin(spool.Owner):
    """An origin at `url`, an osdf:/// one, by `program`, a path of Pelican's client."""

    def __init__(self, url: str, program: str) -> None:
        self.url, self.program = url, program
        self._lock = threading.Lock()

    def _run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and redacted stderr of `PROGRAM object ...`."""
        # with this set it would log a person in without a terminal
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_SKIP_TERMINAL_CHECK")}
        try:
            process = subprocess.Popen(
                [self.program, "object", *arguments],
                stdin=subprocess.PIPE,  # closed at once; /dev/null looks like a terminal to the client
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,  # no terminal to open
            )
        except OSError as error:
            raise StageError(
                f"{self.program}: cannot be run: {error.strerror}; Pelican's client is wanted. Install it again"
            ) from None
        with process:
            try:
                out, said = process.communicate("")
            except BaseException:
                process.kill()
                raise
        return process.returncode, out, redacted(said)

    def _patiently(self, *arguments: str) -> tuple[int, str, str]:
        """_run, tried again where the client says that it may help."""
        for pause in PAUSES:
            answer = self._run(*arguments)
            if answer[0] != RETRYABLE:
                return answer
            time.sleep(pause)
        return self._run(*arguments)

    def _failed(self, what: str, where: str, code: int, said: str) -> StageError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # the reason comes before "Errors are retryable"
        told = [line for line in lines if "retryable" not in line][-1:] or [f"exit code {code}"]
        mend = (
            "Try again later" if code == RETRYABLE else f"See what the client says: {self.program} object stat {where}"
        )
        if any(word in said.lower() for word in _NOT_ALLOWED):
            mend = _TOKENS.format(uid=os.getuid(), program=self.program, url=self.url)
        return StageError(f"{where}: {what} by {self.program} failed: {told[0][:300]}; {mend}")

    def _answer(self, what: str, where: str, *arguments: str) -> Any:
        """What the client prints as JSON; None where there is no such object."""
        code, out, said = self._patiently(*arguments, where)
        if code:
            if any(word in said.lower() for word in _MISSING):
                return None
            raise self._failed(what, where, code, said)
        try:
            return json.loads(out)
        except ValueError:
            raise self._failed(what, where, code, f"no JSON but {redacted(out)[:100]!r}") from None

    def spool(self) -> Path:
        with self._lock:  # of two, the first would go with what a thread has in it
            if self._spool is None:
                self._spool = spool.temporary()
            return self._spool.path

    def _listed(self) -> dict[str, tuple[int, str]]:
        """Name -> bytes, and the time as the client writes it."""
        listed = self._answer("listing", self.url, "ls", "--long", "--json") or []
        try:
            files = [one for one in listed if not one["IsCollection"]]
            found = {str(one["Name"]).rpartition("/")[2]: (int(one["Size"]), str(one.get("ModTime"))) for one in files}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._failed("listing", self.url, 0, "a listing of another form than Pelican 7's") from None
        return dict(sorted((name, one) for name, one in found.items() if name and not name.startswith(".")))

    def objects(self) -> dict[str, int]:
        return {name: size for name, (size, _) in self._listed().items()}

    def ages(self) -> dict[str, float]:
        """A time that cannot be read, or Go's zero, is left out."""
        found, now = {}, datetime.now(UTC)
        for name, (_, said) in self._listed().items():
            with suppress(ValueError, TypeError):  # TypeError: a time without a zone
                when = datetime.fromisoformat(said)
                if when.year > 1970:
                    found[name] = (now - when).total_seconds()
        return found

    def _size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none."""
        where = f"{self.url}/{name}"
        seen = self._answer("looking for the object", where, "stat", "--json")
        if seen is None:
            return None
        try:
            return -1 if seen["IsCollection"] else int(seen["Size"])
        except (KeyError, TypeError, ValueError):
            raise self._failed(
                "looking for the object", where, 0, "an answer of another form than Pelican 7's"
            ) from None

    def _there(self, name: str, total: int) -> bool:
        held = self._size(name)
        if held is not None and held != total:
            raise occupied(self.url, name, None if held < 0 else held, total)
        return held is not None

    def put(self, file: Path, name: str, bar: Callable[[int, int], None]) -> bool:
        """See Origin. Tried again twice where the client says that it may help."""
        total = size_of(file, self.url)
        where = f"{self.url}/{checked(name)}"
        if self._there(name, total):
            return False
        for pause in (*PAUSES, None):
            bar(0, total)
            code, _, said = self._run("put", str(file), where)
            if not code:
                if not self._there(name, total):
                    raise self._failed("upload", where, code, "the client says done, and the object is not there")
                bar(total, total)
                return True
            # another process was first; or the upload came through and only its answer was lost
            if self._there(name, total):
                bar(total, total)
                return _TAKEN not in said
            if code != RETRYABLE or pause is None:
                break
            time.sleep(pause)
        raise self._failed("upload", where, code, said)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        where = f"{self.url}/{checked(name)}"
        with tempfile.TemporaryDirectory(dir=self.spool()) as folder:
            file = Path(folder) / "object"
            code, _, said = self._patiently("get", where, str(file))
            if code or not file.is_file():
                raise self._failed("download", where, code, said)
            with file.open("rb") as content:
                yield content

    def remove(self, name: str) -> None:
        where = f"{self.url}/{checked(name)}"
        code, _, said = self._patiently("delete", where)
        if code and not any(word in said.lower() for word in _MISSING):
            raise self._failed("removal", where, code, said)

    def room(self) -> Room:
        quota = bytes_words(DOCUMENTED_QUOTA)
        return Room(None, None, f"the client cannot say how much room is left; the documented quota is {quota}")
