"""Container images from a project's container.def: for the OSPool, and for the local pool on the CPU."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from submit import apptainer, bars, definition, images, pool, pool_root
from submit.errors import ImageError

# wheels that run on the local base's glibc (Debian trixie: 2.41)
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_WHEELS = "/pool/cache/wheels"


def build(source: Path, target: str, *, cpu: bool, force: bool, say: Callable[[str], None]) -> str:
    """Build `source` and return the reference for a submit file.

    Args:
        source: a container.def.
        target: a file NAME.sif, or a path under /cvmfs/singularity.opensciencegrid.org, which exists in the local pool.
        cpu: without CUDA and on a Debian base made here, so that no registry of images is needed: for the local pool.
        force: replace a .sif that exists.

    Raises:
        ImageError: a bad definition or target, or a failed build, with the end of its output.
    """
    if not source.is_file():
        raise ImageError(f"{source}: no such file; want a definition such as the project's container.def")
    image = images.parse(target)
    if image.kind not in ("cvmfs", "sif"):
        raise ImageError(
            f"target={target!r}: nothing can be built there; want NAME.sif or a /cvmfs path. To publish: image push"
        )
    with pool_root.locked("image"):
        text = source.read_text()
        binds: dict[str, str] = {}
        if cpu:
            text, binds = _on_local_base(text, say)
        key = hashlib.sha256(text.encode()).hexdigest()
        work = pool_root.cache() / "builds"
        work.mkdir(parents=True, exist_ok=True)
        log = work / f"{key[:12]}-{Path(target).name}.log"
        recipe = source.resolve()
        if cpu:
            recipe = work / f"{key[:12]}.def"
            recipe.write_text(text)
            recipe = Path("/pool/cache/builds") / recipe.name
        if image.kind == "cvmfs":
            place = pool.cvmfs() / Path(target).relative_to("/cvmfs")
            if _key_of(place) == key:
                say(f"{target}: there already, from this recipe")
                return target
            place.parent.mkdir(parents=True, exist_ok=True)
            built = target
        else:
            place = Path(target).resolve()
            if place.exists() and not force:
                raise ImageError(
                    f"{target}: exists; caches on the OSPool go by name, so a new image wants a new name. Or: --force"
                )
            built = str(place)
        sandbox = image.kind == "cvmfs"
        in_pool = cpu or sandbox or apptainer.version() is None
        say(f"building {target} ({'about a minute' if sandbox else 'minutes'}; output: {log})")
        began = time.monotonic()
        with bars.of_steps(Path(target).name) as step:
            apptainer.build(built, recipe, sandbox=sandbox, in_pool=in_pool, binds=binds, log=log, say=say, step=step)
        if in_pool:
            _hand_over(built, key if sandbox else None)
        say(f"built {target} in {time.monotonic() - began:.0f} s")
        return target


def _key_of(folder: Path) -> str | None:
    try:
        return (folder / ".osgdl-recipe").read_text().strip()
    except OSError:
        return None


def _hand_over(built: str, key: str | None) -> None:
    """What the pool's root built becomes the user's; a folder remembers its recipe last, when it is whole."""
    if key is None:
        pool.run(["chown", "--no-dereference", pool_root.USER, built], cwd=Path("/"), root=True)
        return
    pool.run(["sh", "-c", 'echo "$2" > "$1/.osgdl-recipe"', "sh", built, key], cwd=Path("/"), root=True)


def _on_local_base(text: str, say: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    """The recipe on the Debian base, with wheels fetched beforehand, and the folder to bind for them."""
    base = pool_root.ensure("base", say)
    python = next(iter(sorted((base / "usr/bin").glob("python3.[0-9]*")))).name.removeprefix("python")
    pins = definition.pins(text)
    if not pins:
        raise ImageError(
            "container.def: no `name==version` in it, so it cannot be built on the local base; pin what it installs"
        )
    # TensorFlow's build without CUDA support: same version, half the size
    pins = [re.sub(r"^tensorflow==", "tensorflow-cpu==", pin) for pin in pins]
    folder = pool_root.cache() / "wheels" / hashlib.sha256(repr((python, pins)).encode()).hexdigest()[:12]
    if not (folder / ".complete").exists():
        _download(folder, python, pins, say)
    environment = {
        "OSGDL_VARIANT": "cpu",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/mnt",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_CACHE_DIR": "1",
    }
    text = re.sub(r"(?<![\w.-])tensorflow==", "tensorflow-cpu==", text)
    rebased = definition.rebase(text, f"/pool/cache/{base.name}", environment)
    return rebased, {f"{_WHEELS}/{folder.name}": "/mnt"}


def _download(folder: Path, python: str, pins: list[str], say: Callable[[str], None]) -> None:
    size = "4 GB" if any(pin.startswith("torch==") for pin in pins) else "400 MB"
    say(f"fetching {len(pins)} packages and what they need for Python {python} (once; about {size})")
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder),
        "--only-binary=:all:", f"--python-version={python}", *platforms, *pins,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ImageError(f"pip download: {' | '.join(errors)[-500:] or done.stderr[-300:]}; is the network there?")
    (folder / ".complete").touch()
