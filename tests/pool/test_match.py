"""What `osgdl match` foretells is what the negotiator does: generated requests against the simulated sites."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from submit import pool, preview, preview_table, sites
from submit.description import Description
from submit.errors import KitError
from submit.match import match
from tests.pool.conftest import render

pytestmark = [pytest.mark.pool, pytest.mark.slow, pytest.mark.xdist_group("match")]

ALL, FRACTION, SEED = 300, 60, 20261124
BATCH = 15  # of more idle jobs than 20 the schedd offers the negotiator the first alone


@pytest.fixture(scope="module")
def empty_pool(condor: object) -> Iterator[None]:
    """A pool of its own: a job of another test would hold a part of a slot."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OSGDL_POOL", "match")
    pool.up()
    pool.run(["condor_rm", "-all"], cwd=Path("/"))  # what an interrupted run left
    yield
    pool.run(["condor_rm", "-all"], cwd=Path("/"))
    pool.down()
    patch.undo()


def request(random: random.Random) -> str:
    """A submit file that some sites take, or few, or none."""

    def now_and_then(likely: float, *lines: str) -> list[str]:
        return [random.choice(lines)] if random.random() < likely else []

    requirements = [
        *now_and_then(0.3, "(HAS_SINGULARITY =?= True)", "(HAS_SINGULARITY =!= True)", "HasSIF"),
        *now_and_then(
            0.3, "(HAS_CVMFS_singularity_opensciencegrid_org =?= True)", "HAS_CVMFS_oasis_opensciencegrid_org =!= True"
        ),
        *now_and_then(
            0.4,
            'GLIDEIN_Site == "UCSD" || GLIDEIN_Site == "TCNJ" || GLIDEIN_Site == "Colorado"',
            'stringListIMember(GLIDEIN_Site, "Nebraska,Manchester,UChicago")',
            'GLIDEIN_Site != "Wisconsin"',
            "(GLIDEIN_ToDie - time() > 30 * 3600)",
            'regexp("gpu", TARGET.Machine)',
            "TotalGPUs >= 2",
            "isUndefined(NoSuchAttribute)",
            "NoSuchAttribute > 1",
        ),
    ]
    gpus = random.choice(["1", "1", "1", "2", "4", "5"])
    asks = random.random() < 0.85
    lines = [
        "executable = /bin/true",
        "transfer_executable = false",
        "should_transfer_files = YES",
        '+ProjectName = "OSGDL_Tests"',
        "log = match.log",
        f"request_cpus = {random.choice([1, 1, 4, 8, 12, 16, 32, 33])}",
        f"request_memory = {random.choice(['1GB', '8GB', '48GB', '96GB', '97GB', '200GB', '256GB', '300GB'])}",
        "request_disk = 10MB",
        *(["request_gpus = " + gpus] if asks else []),
        *now_and_then(
            0.4, *(f"gpus_minimum_capability = {value}" for value in ("6.0", "7.0", "7.5", "8.0", "8.9", "9.0", "10.0"))
        ),
        *now_and_then(0.3, *(f"gpus_maximum_capability = {value}" for value in ("6.1", "7.0", "7.5", "8.9", "9.0"))),
        *now_and_then(
            0.4,
            *(f"gpus_minimum_memory = {value}" for value in ("10GB", "15GB", "16GB", "38GB", "40GB", "79GB", "100GB")),
        ),
        *now_and_then(
            0.4, *(f"gpus_minimum_runtime = {value}" for value in ("11.0", "12.0", "12.4", "12.8", "13.0", "13.1"))
        ),
        *now_and_then(
            0.25,
            'require_gpus = !regexp("MIG", DeviceName)',
            'require_gpus = regexp("A100", DeviceName)',
            "require_gpus = Capability > 7.0",
            "require_gpus = ECCEnabled =?= True && GlobalMemoryMb < 42000",
            "require_gpus = DriverVersion >= 12.4",
        ),
        *now_and_then(0.2, '+JobDurationCategory = "Long"', '+JobDurationCategory = "Medium"'),
        *([f"requirements = {' && '.join(f'({part})' for part in requirements)}"] if requirements else []),
    ]
    return "\n".join([*lines, "queue", ""])


def negotiate(folder: Path, clusters: set[int], would: set[int], seconds: float = 120) -> dict[int, str]:
    """Where each job of a batch ran; the others were refused by the negotiator while every slot was free, and are
    removed.
    """
    deadline = time.monotonic() + seconds
    ended = 0.0
    while True:
        asked = pool.run(["condor_q", "-af", "ClusterId", "JobStatus", "LastRejMatchTime"], cwd=folder).stdout
        queued = {int(words[0]): words[1:] for line in asked.splitlines() if len(words := line.split()) == 3}
        if not ended and not queued.keys() & would and all(status == "1" for status, _ in queued.values()):
            ended = time.time()
        refused = {cluster for cluster, (_, when) in queued.items() if when.isdigit() and int(when) > ended + 2}
        if time.monotonic() > deadline or (ended and refused == queued.keys()):
            break
        time.sleep(1)
    pool.run(["condor_rm", *map(str, clusters)], cwd=folder)
    ran = pool.run(
        ["condor_history", "-af", "ClusterId", "LastRemoteHost", "-limit", str(4 * BATCH)], cwd=folder
    ).stdout
    return {int(words[0]): words[1] for line in ran.splitlines() if (words := line.split())[1] != "undefined"}


