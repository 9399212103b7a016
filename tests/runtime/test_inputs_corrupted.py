"""The corruption trial: whatever happens to a staged data set on its way, nothing wrong is ever handed out.

Each corruption is of a fresh copy of a sound sandbox. It is caught if `opened` raises with the code that the fault has,
names the file, and leaves no folder to train on; or, of files that were unpacked already, if all of them are right
again afterwards. `--soak`: 1,000 of them; without it a tenth.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from submit.runtime import inputs, manifest
from submit.runtime.exit_codes import BadInput, BadMachine, Fault
from tests.runtime import staged

OTHER = {name: content[::-1] + b"older" for name, content in staged.FILES.items()}


class Sandbox:
    """A copy of a sound one."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.manifest = next(folder.glob("small-manifest-*.json"))
        self.shards = list(manifest.read(self.manifest).shards)
        self.shard = folder / chance.choice(self.shards).name

    def edit(self, path: Path, change: Callable[[bytearray], object]) -> Path:
        """Changes a file for sure."""
        before = path.read_bytes()
        while True:
            content = bytearray(before)
            change(content)
            if content != before:
                path.write_bytes(content)
                return path

    def flip(self, content: bytearray) -> None:
        for _ in range(self.chance.choice((1, 1, 3, 20))):
            content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)

    def cut(self, content: bytearray) -> None:
        del content[self.chance.choice((0, len(content) - 1, self.chance.randrange(len(content)))) :]

    def hole(self, content: bytearray) -> None:
        at = self.chance.randrange(len(content))
        size = min(self.chance.choice((512, 4096)), len(content) - at)
        content[at : at + size] = bytes(size)

    def moved(self, content: bytearray) -> None:
        size = min(512, len(content) // 4)
        start, end = (self.chance.randrange(len(content) - size) for _ in range(2))
        content[end : end + size] = content[start : start + size]

    def restage(self, content: bytes, files: dict[str, bytes]) -> Path:
        """Another shard and a manifest that agree in all hashes."""
        self.manifest.unlink()
        first = self.shards[0]
        made = staged.shard(self.folder, 0, content, files, first.compression)
        self.manifest = staged.manifest(self.folder, [made, *self.shards[1:]])
        return self.folder / made.name

    @property
    def files(self) -> dict[str, bytes]:
        """Of the first shard."""
        return {name: staged.FILES[name] for name in self.shards[0].files}


Expected = tuple[type[Fault], Path]


def flipped(box: Sandbox) -> Expected:
    return BadMachine, box.edit(box.shard, box.flip)


def truncated(box: Sandbox) -> Expected:
    return BadMachine, box.edit(box.shard, box.cut)


def longer(box: Sandbox) -> Expected:
    return BadMachine, box.edit(box.shard, lambda content: content.extend(bytes(box.chance.randrange(1, 2000))))


def zeroed(box: Sandbox) -> Expected:
    return BadMachine, box.edit(box.shard, box.hole)


def misplaced_block(box: Sandbox) -> Expected:
    return BadMachine, box.edit(box.shard, box.moved)


def swapped_shards(box: Sandbox) -> Expected:
    one, two = (box.folder / shard.name for shard in box.chance.sample(box.shards, 2))
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    return BadMachine, box.folder  # which of the two is chance


def stale_object(box: Sandbox) -> Expected:
    """A cache serves what once had this name."""
    names = next(shard for shard in box.shards if shard.name == box.shard.name).files
    box.shard.write_bytes(staged.tar({name: OTHER[name] for name in names}))
    return BadMachine, box.shard


def stale_name(box: Sandbox) -> Expected:
    box.shard.rename(box.folder / f"small-0000-{box.chance.getrandbits(48):012x}.tar")
    return BadInput, box.shard


def missing_shard(box: Sandbox) -> Expected:
    box.shard.unlink()
    return BadInput, box.shard


def missing_member(box: Sandbox) -> Expected:
    gone = box.chance.choice(sorted(box.files))
    return BadInput, box.restage(staged.tar({n: c for n, c in box.files.items() if n != gone}), box.files)


def more_members(box: Sandbox) -> Expected:
    return BadInput, box.restage(staged.tar({**box.files, "train/p9/flair.nii": b"9"}), box.files)


def renamed_member(box: Sandbox) -> Expected:
    one = box.chance.choice(sorted(box.files))
    return BadInput, box.restage(staged.tar({n + "_" * (n == one): c for n, c in box.files.items()}), box.files)


def resized_member(box: Sandbox) -> Expected:
    one = box.chance.choice(sorted(box.files))
    return BadInput, box.restage(staged.tar({n: c + b"_" * (n == one) for n, c in box.files.items()}), box.files)


def flipped_manifest(box: Sandbox) -> Expected:
    return BadInput, box.edit(box.manifest, box.flip)


def truncated_manifest(box: Sandbox) -> Expected:
    return BadInput, box.edit(box.manifest, box.cut)


def another_sets_manifest(box: Sandbox) -> Expected:
    """Under this one's name."""
    other = staged.build(box.folder / "other", OTHER, 2)
    shutil.copy(other, box.manifest)
    return BadInput, box.manifest


def another_sets_shards(box: Sandbox) -> Expected:
    """Beside a sound manifest of its own name."""
    other = staged.build(box.folder / "other", OTHER, 2)
    box.manifest = Path(shutil.copy(other, box.folder))
    return BadInput, box.folder / manifest.read(box.manifest).shards[0].name


BEFORE = (
    *(flipped, truncated, longer, zeroed, misplaced_block, swapped_shards, stale_object, stale_name, missing_shard),
    *(missing_member, more_members, renamed_member, resized_member),
    *(flipped_manifest, truncated_manifest, another_sets_manifest, another_sets_shards),
)


def file_flipped(box: Sandbox, file: Path) -> None:
    box.edit(file, box.flip)


def file_truncated(box: Sandbox, file: Path) -> None:
    box.edit(file, box.cut)


def file_gone(box: Sandbox, file: Path) -> None:
    file.unlink()


def file_linked(box: Sandbox, file: Path) -> None:
    file.unlink()
    file.symlink_to(box.manifest)


AFTER = (file_flipped, file_truncated, file_gone, file_linked)


def before(box: Sandbox, corrupt: Callable[[Sandbox], Expected]) -> None:
    """Corrupts what arrives."""
    code, file = corrupt(box)
    with pytest.raises(code) as caught:
        inputs.opened(box.manifest)
    assert type(caught.value) is code
    assert caught.value.where.startswith(str(file)), caught.value
    if corrupt is swapped_shards:
        assert "swapped" in str(caught.value) and caught.value.where.endswith((".tar", ".zst"))
    assert not (box.folder / "small").exists()
    assert not list(box.folder.glob(".*"))


def after(box: Sandbox, corrupt: Callable[[Sandbox, Path], None]) -> None:
    """Corrupts what is there when a job starts again; its shard has gone in half of the cases."""
    folder = inputs.opened(box.manifest).folder
    name = box.chance.choice(sorted(name for name, content in staged.FILES.items() if content))
    corrupt(box, folder / name)
    shard = next(shard for shard in box.shards if name in shard.files)
    if box.chance.random() < 0.5:
        (box.folder / shard.name).unlink()
        with pytest.raises(BadMachine) as caught:
            inputs.opened(box.manifest)
        assert caught.value.where == str(folder / name)
        assert shard.name in caught.value.wanted
    else:
        assert staged.contents(inputs.opened(box.manifest).folder) == staged.FILES


def test_corruptions(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count = 1000 if request.config.getoption("--soak") else 105
    sound = [
        staged.build(tmp_path / f"{number}{kind}", staged.FILES, number, kind).parent
        for number in (2, 3, 5)
        for kind in ("none", "zstd")
    ]
    caught: Counter[str] = Counter()
    for number in range(count):
        chance = random.Random(number)
        box = Sandbox(Path(shutil.copytree(chance.choice(sound), tmp_path / "sandbox")), chance)
        index = number % (len(BEFORE) + len(AFTER))
        try:
            if index < len(BEFORE):
                before(box, BEFORE[index])
            else:
                after(box, AFTER[index - len(BEFORE)])
        except BaseException:
            print(f"corruption {number} of {box.folder}")
            raise
        caught[(*BEFORE, *AFTER)[index].__name__] += 1
        shutil.rmtree(box.folder)
    print(f"{count} corruptions: all caught, by kind {dict(caught)}")
