"""The local pool itself: what its slots say, how it runs jobs, how it starts, refuses and ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from submit import image_build, image_push, pool, pool_root, project, sites
from tests.conftest import Condor
from tests.pool.conftest import render, submit

pytestmark = [pytest.mark.pool, pytest.mark.xdist_group("pool")]


def osgdl(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "submit", *words], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_slots_advertise_what_ospool_slots_do(condor: Condor) -> None:
    done = condor.run(["condor_status", "-json", "-constraint", "PartitionableSlot"], cwd=Path("/"))
    ads = {ad["Machine"]: ad for ad in json.loads(done.stdout)}
    assert set(ads) == {site.machine for site in sites.load()}
    for site in sites.load():
        ad = ads[site.machine]
        assert ad["OsgdlSimulatedGPU"] is True and ad["OSPool"] is True
        assert ad["GLIDEIN_Site"] == site.site and ad["GLIDEIN_ResourceName"] == site.resource
        assert {name: ad[name] for name in site.fault} == site.fault
        assert ad["HAS_SINGULARITY"] is site.singularity and ad["SINGULARITY_CAN_USE_SIF"] is site.singularity
        assert ad.get("HasSingularity", False) is site.singularity  # HTCondor's own test of it
        assert ad["HAS_CVMFS_singularity_opensciencegrid_org"] is site.cvmfs
        assert 0 < ad["GLIDEIN_ToDie"] - ad["MyCurrentTime"] <= 3600 * site.lifetime_h
        assert ad["TotalGPUs"] == site.gpus
        if site.gpu:
            assert ad["GPUs_DeviceName"] == site.gpu.name and ad["GPUs_Capability"] == site.gpu.capability
            assert (
                ad["GPUs_MaxSupportedVersion"] == site.gpu.runtime and ad["GPUs_NvidiaDriver"] == site.gpu.nvidia_driver
            )


def test_a_folder_that_the_pool_does_not_share_is_refused(condor: Condor) -> None:
    # /var/lib exists inside too, but is another one
    done = condor.run(["pwd"], cwd=Path("/var/lib"))
    assert done.returncode == 1 and done.stdout == ""
    assert "osgdl: /var/lib: not in the pool, which has its own" in done.stderr


def test_cvmfs_exists_in_it(condor: Condor) -> None:
    assert condor.run(["test", "-d", "/cvmfs/singularity.opensciencegrid.org"], cwd=Path("/")).returncode == 0


JOB = """executable = env.sh
{image}
requirements = (HAS_SINGULARITY =?= True) && (HAS_CVMFS_singularity_opensciencegrid_org =?= True)
request_gpus = {gpus}
request_cpus = 1
request_memory = 1GB
request_disk = 1GB
{more}
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
+ProjectName = "OSGDL_Tests"
log = logs/$(Cluster).log
output = logs/$(Cluster).out
error = logs/$(Cluster).err
queue
"""
SHOW = """#!/bin/sh
env
echo "IMAGE ${APPTAINER_CONTAINER:-none}"
echo "PWD $(pwd)"
echo "UID $(id -u)"
python3 -c 'import importlib.util as u; print("KERAS", bool(u.find_spec("keras")))'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "env.sh").write_text(SHOW)
    (tmp_path / "env.sh").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", ['+SingularityImage = "{}"', "container_image = {}"], ids=["legacy", "standard"])
def test_jobs_run_in_their_image_as_pilots_run_them(condor: Condor, image: str, folder: Path, command: str) -> None:
    text = JOB.format(image=command.format(image), gpus=2, more="gpus_minimum_memory = 20GB")
    (folder / "env.sub").write_text(text)
    os.environ["OSGDL_LEAK"] = "from the access point"
    try:
        job = submit(condor, folder, "env.sub")
    finally:
        del os.environ["OSGDL_LEAK"]
    assert job.wait("done", seconds=120).exit_code == 0
    out = (folder / "logs" / f"{job.cluster}.out").read_text()
    assert f"IMAGE {image}" in out and "KERAS True" in out
    assert "PWD /srv" in out and "HOME=/srv" in out
    assert "OSGDL_LEAK" not in out and "LD_LIBRARY_PATH=/pool" not in out
    devices = next(line for line in out.splitlines() if line.startswith("CUDA_VISIBLE_DEVICES="))
    assert [len(device) for device in devices.split("=")[1].split(",")] == [40, 40]  # "GPU-" and a whole UUID
    assert "UID 1000" in out  # an ordinary user


