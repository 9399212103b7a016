"""The sites of the local pool as data, and the configuration made of them."""

from __future__ import annotations

import re
import uuid

import pytest

from submit import pool_config, sites

ALL = sites.load()


def test_the_pool_has_what_the_talk_and_the_wild_have() -> None:
    assert len(ALL) >= 7
    assert {"Nebraska", "UCSD", "Syracuse", "Vanderbilt"} <= {site.site for site in ALL}
    assert sum(site.gpus > 1 for site in ALL) >= 2
    assert any(site.gpus == 0 for site in ALL) and any(not site.singularity for site in ALL)
    assert any(site.gpu and site.gpu.runtime < 12000 for site in ALL)
    assert any(site.gpu and site.gpu.mig for site in ALL)
    assert len({site.machine for site in ALL}) == len({site.startd for site in ALL}) == len(ALL)


@pytest.mark.parametrize("site", ALL, ids=lambda site: site.startd)
def test_an_inventory_names_each_gpu_by_its_uuid(site: sites.Site) -> None:
    text = site.gpu_inventory()
    devices = re.findall(r'id="((?:GPU|MIG)-[0-9a-f-]+)"; DeviceUuid="(?:MIG-)?([0-9a-f-]+)"', text)
    assert len(devices) == site.gpus
    for name, device in devices:
        assert str(uuid.UUID(device)).startswith(name[4:])
    # the same on every start: a UUID in a log still names the device
    assert site.gpu_inventory() == text
    # never the marketing number (compatibility data, rule 5)
    assert site.gpu is None or site.gpu.memory_mb % 1024


def test_each_site_has_its_own_startd_folder_and_machine() -> None:
    text = pool_config.text(ALL, 9618, 1_000_000)
    for site in ALL:
        assert f'{site.startd}.Machine = "{site.machine}"' in text
        assert f"{site.startd}.EXECUTE = /pool/execute/{site.startd}" in text
        assert f"STARTD_{site.startd}_ARGS = -f -local-name {site.startd}" in text
        assert f"{site.startd}.GLIDEIN_ToDie = {1_000_000 + 3600 * site.lifetime_h}" in text
    daemons = re.search(r"(?m)^DAEMON_LIST = (.*)$", text)
    assert daemons and daemons[1].count("STARTD_") == len(ALL)
