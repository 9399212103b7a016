#!/usr/bin/python3
"""HTCondor file-transfer plugin of the local pool: `osdf:///` from a folder that behaves as the OSDF does.

osdf:///ospool/ap40/data/jane/x.tar lies at origin/ospool/ap40/data/jane/x.tar. Each site has a cache, keyed by the
object's name alone and never purged: an object that changed is served as it was. `?directread` passes the cache by. An
upload never overwrites. faults.json, beside the origin, says what goes wrong (submit/osdf_local.py writes it).

Usage, as HTCondor has it (docs/apis/file-transfer-plugins, protocol 2):
    osdf_plugin.py -classad
    osdf_plugin.py -infile ADS -outfile ADS [-upload]
Exit codes are Pelican's (cmd/plugin.go): 0; 1 when trying again is of no use; 11 when it may be.
It runs as the job's user, from the pool's etc folder, with the standard library alone.
"""

import contextlib
import fcntl
import fnmatch
import json
import os
import random
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

# /pool/etc/osdf_plugin.py serves /pool/osdf
OSDF = Path(__file__).resolve().parent.parent / "osdf"
CHUNK = 1 << 18
RETRYABLE = 11
CAPABILITIES = """MultipleFileSupport = true
PluginType = "FileTransfer"
PluginVersion = "osgdl"
ProtocolVersion = 2
SupportedMethods = "osdf"
"""
# a string, a quoted attribute name, or one character that ends or joins values
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|\'(?:[^\'\\]|\\.)*\'|([\[\]{}();=])|[^\s"\'\[\]{}();=]+', re.DOTALL)
_ESCAPE = re.compile(r"\\([0-3]?[0-7]{1,2}|.)", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Refused(Exception):
    """This transfer cannot be made; `retryable`: another try may do better."""

    def __init__(self, words: str, retryable: bool = False) -> None:
        super().__init__(words)
        self.retryable = retryable


def _meant(escape: re.Match[str]) -> str:
    word = escape[1]
    return chr(int(word, 8)) if word[0] in "01234567" else _LETTERS.get(word, word)


def parse_ads(text: str) -> list[dict[str, str]]:
    """New ClassAds, one after the other: a list of dicts, names in lower case, of the attributes that are strings."""
    ads: list[dict[str, str]] = []
    words: list[str] = []
    name, depth = "", 0
    for match in _TOKEN.finditer(text):
        word = match.group(0)
        if depth == 1 and word in ";]":
            if name and len(words) == 1 and words[0].startswith('"'):
                ads[-1][name] = _ESCAPE.sub(_meant, words[0][1:-1])
            name, words = "", []
        elif depth == 1 and word == "=" and len(words) == 1 and not name:
            name, words = words[0].strip("'").lower(), []
        elif depth:
            words.append(word)
        if word in ("[", "{", "("):
            depth += 1
            if depth == 1:
                ads.append({})
        elif word in ("]", "}", ")"):
            depth -= 1
    return ads


def unparsed(value: object) -> str:
    """A Python value as a ClassAd literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, dict):
        return "[ " + "; ".join(f"{name} = {unparsed(held)}" for name, held in value.items()) + " ]"
    return repr(value)


def site() -> str:
    """Name of the site whose slot this is, by its machine ad; "all" where there is none."""
    try:
        ad = Path(os.environ["_CONDOR_MACHINE_AD"]).read_text(errors="replace")
    except (KeyError, OSError):
        return "all"
    found = re.search(r'^GLIDEIN_Site\s*=\s*"([A-Za-z0-9_][A-Za-z0-9._-]*)"', ad, re.MULTILINE)
    return found[1] if found else "all"


def parse_url(url: str) -> tuple[str, bool]:
    """(the object's path without its first slash, the cache is passed by). Refused for what the OSDF has not."""
    parts = urlsplit(url)
    if parts.scheme != "osdf" or parts.netloc:
        raise Refused("no osdf URL; want three slashes, as in osdf:///ospool/ap40/data/jane/x.tar")
    direct = False
    for option in filter(None, parts.query.split("&")):
        name = option.partition("=")[0]
        if name != "directread":
            raise Refused(f"?{name} is not in the local pool; want one file as it is, or ?directread")
        direct = True
    names = unquote(parts.path).strip("/").split("/")
    if not all(name not in ("", ".", "..") and name.isprintable() for name in names):
        raise Refused("no object's name; want /ospool/... without .. or empty parts")
    return "/".join(names), direct


def within(root: Path, path: str) -> Path:
    """root/path, which may not exist; Refused where a link on the way leads out of `root`."""
    root = root.resolve()
    target = (root / path).resolve()
    if root not in target.parents:
        raise Refused("leads out of the origin by a link; want an object that lies in it")
    return target


def faults(path: str, where: str, *, upload: bool) -> dict[str, dict[str, Any]]:
    """Kind -> rule of the faults that hit this transfer. A counted one is counted here, and gone when it is used up."""
    hit: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError), (OSDF / "faults.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rules = json.loads((OSDF / "faults.json").read_text())
        for rule in rules:
            meant = (
                rule["upload"] == upload
                and rule["kind"] not in hit
                and (not rule["sites"] or where in rule["sites"])
                and fnmatch.fnmatchcase(path.rpartition("/")[2], rule["only"])
            )
            # chance, no secret
            if meant and (rule["kind"] != "fail" or random.random() < rule["value"]):  # noqa: S311
                hit[rule["kind"]] = rule
                if rule["left"] is not None:
                    rule["left"] -= 1
        if any(rule["left"] is not None for rule in hit.values()):
            fresh = OSDF / "faults.json.new"
            fresh.write_text(json.dumps([rule for rule in rules if rule["left"] != 0], indent=1) + "\n")
            fresh.replace(OSDF / "faults.json")
    return hit


def copy(
    source: BinaryIO,
    target: BinaryIO,
    rate: float | None = None,
    limit: int | None = None,
    flip: int | None = None,
) -> int:
    """Bytes from one open file to another, at `rate` bytes a second, `limit` in all, one bit of byte `flip` changed."""
    began, done = time.monotonic(), 0
    size = CHUNK if rate is None else max(1, min(CHUNK, int(rate / 4)))
    while chunk := source.read(size if limit is None else min(size, limit - done)):
        if flip is not None and done <= flip < done + len(chunk):
            at = flip - done
            chunk = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
        target.write(chunk)
        done += len(chunk)
        if rate is not None:
            time.sleep(max(0.0, began + done / rate - time.monotonic()))
    return done


def publish(source: BinaryIO, target: Path, **how: Any) -> int:
    """Write `target` whole or not at all; FileExistsError where the name is taken. Returns the number of bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:200]}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            done = copy(source, file, **how)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        # a link, never a rename: of two who upload one name only the first gets it
        os.link(part, target)
    finally:
        part.unlink(missing_ok=True)
    return done


def spoiled(hit: dict[str, dict[str, Any]], size: int) -> dict[str, Any]:
    """Arguments of copy() for these faults."""
    return {
        "rate": hit["slow"]["value"] if "slow" in hit else None,
        "limit": int(size * hit["truncate"]["value"]) if "truncate" in hit else None,
        "flip": size // 2 if "stale" in hit and size else None,
    }


def failing(hit: dict[str, dict[str, Any]]) -> None:
    """Refused where a fault says so."""
    if "fail" in hit:
        rule = hit["fail"]
        words = "server returned 500 Internal Server Error" if rule["retryable"] else "server returned 403 Forbidden"
        raise Refused(f"{words} (a fault of the local pool: osgdl pool osdf)", rule["retryable"])


def download(url: str, local: str, where: str) -> int:
    """Copy an object to the file `local`; returns its bytes, or as many as a fault lets through."""
    path, direct = parse_url(url)
    hit = faults(path, where, upload=False)
    failing(hit)
    if direct:
        hit.pop("stale", None)
    held = within(OSDF / "origin", path)
    cached = within(OSDF / "cache" / where, path)
    if direct or not cached.is_file():
        if not held.is_file():
            what = "a folder, and no object" if held.is_dir() else "no such object: server returned 404 Not Found"
            raise Refused(f"{what}; want one that was uploaded")
        if not direct:
            with held.open("rb") as source, contextlib.suppress(FileExistsError):
                publish(source, cached)
    with (held if direct else cached).open("rb") as source, Path(local).open("wb") as target:
        return copy(source, target, **spoiled(hit, os.fstat(source.fileno()).st_size))


def upload(url: str, local: str, where: str) -> int:
    """Copy the file `local` to a name that nobody has; returns its bytes."""
    path, _ = parse_url(url)
    hit = faults(path, where, upload=True)
    failing(hit)
    target = within(OSDF / "origin", path)
    if not Path(local).is_file():
        raise Refused(f"{local}: no file; the OSDF takes files, no folders")
    try:
        if target.exists():
            raise FileExistsError(target)
        with Path(local).open("rb") as source:
            return publish(source, target, **spoiled(hit, os.fstat(source.fileno()).st_size))
    except FileExistsError:
        # Pelican's words (client/handle_http.go)
        raise Refused("remote object already exists, upload aborted") from None


def transfer(ad: dict[str, str], uploading: bool, where: str) -> dict[str, object]:
    """One result ad."""
    url, local, began = ad.get("url", ""), ad.get("localfilename", ""), time.time()
    word = "upload" if uploading else "download"
    result: dict[str, object] = {
        "TransferUrl": url,
        "TransferFileName": local,
        "TransferType": word,
        "TransferProtocol": "osdf",
        "TransferStartTime": int(began),
        "TransferLocalMachineName": socket.gethostname(),
        "TransferHostName": where,
        "DeveloperData": {"Uid": os.getuid()},
    }
    try:
        done = (upload if uploading else download)(url, local, where)
        result |= {"TransferSuccess": True, "TransferFileBytes": done, "TransferTotalBytes": done}
    except (Refused, OSError) as error:
        result |= {
            "TransferSuccess": False,
            "TransferError": f"{word}ing {url}: {error}",
            "TransferRetryable": not isinstance(error, Refused) or error.retryable,
            "TransferFileBytes": 0,
            "TransferTotalBytes": 0,
        }
    return {**result, "TransferEndTime": int(time.time()), "ConnectionTimeSeconds": round(time.time() - began, 3)}


def main(words: list[str]) -> int:
    """Answer HTCondor; returns the exit code."""
    if words == ["-classad"]:
        sys.stdout.write(CAPABILITIES)
        return 0
    uploading = "-upload" in words
    try:
        asked = Path(words[words.index("-infile") + 1])
        answers = Path(words[words.index("-outfile") + 1])
    except (ValueError, IndexError):
        sys.stderr.write(__doc__ or "")
        return 1
    where = site()
    ads = [ad for ad in parse_ads(asked.read_text()) if "url" in ad]
    results = [transfer(ad, uploading, where) for ad in ads]
    # HTCondor has filled it with blanks, for a full disk: written over, never cut first
    with answers.open("r+" if answers.exists() else "w") as file:
        file.write("".join(unparsed(result) + "\n" for result in results))
    bad = [result for result in results if not result["TransferSuccess"]]
    return (RETRYABLE if all(result["TransferRetryable"] for result in bad) else 1) if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
