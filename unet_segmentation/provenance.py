"""Where a result comes from: enough to make it again, stored with it."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

from submit.runtime import classad, devices
from unet_segmentation import synthetic
from unet_segmentation.config import Config


def collect(
    versions: dict[str, str], device: str, precision: str, config: Config, data: Mapping[str, Any]
) -> dict[str, Any]:
    """The provenance of a run.

    Args:
        versions: of the frameworks in use.
        device: as `devices.require_gpu` names it.
        precision: of the arithmetic.
        config: of the run.
        data: what dataset.json holds.
    """
    place = devices.here()
    return {
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **_own_version(), **versions},
        "site": place.site,
        "machine": place.machine or platform.node(),
        "gpu": place.gpu,
        "device": device,
        "image": _image(),
        "precision": precision,
        "config_sha256": config.hash(),
        "dataset_sha256": data["sha256"],
        "manifest_sha256": data["manifest_sha256"],  # None where the data were not staged
        "synthetic": synthetic.describe({name: one["synthetic"] for name, one in data["patients"].items()}),
        "seed": config.train.seed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _image() -> str:
    """The container image: from the job's ad, else as Apptainer or Singularity names it; empty outside a container."""
    ad = classad.job_ad()
    for name in ("ContainerImage", "SingularityImage"):
        if ad.text(name):
            return ad.text(name)
    return os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER") or ""


def _own_version() -> dict[str, str]:
    """The kit's version where the trainer was installed with it; in a job it is a copied folder without one."""
    try:
        return {"osg-dl-kit": metadata.version("osg-dl-kit")}
    except metadata.PackageNotFoundError:
        return {}


def weights_sha256(model: Any) -> str:
    """SHA-256 of the weights, as little-endian float32 in the model's own order."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights, "<f4").tobytes())
    return digest.hexdigest()
