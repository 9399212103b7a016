"""Pruning: nothing goes that a manifest names which stays, or that somebody uses."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submit import pool, stage_prune, stage_store, stage_store_table, stage_uses
from submit.errors import StageError
from submit.origin_folder import FolderOrigin
from submit.runtime.manifest import Manifest, Shard
from submit.stage_prune import prune
from submit.stage_uses import Use
from tests.runtime import staged

URL = "osdf:///ospool/ap40/data/jane/small"


@pytest.fixture
def place(tmp_path: Path) -> FolderOrigin:
    (tmp_path / "place").mkdir()
    return FolderOrigin(tmp_path / "place", URL)


@pytest.fixture
def shards(place: FolderOrigin) -> list[Shard]:
    """Four objects."""
    return [made(place.folder, number) for number in range(4)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "staged").mkdir(parents=True)
    return tmp_path / "project"


def made(folder: Path, number: int) -> Shard:
    files = {f"p{number}/a": bytes([number]) * 100}
    return staged.shard(folder, number, staged.tar(files), files)


def manifest(folder: Path, shards: list[Shard], **changes: object) -> Manifest:
    return stage_store.read(staged.manifest(folder, shards, **changes))


def view_of(whole: Manifest, place: FolderOrigin, count: int = 1) -> Manifest:
    held = replace(
        whole,
        split={"training": ["a"], "validation": ["b"]},
        view={"of": whole.sha256(), "fold": 0, "part": "training"},
        shards=whole.shards[:count],
    )
    (place.folder / held.file_name()).write_bytes(held.encoded())
    return held


def test_what_no_manifest_names_goes(place: FolderOrigin, shards: list[Shard]) -> None:
    old, new = manifest(place.folder, shards[:2]), manifest(place.folder, shards[1:3])
    (place.folder / "notes.txt").write_text("mine")
    before = place.objects()
    dry = prune(place, [], [old.file_name()], older_than_s=0)
    assert place.objects() == before and not dry.really
    wanted = {shards[0].name, shards[3].name, old.file_name()}
    assert dry.removed.keys() == wanted and sum(dry.removed.values()) == sum(before[name] for name in wanted)
    assert dry.kept[shards[1].name] == f"{new.file_name()} names it" and dry.kept["notes.txt"] == "no shard"
    assert dry.kept[new.file_name()] == "a manifest, which --drop does not name"
    text = stage_store_table.pruned(dry)
    assert f"would go {shards[0].name}" in text and text.endswith("nothing was removed; --really does it")
    done = prune(place, [], [old.file_name()], older_than_s=0, really=True)
    assert done.removed == dry.removed and place.objects().keys() == before.keys() - wanted
    assert "caches of the OSDF" in stage_store_table.pruned(done)
    assert json.loads(stage_store_table.pruned(done, as_json=True))["removed"] == done.removed
    assert prune(place, [], older_than_s=0, really=True).removed == {}


def test_what_is_young_or_of_unknown_age_stays(
    place: FolderOrigin, shards: list[Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    why = prune(place, [], really=True).kept
    assert set(why.values()) == {"there for 0.0 h, and may belong to a run that is under way"}
    time.sleep(0.3)
    late = made(place.folder, 9)
    done = prune(place, [], older_than_s=0.2, really=True)
    assert done.removed.keys() == {shard.name for shard in shards} and place.objects().keys() == {late.name}
    monkeypatch.setattr(place, "ages", dict)
    assert prune(place, [], older_than_s=0).kept == {late.name: "nobody can say how long it has been there"}


def test_a_manifest_in_use_is_not_retired(place: FolderOrigin, shards: list[Shard]) -> None:
    whole = manifest(place.folder, shards)
    view = view_of(whole, place)
    before = place.objects()
    for use, said in (
        (Use("train.sub", whole.file_name(), whole), "train.sub uses it"),
        (Use("job 12.0", whole.file_name()), "job 12.0 uses it"),
        (Use("train.sub", view.file_name(), view), f"train.sub uses {view.file_name()}, a view of it"),
        (Use("job 12.0", view.file_name()), f"job 12.0 uses {view.file_name()}, a view of it"),
    ):
        with pytest.raises(StageError, match=r"one that nobody uses is wanted\. Change that first") as raised:
            prune(place, [use], [whole.file_name()], 0, really=True)
        assert said in str(raised.value) and place.objects() == before
    # the view alone may go while the whole is used, and takes nothing with it
    done = prune(place, [Use("job 12.0", whole.file_name())], [view.file_name()], 0, really=True)
    assert done.removed.keys() == {view.file_name()}


def test_what_is_used_stays_though_no_manifest_there_names_it(place: FolderOrigin, shards: list[Shard]) -> None:
    held = manifest(place.folder, shards[:2])
    (place.folder / held.file_name()).unlink()
    uses = [Use("train.sub", held.file_name(), held), Use("job 3.1", shards[2].name)]
    done = prune(place, uses, older_than_s=0, really=True)
    assert done.removed.keys() == {shards[3].name}
    assert done.kept[shards[0].name] == f"train.sub uses {held.file_name()}, which names it"
    assert done.kept[shards[2].name] == "job 3.1 uses it"


def test_names_that_cannot_be_retired(place: FolderOrigin, shards: list[Shard]) -> None:
    for name, said in ((shards[0].name, "no manifest's name"), ("x-manifest-000000000000.json", f"not at {URL}")):
        with pytest.raises(StageError, match=said):
            prune(place, [], [name], 0, really=True)
    assert len(place.objects()) == 4


def test_with_a_damaged_manifest_nothing_goes(place: FolderOrigin, shards: list[Shard]) -> None:
    damaged = "x-manifest-000000000000.json"
    (place.folder / damaged).write_text("{")
    with pytest.raises(StageError, match=r"what it names is not known, so nothing is removed\. Mend it, or retire it"):
        prune(place, [], older_than_s=0, really=True)
    assert len(place.objects()) == 5
    # who retires it has said that it names nothing
    assert len(prune(place, [], [damaged], 0, really=True).removed) == 5 and not place.objects()


@pytest.mark.parametrize("torn", [False, True])
def test_a_manifest_that_comes_meanwhile(
    place: FolderOrigin, shards: list[Shard], torn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = manifest(place.folder, shards)
    remove = place.remove

    def removing(name: str) -> None:
        if name == whole.file_name():
            if torn:
                (place.folder / "x-manifest-000000000000.json").write_text("{")
            else:
                manifest(place.folder, shards[:1], synthetic=True)
        remove(name)

    monkeypatch.setattr(place, "remove", removing)
    if torn:
        with pytest.raises(StageError, match="what it names is not known"):
            prune(place, [], [whole.file_name()], 0, really=True)
        assert len(place.objects()) == 5
    else:
        done = prune(place, [], [whole.file_name()], 0, really=True)
        assert shards[0].name in place.objects() and done.kept[shards[0].name].endswith("names it")
        assert done.removed.keys() == {whole.file_name(), *(shard.name for shard in shards[1:])}


NUMBERS = st.sets(st.integers(0, 7), min_size=1)


@settings(max_examples=60, deadline=None)
@given(
    held=st.lists(NUMBERS, max_size=5),
    views=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), max_size=2),
    dropped=st.sets(st.integers(0, 6)),
    used=st.sets(st.integers(0, 6), max_size=1),
    jobs=st.sets(st.integers(0, 7), max_size=2),
    away=st.lists(NUMBERS, max_size=1),
)
def test_nothing_goes_that_is_needed(
    held: list[set[int]], views: list[tuple[int, int]], dropped: set[int], used: set[int], jobs: set[int],
    away: list[set[int]],
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = FolderOrigin(Path(folder), URL)
        shards = [made(place.folder, number) for number in range(8)]
        there = [manifest(place.folder, [shards[number] for number in sorted(numbers)]) for numbers in held]
        there += [view_of(there[of], place, count) for of, count in views if of < len(held)]
        there = list({one.file_name(): one for one in there}.values())
        drop = sorted({there[number].file_name() for number in dropped if number < len(there)})
        uses = [Use("train.sub", there[number].file_name(), there[number]) for number in used if number < len(there)]
        uses += [Use("job 1.0", shards[number].name) for number in jobs]
        for numbers in away:  # in the project, and no longer here
            gone = manifest(place.folder, [shards[number] for number in sorted(numbers)], synthetic=True)
            (place.folder / gone.file_name()).unlink()
            uses.append(Use("predict.sub", gone.file_name(), gone))
        before = place.objects()
        staying = [one for one in there if one.file_name() not in drop]
        needed = {shard.name for one in staying for shard in one.shards}
        needed |= {use.name for use in uses} | {shard.name for use in uses if use.held for shard in use.held.shards}
        needed |= {one.file_name() for one in staying}
        blocked = {use.name for use in uses} | {
            one.file_name() for one in there for use in uses
            if use.held and use.held.view and use.held.view["of"] == one.sha256()
        }  # fmt: skip
        if blocked & set(drop):
            with pytest.raises(StageError, match="that nobody uses is wanted"):
                prune(place, uses, drop, 0, really=True)
            assert place.objects() == before
            return
        dry = prune(place, uses, drop, 0)
        assert place.objects() == before
        done = prune(place, uses, drop, 0, really=True)
        assert (done.removed, done.kept) == (dry.removed, dry.kept)
        assert place.objects().keys() == before.keys() & needed
        assert prune(place, uses, [], stage_prune.DAY, really=True).removed == {}


def test_who_uses_what_in_a_project(place: FolderOrigin, shards: list[Shard], project: Path) -> None:
    whole, other, old = (manifest(project / "staged", shards[:count]) for count in (1, 2, 3))
    listed = "small-folds-0123456789ab.txt"
    (project / "train.sub").write_text(
        f"if ! defined data\ndata = staged/{whole.file_name()}\n# data = staged/{old.file_name()}\n"
        f"data_objects = {URL}/{shards[3].name}?directread, {URL}/{shards[0].name}\nendif\nqueue 1\n"
    )
    (project / "predict.sub").write_text(f"queue data, data_objects from staged/{listed}\n")
    (project / "staged" / listed).write_text(f"staged/{other.file_name()} {URL}/{shards[2].name}\n")
    (project / "staged" / "small-folds-999999999999.txt").write_text(f"staged/{old.file_name()}\n")
    (project / "more.dag").write_text('VARS a data="staged/x-manifest-123456789abc.json"\nVARS b d="no-folds-0.txt"\n')
    found = {(use.who, use.name): use.held for use in stage_uses.of_project(project)}
    assert found == {
        ("more.dag", "x-manifest-123456789abc.json"): None,
        (f"predict.sub, by {listed}", other.file_name()): other,
        (f"predict.sub, by {listed}", shards[2].name): None,
        ("train.sub", whole.file_name()): whole,
        ("train.sub", shards[3].name): None,
        ("train.sub", shards[0].name): None,
    }
    assert stage_uses.of_project(place.folder) == []


def test_what_a_project_uses_and_nobody_can_read(shards: list[Shard], project: Path) -> None:
    name = "x-manifest-123456789abc.json"
    (project / "train.sub").write_text(f"data = staged/{name}\n")
    (project / "staged" / name).write_text("{")
    with pytest.raises(StageError, match=r"train\.sub uses it, and nobody knows what it names\. Stage the data again"):
        stage_uses.of_project(project)
    (project / "train.sub").write_bytes(b"data = \xff\n")
    with pytest.raises(
        StageError, match=r"train.sub: cannot be read \(.*so nobody knows what it uses; a text is wanted"
    ):
        stage_uses.of_project(project)


def condor_q(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """HTCondor itself is not on the machine: a program that answers like it (tests/pool asks the real one)."""
    program = folder / "condor_q"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_what_jobs_in_the_queue_use(tmp_path: Path, shards: list[Shard], monkeypatch: pytest.MonkeyPatch) -> None:
    sent = f"run.sh,staged/x-manifest-123456789abc.json,{URL}/{shards[0].name}"
    jobs = json.dumps([{"ClusterId": 12, "ProcId": 3, "TransferInput": sent}, {"ClusterId": 13, "ProcId": 0}])
    condor_q(tmp_path, monkeypatch, f"cat <<'E'\n{jobs}\nE")
    assert stage_uses.of_queue() == [
        Use("job 12.3", "x-manifest-123456789abc.json"),
        Use("job 12.3", shards[0].name),
    ]
    condor_q(tmp_path, monkeypatch, "exit 0")  # no jobs: it prints nothing
    assert stage_uses.of_queue() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo first >&2; echo 'Failed to connect to schedd' >&2; exit 1", "condor_q: Failed to connect to schedd;"),
        ("exit 3", "condor_q: exit code 3;"),
        ("echo hello", r"condor_q: no list of jobs but 'hello\\n';"),
        ("echo '[1]'", "condor_q: no list of jobs but"),
        ("exec sleep 9", "condor_q: .*timed out after"),
    ],
)
def test_a_queue_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.setattr(stage_uses, "_PATIENCE", 1)
    condor_q(tmp_path, monkeypatch, text)
    with pytest.raises(StageError, match=f"{said}.* an answer is wanted, or nobody knows what jobs use"):
        stage_uses.of_queue()


def test_no_queue_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pool, "init_pid", lambda: None)
    assert stage_uses.of_queue() == []