def test_a_sif_is_built_sent_and_run(condor: Condor, folder: Path) -> None:
    base = pool_root.ensure("base", print)
    recipe = f"Bootstrap: localimage\nFrom: /pool/cache/{base.name}\n\n%post\n    touch /made-here\n"
    (folder / "small.def").write_text(recipe)
    image_build.build(folder / "small.def", str(folder / "small.sif"), cpu=False, force=False, say=print)
    assert (folder / "small.sif").stat().st_uid == os.getuid()
    (folder / "env.sh").write_text('#!/bin/sh\nls /made-here && echo "IMAGE ${APPTAINER_NAME:-none}"\n')
    text = JOB.format(image="container_image = small.sif", gpus=1, more="")
    (folder / "env.sub").write_text(text.replace(" && (HAS_CVMFS_singularity_opensciencegrid_org =?= True)", ""))
    job = submit(condor, folder, "env.sub")
    assert job.wait("done", "held", seconds=180).exit_code == 0, job.log.read_text()
    assert "IMAGE small.sif" in (folder / "logs" / f"{job.cluster}.out").read_text()
    # from the OSDF, as on the OSPool
    url = image_push.push(folder / "small.sif", None, lambda done, total: None, local=True)
    project.use_image(url, [folder / "env.sub"])
    job = submit(condor, folder, "env.sub")
    assert job.wait("done", "held", seconds=180).exit_code == 0, job.log.read_text()
    assert f"IMAGE {Path(url).name}" in (folder / "logs" / f"{job.cluster}.out").read_text()


