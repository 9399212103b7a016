"""The text of a job event log as events: whole ones alone, whatever is torn, damaged or still being written.

Not htcondor2.JobEventLog, because that one gives no more events for ever when it meets a log of which the first two
bytes of the next event are written, or rubbish; it keeps a file and a watch open for each log, of which there may be
thousands; and the same histories take three times as long with it (benchmarks/watch.py). It stays the measure: tests
compare every event with its.
Formats: HTCondor's condor_event.cpp (`formatBody`, `readEvent`); names of attributes as in htcondor2.JobEvent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

# Event numbers (HTCondor manual, "Job Event Log Codes")
SUBMIT, EXECUTE, EVICTED, TERMINATED, ABORTED, HELD, RELEASED = 0, 1, 4, 5, 9, 12, 13
SHADOW_EXCEPTION, REMOTE_ERROR, DISCONNECTED, RECONNECTED, RECONNECT_FAILED, TRANSFER = 7, 21, 22, 23, 24, 40
CLUSTER_SUBMIT, CLUSTER_REMOVE = 35, 36  # of jobs that are materialised one after the other
IMAGE_SIZE = 6
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs", "GPUsMemory")  # of the table at the end of a run
# each as some versions write it, too
_SPELLINGS = [(name, (name, name.replace("GPUs", "Gpus")) if "GPUs" in name else (name,)) for name in RESOURCES]
_USED = [(name, [f"{one}Usage" for one in spellings]) for name, spellings in _SPELLINGS]
_ASKED = [(name, [f"Request{one}" for one in spellings]) for name, spellings in _SPELLINGS]

END = b"\n...\n"  # of every event
_HEAD = re.compile(
    r"(\d{3}) \((\d{1,18})\.(-?\d{1,18})\.-?\d+\) (\d{4}-\d\d-\d\d[ T]\S+|\d\d/\d\d \S+) ?(.*)", re.DOTALL
)
_AGAIN = re.compile(r"0\d\d \(\d+\.-?\d+\.-?\d+\) (?=\d)")
_CODE = re.compile(r"Code (\d{1,18}) Subcode (-?\d{1,18})")
_EXIT = re.compile(
    r"\(1\) Normal termination \(return value (-?\d{1,18})\)|\(0\) Abnormal termination \(signal (\d{1,18})\)"
)
_PROPERTY = re.compile(r"^\t(\w+) = (.*)$", re.MULTILINE)
_DEVICE = re.compile(r'\bDeviceName = "([^"]*)".*\bGlobalMemoryMb = (\d+)')
_BYTES = re.compile(r"^\t(\d{1,300})  -  (Run|Total) Bytes (Sent|Received) By Job$", re.MULTILINE)
_NUMBER = re.compile(r"(?<!\S)(?:\d+\.?\d*|\.\d+)(?!\S)")
_RESOURCE = re.compile(r"^\t   (\w+)(?: \([^)]*\))? *:([ \d.]*)", re.MULTILINE)
_TRANSFERS = ("Entered queue to transfer", "Started transferring", "Finished transferring")  # then input or output


class Event:
    """One event. `timestamp`: seconds since the epoch; `proc`: -1 for what happens to a cluster as a whole."""

    __slots__ = ("_attributes", "cluster", "proc", "text", "timestamp", "type")

    def __init__(self, kind: int, cluster: int, proc: int, timestamp: int, text: str) -> None:
        self.type, self.cluster, self.proc, self.timestamp, self.text = kind, cluster, proc, timestamp, text
        self._attributes: dict[str, Any] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute; those of the events that `eventlog` reads, by HTCondor's names."""
        if self._attributes is None:
            look = _LOOKS.get(self.type)
            self._attributes = look(self.text) if look else {}
        return self._attributes.get(name, default)

    def __getitem__(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value


def parse(data: bytes, without: int = -1, last: int = 0) -> tuple[Iterator[Event], int]:
    """The whole events at the start of `data`, and how many bytes they take; what follows is not written yet.

    `without`: those of this number are left out (a third of a long log are IMAGE_SIZE). `last`: the time of the event
    before, in seconds since the epoch.
    """
    end = data.rfind(END)
    if end < 0:
        return iter(()), 0
    end += len(END)
    return _events(data[:end].decode("utf-8", "replace"), f"{without:03} (", last), end


def _events(text: str, without: str, last: int) -> Iterator[Event]:
    for whole in text.split("\n...\n"):
        begin = 0
        if _AGAIN.search(whole, 1):  # after a torn event, or rubbish: of all that begin here, the last is whole
            begin = [match.start() for match in _AGAIN.finditer(whole)][-1]
        if whole.startswith(without, begin):
            continue
        found = _HEAD.match(whole, begin)
        if found is None:
            continue
        kind, cluster, proc, when, body = found.groups()
        seconds = _seconds(when)
        if seconds is not None:
            if seconds < last:  # at the end of summer time an hour comes twice
                seconds = max(seconds, _seconds(when, again=True) or 0)
            last = seconds
            yield Event(int(kind), int(cluster), int(proc), seconds, body)


@lru_cache(maxsize=4096)
def _seconds(when: str, again: bool = False) -> int | None:
    """Seconds since the epoch; a time without a year is the last one that has been, but for a day: clocks differ.

    `again`: of an hour that comes twice, the second.
    """
    try:
        if when[2] != "/":
            return int(datetime.fromisoformat(when).replace(fold=again).timestamp())
    except ValueError:
        return None
    tomorrow = datetime.now().astimezone() + timedelta(days=1)
    zone = "+00:00" if when.endswith("Z") else ""
    for year in range(tomorrow.year, tomorrow.year - 9, -1):  # 29 February is not in each
        with suppress(ValueError):
            text = f"{year}-{when[:2]}-{when[3:5]}T{when[6:14]}{zone}"
            moment = datetime.fromisoformat(text).replace(fold=again).astimezone()
            if moment <= tomorrow:
                return int(moment.timestamp())
    return None


def _line(text: str, number: int) -> str:
    """A line of the body, from 0, without the blanks around it; empty where there is none."""
    lines = text.split("\n", number + 1)
    return printable(lines[number].strip()) if len(lines) > number else ""


def printable(text: str) -> str:
    """With a blank in place of what a terminal would take for a command, of line ends too."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def node(notes: str) -> str:
    """A DAG's node in the notes of a submit event, as HTCondor 25 and older ones write it; empty: there is none."""
    found = re.match(r'DAG Node: (.+)|\[.*\bDAGNodeName = "((?:[^"\\]|\\.)*)"', notes)
    return printable(next(filter(None, found.groups()), "")) if found else ""


def _submit(text: str) -> dict[str, Any]:
    notes = [line.strip() for line in text.split("\n")[1:]]
    return {"LogNotes": notes[0]} if notes and notes[0] else {}


def _execute(text: str) -> dict[str, Any]:
    return {"ExecuteProps": {name: _value(value) for name, value in _PROPERTY.findall(text)}, "SlotName": _slot(text)}


def gpu(properties: Mapping[str, Any]) -> tuple[str, int]:
    """Name of a GPU, and MB of its memory, of `ExecuteProps`: by `ulog_execute_attrs`, else HTCondor's own ad of it."""
    name, memory = properties.get("GPUs_DeviceName"), properties.get("GPUs_GlobalMemoryMb")
    if not isinstance(name, str):
        ads = (_DEVICE.search(value) for value in properties.values() if isinstance(value, str) and value[:1] == "[")
        name, memory = next(((ad[1], int(ad[2])) for ad in ads if ad), ("", 0))
    return name, memory if isinstance(memory, int) else 0


def resources(event: Any) -> tuple[dict[str, float], dict[str, float]]:
    """What the table at the end of a run says was used, and was asked for: `Memory` in MB, `Disk` in KB, `GPUs`, ..."""
    return _numbers(event, _USED), _numbers(event, _ASKED)


def _numbers(event: Any, names: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    """What the event has under the first of each one's spellings."""
    found = {}
    for name, spellings in names:
        for spelling in spellings:
            if (value := event.get(spelling)) is not None:
                found[name] = float(value)
                break
    return found


def _slot(text: str) -> str:
    _, found, rest = text.partition("\n\tSlotName: ")
    return rest.partition("\n")[0].strip() if found else ""


def _value(text: str) -> Any:
    """A ClassAd literal; as it stands where it is more than one."""
    text = printable(text.strip())
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if "\\" in text else text[1:-1]
    if text[:1] in "[{":
        return text
    try:
        return float(text) if "." in text or "E" in text else int(text)
    except ValueError:
        return text


def _ended(text: str) -> dict[str, Any]:
    """Of 004 and 005: how it ended, bytes, and the table of resources."""
    found: dict[str, Any] = {"TerminatedAndRequeued": "(0) Job terminated and was requeued" in text}
    if match := _EXIT.search(text):
        code, signal = match.groups()
        found["TerminatedNormally"] = code is not None
        found |= {"ReturnValue": int(code)} if code is not None else {"TerminatedBySignal": int(signal)}
    else:
        found["TerminatedNormally"] = False
    for count, which, way in _BYTES.findall(text):
        found[("Total" if which == "Total" else "") + f"{way}Bytes"] = float(count)
    if match := _CODE.match(_line(text, 0).partition(". ")[2]):
        found["ReasonCode"], found["ReasonSubCode"] = int(match[1]), int(match[2])
    _, has, rest = text.rpartition("\n\tReason: ")
    if has:
        found["Reason"] = rest.partition("\n")[0].strip()
    _, has, table = text.partition("Partitionable Resources :")
    for name, numbers in _RESOURCE.findall(table) if has else ():
        values = [float(value) for value in _NUMBER.findall(numbers)]
        if len(values) == 3:
            found[f"{name}Usage"] = values[0]
        if len(values) >= 2:
            found[f"Request{name}"], found[name] = values[-2:]
        elif values:
            found[f"{name}Usage"] = values[0]
    return found


def _held(text: str) -> dict[str, Any]:
    reason, match = _line(text, 1), _CODE.search(text.rpartition("\n")[2])
    found: dict[str, Any] = {"HoldReason": reason}
    if match:
        found["HoldReasonCode"], found["HoldReasonSubCode"] = int(match[1]), int(match[2])
    return found


def _transfer(text: str) -> dict[str, Any]:
    first = text.partition("\n")[0]
    for number, words in enumerate(_TRANSFERS, 1):
        if first.startswith(words):
            found: dict[str, Any] = {"Type": number + (3 if "output" in first else 0)}
            _, has, host = text.partition("Transferring to host: ")
            return found | ({"Host": host.partition("\n")[0].strip()} if has else {})
    return {}


_LOOKS: dict[int, Callable[[str], dict[str, Any]]] = {
    SUBMIT: _submit,
    EXECUTE: _execute,
    EVICTED: _ended,
    TERMINATED: _ended,
    SHADOW_EXCEPTION: lambda text: {"Message": _line(text, 1)},
    ABORTED: lambda text: {"Reason": _line(text, 1)},
    HELD: _held,
    RELEASED: lambda text: {"Reason": _line(text, 1)},
    REMOTE_ERROR: lambda text: {"ErrorMsg": _line(text, 1)},
    DISCONNECTED: lambda text: {"DisconnectReason": _line(text, 1)},
    RECONNECT_FAILED: lambda text: {"Reason": _line(text, 1)},
    TRANSFER: _transfer,
}
