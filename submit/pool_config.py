"""The local pool's HTCondor configuration as text: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from submit.sites import Site

BASE_FILE = Path(__file__).parent / "data" / "pool" / "condor_config"

# What the program at MACHINE_RESOURCE_INVENTORY_GPUs does: that knob ignores the prefix of -local-name, so the startd
# hands its name over as an argument.
INVENTORY = '#!/bin/sh\nexec cat "/pool/etc/gpus.d/$1"\n'


# the attribute of a job that wants to land on the sites whose GPUs are not what they seem
ASKS_FOR_BAD_SITES = "OsgdlBadSites"


def _quoted(value: object) -> str:
    return '"' + str(value) + '"' if isinstance(value, str) else str(value)


def site_lines(site: Site, now: int) -> list[str]:
    """Lines for one startd, each prefixed by its local name. `now`: seconds since the epoch, when the pilot started."""
    end = now + site.lifetime_h * 3600
    attributes = {
        "Machine": site.machine,
        "GLIDEIN_Site": site.site,
        "GLIDEIN_ResourceName": site.resource,
        "GLIDEIN_Entry_Name": f"OSGDL_{site.resource}",
        "GLIDEIN_ToDie": end,
        "GLIDEIN_ToRetire": end - 3600,
        "GLIDEIN_Max_Walltime": site.lifetime_h * 3600,
        "HAS_SINGULARITY": site.singularity,
        "SINGULARITY_CAN_USE_SIF": site.singularity,
        # HTCondor tries this with a .sif of its own, which Debian's package leaves out
        "HasSIF": site.singularity,
        "HAS_CVMFS_singularity_opensciencegrid_org": site.cvmfs,
        "HAS_CVMFS_oasis_opensciencegrid_org": site.cvmfs,
        "Microarch": "x86_64-v3",
        "SHM_AVAILABLE": 8 << 20,
        **site.fault,
    }
    knobs: dict[str, object] = {
        "STARTD_NAME": site.startd.lower(),
        "EXECUTE": f"/pool/execute/{site.startd}",
        "STARTD_LOG": f"/pool/log/StartLog.{site.startd}",
        "STARTER_LOG": f"/pool/log/StarterLog.{site.startd}",
        "NUM_CPUS": site.cpus,
        "MEMORY": site.memory_gb * 1024,
    }
    if site.fault:
        knobs["START"] = f"$(OSGDL_START) && (TARGET.{ASKS_FOR_BAD_SITES} =?= True)"
    name = site.startd
    # the starter that looks for Singularity never sees the local name, only its environment
    bare = [] if site.singularity else [f'STARTD_{name}_ENVIRONMENT = "_CONDOR_SINGULARITY=/usr/bin/false"']
    return [
        f"STARTD_{name} = $(STARTD)",
        f"STARTD_{name}_ARGS = -f -local-name {name}",
        *bare,
        *(f"{name}.{knob} = {value}" for knob, value in knobs.items()),
        *([f"{name}.STARTD_ATTRS = $(STARTD_ATTRS) {' '.join(site.fault)}"] if site.fault else []),
        *(f"{name}.{attribute} = {_quoted(value)}" for attribute, value in attributes.items()),
        "",
    ]


def text(sites: Iterable[Site], port: int, now: int, first_cluster: int = 1) -> str:
    """The whole configuration for these sites, listening on `port` of the loopback; jobs count from `first_cluster`."""
    sites = list(sites)
    daemons = " ".join(f"STARTD_{site.startd}" for site in sites)
    lines = [
        f"OSGDL_PORT = {port}",
        f"SCHEDD_CLUSTER_INITIAL_VALUE = {first_cluster}",
        BASE_FILE.read_text(),
        f"DAEMON_LIST = MASTER SHARED_PORT COLLECTOR NEGOTIATOR SCHEDD {daemons}",
        "",
    ]
    for site in sites:
        lines += site_lines(site, now)
    return "\n".join(lines)
