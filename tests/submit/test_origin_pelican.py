"""Pelican's client: the real one cannot be here, so a program stands in that answers as its source says.

What it does was read in cmd/object_*.go, client/handle_http.go and oauth2/oauth2.go of Pelican 7.27.0-rc.1.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from submit import origin_pelican
from submit.errors import StageError
from submit.origin_pelican import PelicanOrigin

URL = "osdf:///ospool/ap40/data/jane/brats"
NAME = "brats-0000-3f9a1c0d2b7e.tar"
TOKEN = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImExIn0.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJlLW9mLWphbmU"  # noqa: S105
# The store is a folder; `faults` in it: a list of [command, what], each of which hits once.
CLIENT = """
import json, os, shutil, stat, sys
from pathlib import Path

here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    terminal = stat.S_ISCHR(os.fstat(0).st_mode) or any(name.endswith("_SKIP_TERMINAL_CHECK") for name in os.environ)
    calls.write(json.dumps([*sys.argv[1:], terminal, os.environ.get("BEARER_TOKEN_FILE")]) + "\\n")

def file(url):
    assert url.startswith("osdf:///ospool/") and "?" not in url
    return here / "store" / url[len("osdf:///"):]

def fail(words, code=1):
    print("ERROR[2026-11-24T16:00:00Z] Failure: " + words, file=sys.stderr)
    if code == 11:
        print("ERROR[2026-11-24T16:00:00Z] Errors are retryable", file=sys.stderr)
    sys.exit(code)

def info(path):
    return {"Name": "/" + str(path.relative_to(here / "store")), "Size": path.stat().st_size,
            "ModTime": "2026-11-24T16:00:00Z", "IsCollection": path.is_dir()}

assert sys.argv[1] == "object"
command, arguments = sys.argv[2], sys.argv[3:]
faults = json.loads((here / "faults").read_text()) if (here / "faults").exists() else []
fault = next((what for which, what in faults if which == command), None)
if fault:
    faults.remove([command, fault])
    (here / "faults").write_text(json.dumps(faults))
if fault == "retry":
    fail("connection reset by peer (1.2s since start)", 11)
if fault == "refused":
    fail("server returned 403 for https://origin.example/x?authz=Bearer%20" + os.environ["SECRET"] + " Forbidden")
if fault == "login":
    fail("This program must be run in a terminal to acquire a new token")
if fault == "chatter":
    print("not JSON, Bearer " + os.environ["SECRET"])
elif fault == "form":
    print(json.dumps([{"name": "x"}] if command == "ls" else {"name": "x"}))
elif command == "stat":
    flag, url = arguments
    assert flag == "--json"
    if not file(url).exists():
        fail("object " + url + " not found at endpoint https://origin.example: remote object not found")
    print(json.dumps(info(file(url))))
elif command == "ls":
    long, flag, url = arguments
    assert (long, flag) == ("--long", "--json")
    if not file(url).is_dir():
        fail("404: object not found")
    print(json.dumps([info(path) for path in sorted(file(url).iterdir())]))
