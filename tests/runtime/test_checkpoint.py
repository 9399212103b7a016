from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit.runtime.checkpoint import Store

STATES = st.dictionaries(
    st.text(max_size=8),
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    max_size=4,
)
BLOBS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True), st.binary(max_size=300), max_size=4
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(STATES, BLOBS), min_size=1, max_size=3))
def test_what_was_saved_last_is_loaded(saves: list[tuple[dict[str, Any], dict[str, bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for state, blobs in saves:
            Store(Path(folder)).save(state, blobs)
        snapshot = Store(Path(folder)).load()
        assert snapshot is not None
        assert (snapshot.state, snapshot.blobs) == saves[-1]
        assert len(list(Path(folder).iterdir())) == min(2, len(saves))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "checkpoint")
    for step in (1, 2, 3):
        store.save({"step": step}, {"weights": bytes([step]) * 1000, "optimizer": b"x" * step})
    return Store(store.folder)


def newest(store: Store) -> Path:
    return max(store.folder.iterdir())


def test_nothing_saved_is_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "absent").load() is None


def test_the_two_newest_are_kept(store: Store) -> None:
    assert sorted(path.name for path in store.folder.iterdir()) == ["00000002", "00000003"]


@pytest.mark.parametrize("name", ["weights", "optimizer", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "empty"])
def test_a_damaged_checkpoint_falls_back(store: Store, name: str, damage: str, capsys: Any) -> None:
    file = newest(store) / name
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    snapshot = store.load()
    assert snapshot is not None and snapshot.state == {"step": 2}
    assert "00000003 is damaged" in capsys.readouterr().err
    # the good one is not thrown away for the damaged one
    store.save({"step": 3}, {"weights": b""})
    assert sorted(path.name for path in store.folder.iterdir()) == ["00000002", "00000004"]


def test_all_damaged_is_nothing(store: Store) -> None:
    for generation in store.folder.iterdir():
        (generation / "weights").write_bytes(b"")
    assert store.load() is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_single_changed_byte_goes_unseen(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.save({"step": 1, "note": "äöü"}, {"weights": bytes(range(100))})
        saved = store.load()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        file = data.draw(st.sampled_from(sorted(files)))
        content = bytearray(file.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)
        found = Store(Path(folder)).load()
        assert found is None or found == saved  # a change of white space in the manifest changes nothing


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "manifest.json", ""])
def test_a_blob_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        Store(tmp_path).save({}, {name: b""})


def test_a_state_that_is_not_json_leaves_the_store_alone(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.save({"loss": float("nan")}, {})
    snapshot = store.load()
    assert snapshot is not None and snapshot.state == {"step": 3}


ROOT = Path(__file__).parents[2]

SAVING = """
import sys
from pathlib import Path
from submit.runtime.checkpoint import Store
store, step = Store(Path(sys.argv[1])), int(sys.argv[2])
while True:
    step += 1
    store.save({"step": step}, {"weights": step.to_bytes(8, "little") * 50_000, "optimizer": b"x"})
    print(step, flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path) -> None:
    """SIGKILL while saving in a loop: whatever was reported as saved can be loaded, whole."""
    folder, said = tmp_path / "checkpoint", 0
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVING, str(folder), str(said)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        lines = process.communicate()[0].split("\n")
        said = max([said, *(int(line) for line in lines[:-1])])
        snapshot = Store(folder).load()
        assert snapshot is not None
        step = snapshot.state["step"]
        assert step >= said
        assert snapshot.blobs["weights"] == step.to_bytes(8, "little") * 50_000
        assert not list(folder.glob(".saving-*"))
        said = step