def test_the_negotiator_agrees(empty_pool: None, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    count = ALL if pytestconfig.getoption("--soak") else FRACTION
    generator = random.Random(SEED)
    for number in range(count):
        (tmp_path / f"{number:03}.sub").write_text(request(generator))
    pool.run(["sh", "-c", "for f in ???.sub; do condor_submit -dry-run $f.ad $f; done"], cwd=tmp_path, timeout=600)
    slots = preview.live(local=True)
    startds = {site.startd.lower(): site.site for site in sites.load()}
    disagree, runs = [], 0
    for begin in range(0, count, BATCH):
        numbers = range(begin, min(begin + BATCH, count))
        names = " ".join(f"{number:03}.sub" for number in numbers)
        script = f"for f in {names}; do condor_submit -terse $f || exit 1; done"
        submitted = pool.run(["sh", "-c", script], cwd=tmp_path, timeout=600)
        assert submitted.returncode == 0, submitted.stderr
        clusters = [int(line.split(".")[0]) for line in submitted.stdout.splitlines()]
        foretold = {
            cluster: match((tmp_path / f"{number:03}.sub.ad").read_text(), slots)
            for cluster, number in zip(clusters, numbers, strict=True)
        }
        would = {cluster for cluster, found in foretold.items() if found.matching_slots}
        where = negotiate(tmp_path, set(clusters), would)
        runs += len(would)
        for (cluster, found), number in zip(foretold.items(), numbers, strict=True):
            site = startds[re.split(r"[@_.]", where[cluster].split("@")[1].lower())[0]] if cluster in where else ""
            if (site not in found.by_site) if site else found.matching_slots:
                disagree.append((number, found.by_site, site or "idle"))
    print(f"{count - len(disagree)} of {count} agree with the negotiator: {runs} ran, {count - runs} no slot took")
    assert not disagree
    # a sample in which nothing or everything matches would agree by chance
    assert 0.15 * count < runs < 0.85 * count


def test_a_rendered_project_is_previewed(empty_pool: None, tmp_path: Path) -> None:
    """The sites that have the image, the driver and the GPU; clause by clause; from a snapshot the same."""
    folder = render(tmp_path)
    found = preview.preview(folder / "train.sub", local=True)
    assert found.found.slots == 13 and found.pool == "local pool" and found.warnings == []
    assert set(found.found.by_site) == {"Nebraska", "UCSD", "Syracuse", "Vanderbilt", "Wisconsin", "UChicago"}
    assert found.found.matching_gpus == 10
    (runtime,) = [clause for clause in found.found.clauses if clause.text.startswith("gpus_minimum_runtime")]
    assert runtime.gain_if_dropped == 1 and runtime.relaxed == (11040, 1)
    assert "6 of 13 slots would take it with 10 GPUs" in preview_table.text(found)
    preview.live(local=True).write(tmp_path / "slots.json.gz")
    again = preview.preview(folder / "train.sub", slots=tmp_path / "slots.json.gz")
    assert again.found == found.found
    held = again.as_json()
    for key in ("slots", "matching_slots", "matching_gpus", "clauses", "by_site", "by_gpu"):
        assert key in held


def test_a_request_that_fights_itself_is_warned_of(empty_pool: None, tmp_path: Path) -> None:
    folder = render(tmp_path)
    description = Description.read(folder / "train.sub")
    description.set("require_gpus", "Capability > 7.0")
    description.set("+DESIRED_Sites", '"UCSD"')
    description.write()
    warnings = preview.preview(folder / "train.sub", local=True).warnings
    assert any("OSG202" in line for line in warnings) and any("OSG604" in line for line in warnings)


def test_a_request_that_nothing_meets_says_what_to_relax(empty_pool: None, tmp_path: Path) -> None:
    folder = render(tmp_path, gpu_memory="200GB")
    found = preview.preview(folder / "train.sub", local=True)
    assert found.found.matching_slots == 0
    assert preview_table.verdict(found).endswith("[81079 would win 1]")


def test_what_cannot_be_previewed_is_one_line(empty_pool: None, tmp_path: Path) -> None:
    with pytest.raises(KitError, match="no such file"):
        preview.preview(tmp_path / "none.sub", local=True)
    for text, message in (
        ("executable = a\nnonsense\nqueue\n", "condor_submit refused it"),
        ("executable = a\n", "refused|queues no job"),
    ):
        (tmp_path / "bad.sub").write_text(text)
        with pytest.raises(KitError, match=message):
            preview.preview(tmp_path / "bad.sub", local=True)
    assert not list(tmp_path.glob(".osgdl-match-*"))
