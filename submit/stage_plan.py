"""What staging a data set would mean for its jobs: what each fetches, and how much of its slot does useful work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from submit import dataset_facts, disk, inventory, shards, stage_observed
from submit.errors import StageError, wrong
from submit.origin import DOCUMENTED_QUOTA, bytes_words
from submit.runtime.manifest import Manifest
from submit.submission import Submission

ROUTES = ("htcondor", "osdf")
# Assumptions, bytes a second and job. Measured ones, from the project's own event logs, come before them
SPEED = {"htcondor": 10e6, "osdf": 25e6}
UNPACK_SPEED = 200e6  # with every byte's SHA-256; measured on 2 cores: 248 MB/s of .tar, 189 of .tar.zst
PREPARE_SPEED = 9e6  # bytes of .nii.gz; measured on 2 cores: 1.3 s for two patients of BRATS 2015, 12 MB, read cold
# An assumption: container, GPU test, import, first step. 6 to 8 s where all is on the disk already, a cold CVMFS is not
START_S = 60.0
STARTS = 1.2  # an assumption: a job in five starts again on another machine
OUT_BYTES = 100_000_000  # an assumption: two networks, metrics, a report
COMPUTE_S = (600.0, 3_600.0, 18_000.0)  # where nobody says how long a job computes
# The OSPool's documentation, managing_data/overview: HTCondor's transfer is for less, a file and a job
BY_TRANSFER = 10**9
MANY_JOBS = 10  # its "many jobs" has no number; this is ours
FOLDS = 5
HALF = 0.5


@dataclass(frozen=True)
class Load:
    """What a job carries.

    Attributes:
        shards: bytes of each.
        unpacked_bytes: of all files.
        route: htcondor or osdf.
        prepared: the files are arrays that need no preparing.
        jobs: that get the data.
        share: of the shards that one job gets, above 0 up to 1.
        speed: bytes a second.
        image_bytes: that come with the job; 0 on CVMFS.
        starts: of a job, 1 or more: each on another machine fetches everything again.
        start_s: from the first byte's arrival unpacked to the first step, but for preparing.
        out_bytes: of a job's results.
        sources: for speed, starts, image: where the number comes from.
    """

    shards: tuple[int, ...]
    unpacked_bytes: int
    route: str
    prepared: bool = False
    jobs: int = 1
    share: float = 1.0
    speed: float = SPEED["osdf"]
    image_bytes: int = 0
    starts: float = STARTS
    start_s: float = START_S
    out_bytes: int = OUT_BYTES
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def start_bytes(self) -> int:
        """What one start of a job fetches."""
        return math.ceil(self.share * sum(self.shards)) + self.image_bytes

    @property
    def seconds(self) -> dict[str, float]:
        """What a job does beside computing, in all its starts."""
        prepare = 0.0 if self.prepared else self.share * self.unpacked_bytes / PREPARE_SPEED
        return {
            "transfer in": self.starts * self.start_bytes / self.speed,
            "unpack and check": self.starts * self.share * self.unpacked_bytes / UNPACK_SPEED,
            "prepare": self.starts * prepare,
            "start": self.starts * self.start_s,
            "transfer out": self.out_bytes / self.speed,
        }

    @property
    def overhead_s(self) -> float:
        return sum(self.seconds.values())

    def useful(self, compute_s: float) -> float:
        """The share of a slot's time that computes; waiting in the queue takes no slot."""
        return compute_s / (compute_s + self.overhead_s)


@dataclass(frozen=True)
class Change:
    """Something to change, and the useful share with it."""

    what: str
    useful: float