elif command == "put":
    source, url = arguments
    target = file(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    if fault == "beaten":
        shutil.copy(source, target)
    if target.exists():
        fail("remote object already exists, upload aborted (0s since start)")
    if fault == "nothing":
        sys.exit(0)
    if fault in ("torn", "torn and done"):
        target.write_bytes(Path(source).read_bytes()[:-1])
        sys.exit(0) if "done" in fault else fail("connection reset by peer", 11)
    shutil.copy(source, target)
    if fault == "answer lost":
        fail("timeout awaiting response headers", 11)
elif command == "get":
    url, target = arguments
    if not file(url).is_file():
        fail("404: object not found")
    shutil.copy(file(url), target)
elif command == "delete":
    if not file(arguments[0]).exists():
        fail("cannot remove remote path: no such object or collection")
    file(arguments[0]).unlink()
"""


def nothing(done: int, total: int) -> None:
    pass


class Client:
    """The stand-in, what it was asked, and what goes wrong in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, folder / "pelican"
        self.store = folder / "store" / "ospool/ap40/data/jane/brats"
        self.program.write_text(f"#!{sys.executable}\n{CLIENT}")
        self.program.chmod(0o755)

    def spoil(self, *faults: tuple[str, str]) -> None:
        (self.folder / "faults").write_text(json.dumps(faults))

    def calls(self) -> list[list[object]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(origin_pelican, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("SECRET", TOKEN)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "client").mkdir()
    return Client(tmp_path / "client")


@pytest.fixture
def origin(client: Client) -> PelicanOrigin:
    return PelicanOrigin(URL, str(client.program))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    file = tmp_path / "shard"
    file.write_bytes(b"shard" * 1000)
    return file


def test_an_object_is_put_listed_read_and_removed(
    origin: PelicanOrigin, client: Client, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", "/tokens/jane")
    monkeypatch.setenv("PELICAN_SKIP_TERMINAL_CHECK", "1")
    assert origin.objects() == {}
    seen: list[tuple[int, int]] = []
    assert origin.put(shard, NAME, lambda done, total: seen.append((done, total))) is True
    assert seen == [(0, 5000), (5000, 5000)]
    assert (client.store / NAME).read_bytes() == shard.read_bytes()
    (client.store / "collection").mkdir()
    (client.store / ".hidden").touch()
    assert origin.objects() == {NAME: 5000}
    assert origin.put(shard, NAME, lambda done, total: pytest.fail("uploaded again")) is False
    with origin.open(NAME) as file:
        assert file.read() == shard.read_bytes()
    origin.remove(NAME)
    origin.remove(NAME)
    assert origin.objects() == {}
    assert origin.room().free_bytes is None
    assert "the documented quota is 100.0 GB" in origin.room().note
    calls = client.calls()
    assert [call for call in calls if call[1] == "put"] == [
        ["object", "put", str(shard), f"{URL}/{NAME}", False, "/tokens/jane"]
    ]
    assert all(call[-2:] == [False, "/tokens/jane"] for call in calls), "a terminal, or no token's place"


def test_the_spool_is_in_tmpdir_and_goes(client: Client) -> None:
    origin = PelicanOrigin(URL, str(client.program))
    built = origin.spool()
    assert built.parent == Path(tempfile.gettempdir())
    assert origin.spool() == built
    del origin
    gc.collect()
    assert list(built.parent.iterdir()) == []


def test_no_place_for_a_spool(origin: PelicanOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(StageError, match=r"cannot make a folder to build in: No such file or directory; .* Set TMPDIR"):
        origin.spool()


def test_nothing_is_overwritten(origin: PelicanOrigin, client: Client, shard: Path) -> None:
    client.store.mkdir(parents=True)
    (client.store / NAME).write_bytes(b"another")
    (client.store / "folder.tar").mkdir()
    with pytest.raises(StageError, match=r"tar: holds 7 bytes; 5,000 bytes were to be put there"):
        origin.put(shard, NAME, nothing)
    with pytest.raises(StageError, match="holds something that is no file"):
        origin.put(shard, "folder.tar", nothing)
    assert not [call for call in client.calls() if call[1] == "put"]
    with pytest.raises(StageError, match="no object's name"):
        origin.put(shard, "a?pack=tar", nothing)
    with pytest.raises(StageError, match="nothing: No such file or directory; a file to put at"):
        origin.put(shard.with_name("nothing"), NAME, nothing)


@pytest.mark.parametrize(
    ("faults", "put"),
    [
        ([("put", "retry"), ("put", "retry")], True),
        ([("stat", "retry"), ("stat", "retry")], True),
        ([("put", "answer lost")], True),
        ([("put", "beaten")], False),
    ],
    ids=["a bad line", "a bad line at the look", "the answer lost", "another was first"],
)
def test_faults_that_pass(
    origin: PelicanOrigin, client: Client, shard: Path, faults: list[tuple[str, str]], put: bool
) -> None:
    client.spoil(*faults)
    assert origin.put(shard, NAME, nothing) is put
    assert (client.store / NAME).read_bytes() == shard.read_bytes()
    assert json.loads((client.folder / "faults").read_text()) == []


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([("put", "retry")] * 3, r"upload by .*pelican failed: .*connection reset by peer.*; Try again later"),
        ([("stat", "retry")] * 3, r"looking for the object by .* failed: .*; Try again later"),
        ([("put", "refused")], r"failed: .*403 .*\[hidden\] Forbidden; The client takes the token of BEARER_TOKEN,"),
        ([("stat", "login")], r"must be run in a terminal.*; The client .*log in once at a terminal: .* object ls"),
        ([("put", "nothing")], r"failed: the client says done, and the object is not there; See what the client says"),
        ([("put", "torn")], r"tar: holds 4,999 bytes; 5,000 bytes were to be put there, .* another upload"),
        ([("put", "torn and done")], r"tar: holds 4,999 bytes"),
        ([("stat", "chatter")], r"failed: no JSON but 'not JSON, Bearer \[hidden\]"),
        ([("stat", "form")], r"an answer of another form than Pelican 7's"),
    ],
)  # fmt: skip
def test_faults_that_do_not_are_said_without_secrets(
    origin: PelicanOrigin, client: Client, shard: Path, faults: list[tuple[str, str]], said: str
) -> None:
    client.spoil(*faults)
    with pytest.raises(StageError, match=said) as caught:
        origin.put(shard, NAME, nothing)
    for part in TOKEN.split("."):
        assert part not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_commands_that_fail(origin: PelicanOrigin, client: Client) -> None:
    client.store.mkdir(parents=True)
    client.spoil(("ls", "form"), ("ls", "refused"), ("delete", "refused"))
    with pytest.raises(StageError, match="a listing of another form"):
        origin.objects()
    with pytest.raises(StageError, match=r"listing by .* failed: .*403"):
        origin.objects()
    with pytest.raises(StageError, match=r"removal by .* failed"):
        origin.remove(NAME)
    with pytest.raises(StageError, match=r"download by .* failed: .*404: object not found"):
        origin.open(NAME).__enter__()


def test_a_client_that_cannot_be_run(client: Client) -> None:
    client.program.write_bytes(b"\x00\x01")
    with pytest.raises(StageError, match=r"pelican: cannot be run: .*; Pelican's client is wanted"):
        PelicanOrigin(URL, str(client.program)).objects()


def test_an_interrupt_ends_the_client(
    origin: PelicanOrigin, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a session of its own, so Ctrl-C reaches us alone."""
    client.program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")

    def interrupt(self: object, text: str) -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(origin_pelican.subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        origin.objects()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_how_long_objects_have_been_there(
    origin: PelicanOrigin, client: Client, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert origin.ages() == {}
    origin.put(shard, NAME, nothing)
    since = (datetime.now(UTC) - datetime(2026, 11, 24, 16, tzinfo=UTC)).total_seconds()
    assert origin.ages() == {NAME: pytest.approx(since, abs=60)}
    # Go's zero, no time at all, one without a zone: unknown
    for said in ("0001-01-01T00:00:00Z", "", "2026-11-24T16:00:00"):
        listed = [{"Name": f"/x/{NAME}", "Size": 5000, "ModTime": said, "IsCollection": False}]
        monkeypatch.setattr(origin, "_answer", lambda *words, listed=listed: listed)
        assert origin.ages() == {}
    monkeypatch.setattr(origin, "_answer", lambda *words: [5])
    with pytest.raises(StageError, match="a listing of another form than Pelican 7's"):
        origin.ages()


def test_threads_share_a_spool(origin: PelicanOrigin, client: Client, shard: Path) -> None:
    names = [f"brats-{number:012x}.tar" for number in range(8)]
    for name in names:
        origin.put(shard, name, nothing)

    def read(name: str) -> bytes:
        with origin.open(name) as file:
            return file.read()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(read, names)) == {shard.read_bytes()}