def test_down_asks_first_where_a_job_would_be_lost(condor: Condor, tmp_path: Path) -> None:
    (tmp_path / "held.sub").write_text("executable = /bin/true\nhold = True\nlog = held.log\nqueue\n")
    cluster = condor.run(["condor_submit", "-terse", "held.sub"], cwd=tmp_path).stdout.split(".")[0]
    command = ["script", "-qefc", f"{sys.executable} -m submit pool down", "/dev/null"]
    done = subprocess.run(command, input="n\n", capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert re.search(r"\d+ jobs? (is|are) in its queue, and would be lost\. Stop\? \[y/N\]", done.stdout)
    assert done.returncode == 1 and pool.init_pid()
    condor.run(["condor_rm", cluster], cwd=tmp_path)


def test_a_mig_slice_is_named_as_one(condor: Condor, image: str, folder: Path) -> None:
    more = 'require_gpus = regexp("MIG", DeviceName)'
    (folder / "env.sub").write_text(JOB.format(image=f'+SingularityImage = "{image}"', gpus=1, more=more))
    job = submit(condor, folder, "env.sub")
    assert job.wait("done", seconds=120).starts[0].time
    assert "CUDA_VISIBLE_DEVICES=MIG-" in (folder / "logs" / f"{job.cluster}.out").read_text()


def test_long_jobs_match_only_pilots_that_live_long(condor: Condor, tmp_path: Path) -> None:
    project = render(tmp_path, job_duration="Long")
    done = condor.run(["condor_submit", "-dry-run", "ad", "train.sub"], cwd=project)
    assert done.returncode == 0
    ad = (project / "ad").read_text().strip()
    slots = condor.run(["condor_status", "-long", "-constraint", "PartitionableSlot"], cwd=project).stdout
    import classad2
    import htcondor2  # noqa: F401

    job = classad2.parseOne(ad, classad2.ParserType.Old)
    takers = set()
    for text in slots.strip().split("\n\n"):
        slot = classad2.parseOne(text, classad2.ParserType.Old)
        slot["Requirements"] = slot.lookup("START")  # the policy alone: other tests' jobs may sit on the GPUs
        if job.matches(slot):
            takers.add(slot.eval("GLIDEIN_Site"))
    assert takers == {"Wisconsin", "UChicago"}  # 72 and 48 h left; "Long" asks for 40


def test_a_request_no_site_meets_is_explained(condor: Condor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from submit import follow
    from submit.errors import NoMatch

    monkeypatch.setattr(follow, "IDLE_SECONDS", 3)
    project = render(tmp_path, gpu_memory="200GB")
    (project / "data").mkdir()
    cluster = follow.submit(project / "train.sub")
    with pytest.raises(NoMatch, match=r"of 13 sites no slot meets `gpus_minimum_memory: GlobalMemoryMb >= 204800`"):
        follow.follow(project / "logs" / f"{cluster}.log", cluster, lambda history, progress: None)
    condor.run(["condor_rm", str(cluster)], cwd=project)


def test_condor_submit_s_own_words_reach_the_user(condor: Condor, tmp_path: Path) -> None:
    from submit import follow
    from submit.errors import PoolError

    (tmp_path / "bad.sub").write_text("executable = nothing.sh\nqueue\n")
    with pytest.raises(PoolError, match=r"bad\.sub: condor_submit refused it: .*nothing\.sh"):
        follow.submit(tmp_path / "bad.sub")


@pytest.mark.slow
def test_a_pool_ends_without_a_trace(condor: Condor) -> None:
    own = {"OSGDL_POOL": "lifecycle"}
    osgdl("pool", "down", **own)
    assert osgdl("pool", "status", **own).returncode == 1
    assert osgdl("pool", "up", **own).returncode == 0
    pid = (pool_root.cache() / "pools" / "lifecycle" / "init.pid").read_text().strip()
    space = Path(f"/proc/{pid}/ns/pid").readlink()

    def inside() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns" / "pid").readlink() == space:
                    found.append((process / "comm").read_text().strip())
            except OSError:
                continue
        return found

    assert {"condor_master", "condor_startd", "condor_schedd", "condor_collecto"} <= set(inside())  # comm: 15 letters
    assert "up already" in osgdl("pool", "up", **own).stderr
    status = json.loads(osgdl("pool", "status", "--json", **own).stdout)
    assert status["running"] and len(status["sites"]) == len(sites.load())
    assert "UCSD" in osgdl("pool", "status", **own).stdout
    assert "NegotiatorLog" in osgdl("pool", "logs", "negotiator", **own).stdout
    assert "no such log" in osgdl("pool", "logs", "nonsense", **own).stderr
    assert osgdl("pool", "exec", "--", "sh", "-c", "exit 7", **own).returncode == 7
    assert osgdl("pool", "down", **own).returncode == 0
    assert inside() == []
    assert "lifecycle" not in Path("/proc/mounts").read_text()
    assert "the local pool is down; start it: osgdl pool up" in osgdl("pool", "exec", "true", **own).stderr


def test_without_mmdebstrap_it_says_what_to_install(tmp_path: Path) -> None:
    for tool in ("unshare", "nsenter", "newuidmap", "newgidmap"):
        (tmp_path / tool).symlink_to("/usr/bin/env")
    done = osgdl("pool", "up", OSGDL_CACHE=str(tmp_path / "cache"), PATH=str(tmp_path), OSGDL_POOL="none")
    assert done.returncode == 1
    assert "mmdebstrap: not installed" in done.stderr and "apt-get install mmdebstrap uidmap" in done.stderr


def test_without_user_namespaces_it_says_what_to_switch_on(condor: Condor) -> None:
    # a namespace in which the kernel grants no further ones
    script = f"echo 0 > /proc/sys/user/max_user_namespaces; OSGDL_POOL=none exec {sys.executable} -m submit pool up"
    done = subprocess.run(["unshare", "-Ur", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        "user namespaces: the kernel refused one" in done.stderr and "sysctl -w user.max_user_namespaces" in done.stderr
    )


def test_without_room_it_says_how_much_it_wants(tmp_path: Path) -> None:
    script = (
        f"mount -t tmpfs -o size=20m tmpfs {tmp_path} && "
        f"OSGDL_POOL=none OSGDL_CACHE={tmp_path} exec {sys.executable} -m submit pool up"
    )
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path}: 0.0 GB free; the pool needs 3 GB. Free some, or set OSGDL_CACHE elsewhere" in done.stderr


def test_without_a_range_of_ids_it_says_what_to_ask_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from submit import namespace
    from submit.errors import PoolError

    (tmp_path / "subuid").write_text("somebody:100000:65536\nnobody-else:1:2\n")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PoolError, match=r"no range of 65536 ids for user 12345.*usermod --add-subuids"):
        namespace._range_start(str(tmp_path / "subuid"))


def test_the_root_is_keyed_by_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pool_root.key("pool")
    monkeypatch.setitem(pool_root.RECIPES, "pool", ((*pool_root.PACKAGES, "hello"), []))
    assert pool_root.key("pool") != before


@pytest.mark.parametrize(
    ("packages", "labels", "expected"),
    [
        ({"torch": "2.8.0+cu128", "nvidia-cudnn-cu12": "9.10.2.21"}, "", ("7.0", "12.1", "12.0")),
        (
            {},
            "gpus-minimum-capability 6.0|gpus-maximum-capability 8.9|gpus-minimum-runtime 11.0",
            ("6.0", "8.9", "11.0"),
        ),
    ],
)
def test_gpus_reads_what_a_sif_holds(
    condor: Condor, tmp_path: Path, packages: dict[str, str], labels: str, expected: tuple[str, str, str]
) -> None:
    """A real .sif, opened by Apptainer; of the packages only what pip writes down about them is in it."""
    base = pool_root.ensure("base", print)
    where = "/usr/lib/python3/dist-packages"
    post = "".join(
        f"    mkdir -p {where}/{name.replace('-', '_')}-{version}.dist-info\n"
        f"    printf 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n' "
        f"> {where}/{name.replace('-', '_')}-{version}.dist-info/METADATA\n"
        for name, version in packages.items()
    )
    said = "".join(f"    org.osgdl.{line}\n" for line in labels.split("|") if line)
    recipe = f"Bootstrap: localimage\nFrom: /pool/cache/{base.name}\n\n%post\n    true\n{post}\n%labels\n{said}\n"
    (tmp_path / "x.def").write_text(recipe)
    image_build.build(tmp_path / "x.def", str(tmp_path / "x.sif"), cpu=False, force=False, say=print)
    done = osgdl("gpus", str(tmp_path / "x.sif"), "--json")
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert (
        tuple(held[f"gpus_{name}"] for name in ("minimum_capability", "maximum_capability", "minimum_runtime"))
        == expected
    )