@dataclass(frozen=True)
class Row:
    """For jobs that compute so long; `changes`, the best first, where less than half would be useful work."""

    compute_s: float
    slot_s: float
    useful: float
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Plan:
    """`advice`: where the OSPool's policy wants it otherwise, whatever the shares are."""

    load: Load
    compute_source: str
    rows: tuple[Row, ...]
    advice: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: bytes, seconds, shares from 0 to 1."""
        load = self.load
        largest = max(load.shards)
        per_job = load.starts * load.start_bytes
        return {
            "shards": {"count": len(load.shards), "largest_bytes": largest, "bytes": sum(load.shards)},
            "unpacked_bytes": load.unpacked_bytes,
            "route": load.route,
            "jobs": load.jobs,
            "share_of_shards": load.share,
            "bytes_per_start": load.start_bytes,
            "image_bytes": load.image_bytes,
            "starts_per_job": load.starts,
            "bytes_per_job": math.ceil(per_job),
            "bytes_of_all_jobs": math.ceil(load.jobs * per_job),
            "bytes_per_s": load.speed,
            "seconds_per_job": load.seconds,
            "overhead_s": load.overhead_s,
            "sources": {**load.sources, "compute": self.compute_source},
            "compute": [
                {"compute_s": row.compute_s, "slot_s": row.slot_s, "useful": row.useful,
                 "changes": [vars(change) for change in row.changes]}
                for row in self.rows
            ],
            "advice": list(self.advice),
        }  # fmt: skip


def plan(load: Load, compute_s: float | None = None, compute_source: str = "--compute") -> Plan:
    """What `load` means for jobs that compute `compute_s` seconds each; for three such times where it is None.

    Raises:
        StageError: a number that cannot be.
    """
    limits: list[tuple[str, float, float, float, str]] = [
        ("--jobs", load.jobs, 1, math.inf, "a number from 1 on"),
        ("--share", load.share, 1e-6, 1, "a part above 0, at most 1"),
        ("--starts", load.starts, 1, math.inf, "a number from 1 on"),
        ("--speed", load.speed, 1, math.inf, "a speed such as 25MB/s"),
        ("--compute", 1 if compute_s is None else compute_s, 1, math.inf, "a time such as 30min"),
        ("--start", load.start_s, 0, math.inf, "a time such as 60s"),
        ("--image-size", load.image_bytes, 0, math.inf, "a size such as 4GB"),
    ]
    for name, value, least, most, wanted in limits:
        if not least <= value <= most or value == math.inf:
            raise StageError(wrong(name, value, "cannot be", f"{wanted} is wanted", "Leave it out for the default"))
    if not load.shards or load.route not in ROUTES:
        raise StageError(
            wrong("route", load.route, "nothing goes that way", "shards, and htcondor or osdf", "See docs")
        )
    times = COMPUTE_S if compute_s is None else (compute_s,)
    rows = []
    for one in times:
        useful = load.useful(one)
        changes = _changes(load, one) if useful < HALF else ()
        rows.append(Row(one, one + load.overhead_s, useful, changes))
    source = compute_source if compute_s is not None else "not known; three examples"
    return Plan(load, source, tuple(rows), tuple(_advice(load)))


def _changes(load: Load, compute_s: float) -> tuple[Change, ...]:
    """Each alone, the one of most effect first; those that help."""
    found = []
    if load.jobs > 1:
        whole = replace(load, share=1.0)  # several folds in a job need all shards
        merged = min(load.jobs, max(2, math.ceil(whole.overhead_s / compute_s)))
        left = math.ceil(load.jobs / merged)
        what = f"fewer, larger jobs: the work of {merged} in one, {left} instead of {load.jobs}"
        found.append(Change(what, whole.useful(merged * compute_s)))
    longer = math.ceil(load.overhead_s)
    found.append(
        Change(
            f"more epochs in each job: let it compute for {span(longer)}, not {span(compute_s)}", load.useful(longer)
        )
    )
    if not load.prepared:
        arrays = replace(
            load,
            prepared=True,
            shards=tuple(math.ceil(disk.PREPARED * one) for one in load.shards),
            unpacked_bytes=math.ceil(disk.PREPARED * load.unpacked_bytes),
        )
        found.append(Change("stage prepared arrays: python -m unet_segmentation prepare", arrays.useful(compute_s)))
    if load.share == 1 and load.jobs > 1:
        what = f"if the jobs are folds, send each only its own shards (--splits); {FOLDS} folds"
        found.append(Change(what, replace(load, share=1 - 1 / FOLDS).useful(compute_s)))
    if load.image_bytes:
        found.append(Change("an image on CVMFS, which does not travel", replace(load, image_bytes=0).useful(compute_s)))
    if load.route == "htcondor" and load.speed < SPEED["osdf"]:
        faster = replace(load, route="osdf", speed=SPEED["osdf"])
        what = f"stage to osdf:///ospool/..., at {bytes_words(int(SPEED['osdf']))}/s if what is assumed holds"
        found.append(Change(what, faster.useful(compute_s)))
    now = load.useful(compute_s)
    helps = [one for one in found if one.useful > now and (one.useful >= HALF or one.useful > now + 0.005)]
    return tuple(sorted(helps, key=lambda change: -change.useful))


def _advice(load: Load) -> list[str]:
    """Where the OSPool's policy wants something else."""
    found = []
    if load.route == "htcondor":
        most = bytes_words(BY_TRANSFER)
        if max(load.shards) > BY_TRANSFER:
            found.append(
                f"shards of up to {bytes_words(max(load.shards))}: HTCondor's transfer is for less than {most} a file: "
                "--shard-size 400MB"
            )
        if load.start_bytes > BY_TRANSFER:
            found.append(
                f"{bytes_words(load.start_bytes)} leave the access point for each start of a job, less than {most} is "
                "meant: stage to osdf:///ospool/..."
            )
        elif load.jobs >= MANY_JOBS:
            found.append(f"{load.jobs} jobs get the same data: what many jobs need belongs on osdf:///ospool/...")
    total = sum(load.shards)
    if load.route == "osdf" and total > DOCUMENTED_QUOTA:
        found.append(f"{bytes_words(total)} are to lie there, the documented quota is {bytes_words(DOCUMENTED_QUOTA)}")
    return found


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def of_source(source: Path, route: str, shard_bytes: int | None = None) -> Load:
    """The shards that staging would make of a folder, before compression; nobody looks into the files.

    Raises:
        StageError: no such folder, or a file that cannot travel.
    """
    members = inventory.take(source).members()
    size = shard_bytes or shards.SHARD_BYTES[route]
    facts = dataset_facts.prepared(source)
    if facts is None:
        units: Sequence[shards.Unit] = shards.of_folders(members, size)
    else:
        patients = {name: one.get("paths", ()) for name, one in facts["patients"].items()}
        units = shards.of_patients(members, patients, {})
    sizes = tuple(one.bytes for one in shards.plan(units, size))
    return Load(sizes, sum(member.bytes for member in members), route, prepared=facts is not None)


