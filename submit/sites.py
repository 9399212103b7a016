"""The sites of the local pool, as `data/sites.toml` describes them."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SITES_FILE = Path(__file__).parent / "data" / "sites.toml"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU model and driver as HTCondor advertises them: memory in MiB, runtime as 1000 * major + 10 * minor."""

    name: str
    capability: float
    memory_mb: int
    ecc: bool
    nvidia_driver: str
    runtime: int
    mig: bool = False


@dataclass(frozen=True, kw_only=True)
class Site:
    """One site of the pool: one startd with one partitionable slot. `fault`: what its ad says of a simulated GPU that
    is not what it seems; such a site takes only jobs that ask for it.
    """

    startd: str
    site: str
    resource: str
    machine: str
    gpus: int
    cpus: int
    memory_gb: int
    lifetime_h: int
    gpu: Gpu | None = None
    singularity: bool = True
    cvmfs: bool = True
    fault: Mapping[str, str | int] = field(default_factory=dict)

    def gpu_inventory(self) -> str:
        """What `condor_gpu_discovery` would print on a host of this site (its -extra form, nested properties).

        Source of the form: HTCondor src/gpu/condor_gpu_discovery.cpp; DriverVersion is the CUDA API, not the driver.
        """
        if self.gpu is None:
            return "DetectedGPUs=0\n"
        gpu = self.gpu
        # the same on every start, so that a UUID in a log still names the device
        uuids = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{number}.{self.machine}")) for number in range(self.gpus)]
        prefix = "MIG" if gpu.mig else "GPU"
        # HTCondor names a MIG device by its whole UUID, others by the first eight digits
        ids = [f"{prefix}-{device if gpu.mig else device[:8]}" for device in uuids]
        major, minor = divmod(gpu.runtime, 1000)
        lines = [
            f'DetectedGPUs="{", ".join(ids)}"',
            f'Common=[ Capability={gpu.capability}; DeviceName="{gpu.name}"; GlobalMemoryMb={gpu.memory_mb}; '
            f'DriverVersion={major}.{minor}; MaxSupportedVersion={gpu.runtime}; NvidiaDriver="{gpu.nvidia_driver}"; '
            f"ECCEnabled={str(gpu.ecc).lower()}; ]",
        ]
        for name, device in zip(ids, uuids, strict=True):
            attribute = name.replace("-", "_")
            device_uuid = f"MIG-{device}" if gpu.mig else device
            lines.append(f'{attribute}=[ id="{name}"; DeviceUuid="{device_uuid}"; ]')
        return "\n".join(lines) + "\n"


def load(file: Path = SITES_FILE) -> list[Site]:
    """All sites in the order of the file."""
    data = tomllib.loads(file.read_text())
    sites = []
    for row in data["site"]:
        fields = dict(row)
        model, branch = fields.pop("gpu", None), fields.pop("driver", None)
        gpu = None
        if model is not None:
            driver = data["driver"][branch]
            gpu = Gpu(**data["gpu"][model], nvidia_driver=driver["nvidia"], runtime=driver["runtime"])
        sites.append(Site(gpu=gpu, **fields))
    return sites