def of_manifest(held: Manifest) -> Load:
    """The shards that a job gets with a manifest."""
    route = "osdf" if held.at.startswith("osdf:") else "htcondor"
    return Load(tuple(one.bytes for one in held.shards), held.unpacked_bytes, route, held.kind == "prepared")


def with_project(load: Load, project: Path, local: bool = False) -> Load:
    """`load` with what the project's own jobs tell of speed, starts and image; assumptions where they tell nothing."""
    logs = stage_observed.logs(project)
    speed, starts = stage_observed.observed_speed(logs, local), stage_observed.observed_starts(logs, local)
    image, said = _image(project)
    sources = {
        "speed": f"measured in {len(logs)} event logs" if speed else "an assumption; --speed sets it",
        "starts": f"measured in {len(logs)} event logs" if starts else "an assumption; --starts sets it",
        "image": said,
    }
    return replace(load, speed=speed or SPEED[load.route], starts=starts or STARTS, image_bytes=image, sources=sources)


def _image(project: Path) -> tuple[int, str]:
    """Bytes of the image that travels with the jobs of a project, and where that stands."""
    for path in sorted(project.glob("*.sub"), key=lambda path: (path.name != "train.sub", path.name)):
        job = Submission.read(path)
        if job.image_command is None:
            continue
        if job.image and job.image.kind == "cvmfs":
            return 0, f"{path.name}: on CVMFS, it does not travel"
        try:
            return (job.folder / job.image_reference).stat().st_size, f"{path.name}: {job.image_reference}"
        except OSError:
            return disk.UNKNOWN_IMAGE // disk.IMAGE_COPIES, f"{path.name}: a guess; --image-size sets it"
    return 0, "no submit file here names one"
