"""Whether a volume shows a head, not a brain: a face can be made of it (Schwarz et al., NEJM 381:1684, 2019). A guess
from the picture, so a warning: it looks at a coarse copy of one volume.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submit import privacy_nifti, privacy_text

ENDINGS = (".nii", ".nii.gz", ".mha")
COARSE_MM = 3.0
# A brain with all its fluid has less than 2 l; a head from crown to chin has 3.5 l and more
BRAIN_ML = 2200.0
HEAD_MM = (110.0, 320.0)  # extent of a head in the picture, along each axis
SMALLEST_ML = 400.0
LABELS = 16  # distinct values up to which a volume is a label file or a mask
# nifti1.h, DT_: the types of one number a voxel
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
META_TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
LARGEST = 1 << 30  # bytes of a volume that are read


def candidates(files: Sequence[Path]) -> list[list[Path]]:
    """The images of each patient, T1 first: by folder, or by the start of the name where a folder holds many."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        if file.name.lower().endswith(ENDINGS):
            folders.setdefault(file.parent, []).append(file)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for folder, images in folders.items():
        for image in images:
            stem = _subject(image.name) if len(images) > 8 else ""
            groups.setdefault((folder, stem), []).append(image)
    return [sorted(group, key=lambda file: (_order(file.name), file.name)) for group in groups.values()]


def _subject(name: str) -> str:
    stem = re.sub(r"\.(nii|nii\.gz|mha)$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[_.-](t1\w*|t2\w*|flair|seg|mask|label|000\d)$", "", stem, flags=re.IGNORECASE)


def _order(name: str) -> int:
    """T1 shows the fat under the skin; label files and masks show nothing."""
    small = name.lower()
    if re.search(r"seg|mask|label|truth|\.ot\b|otmulti", small):
        return 9
    for rank, word in enumerate(("t1c", "t1gd", "t1", "t2", "flair")):
        if word in small:
            return rank
    return 5


def shows_a_head(path: Path) -> bool | None:
    """Whether the volume looks like a head; None where it is no picture of three axes that can be read."""
    read = _volume(path)
    if read is None:
        return None
    values, spacing = read
    coarse, steps = _coarse(values, spacing)
    if coarse is None:
        return None
    return looks_like_a_head(coarse, steps)


def _volume(path: Path) -> tuple[Any, tuple[float, ...]] | None:
    """The first volume (x, y, z) and the spacing in mm."""
    import numpy as np

    try:
        if path.name.lower().endswith(".mha"):
            return _metaimage(path)
        with privacy_nifti.opened(path) as file:
            header = privacy_nifti.parse(file.read(540))
            kind = TYPES.get(header.datatype)
            shape = header.dims[:3]
            if kind is None or len(shape) < 3 or min(shape) < 8:
                return None
            count = shape[0] * shape[1] * shape[2]
            dtype = np.dtype(header.order + kind)
            if count * dtype.itemsize > LARGEST:
                return None
            file.seek(header.start)
            content = file.read(count * dtype.itemsize)
        values = np.frombuffer(content, dtype).reshape(shape, order="F")
        return values, tuple(abs(step) or 1.0 for step in header.spacing[:3])
    except (privacy_nifti.Unreadable, OSError, EOFError, ValueError, zlib.error):
        return None  # whether it can be read is said elsewhere


def _metaimage(path: Path) -> tuple[Any, tuple[float, ...]] | None:
    import numpy as np

    content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    try:
        lines = privacy_text.meta_lines(content[: privacy_text.HEADER])
        header = {key: value for key, value, _ in lines}
        shape = [int(word) for word in header["DimSize"].split()]
        kind = META_TYPES.get(header["ElementType"].removeprefix("MET_"))
        spacing = tuple(abs(float(word)) or 1.0 for word in header.get("ElementSpacing", "1 1 1").split())
        if kind is None or len(shape) != 3 or min(shape) < 8 or header["ElementDataFile"].upper() != "LOCAL":
            return None
        order = ">" if header.get("BinaryDataByteOrderMSB", "False").lower() == "true" else "<"
        dtype = np.dtype(order + kind)
        size = shape[0] * shape[1] * shape[2] * dtype.itemsize
        body = content[sum(len(line) for _, _, line in lines) :]
        if size > LARGEST:
            return None
        if header.get("CompressedData", "False").lower() == "true":
            body = zlib.decompressobj().decompress(body, size)
        return np.frombuffer(body[:size], dtype).reshape(shape, order="F"), spacing
    except (privacy_text.Unreadable, KeyError, ValueError):
        return None


def _coarse(values: Any, spacing: tuple[float, ...]) -> tuple[Any, tuple[float, ...]]:
    """Every n-th voxel to about 3 mm, and None where they hold labels. Means would blur a thin skull away."""
    import numpy as np

    steps = [max(1, round(COARSE_MM / step)) for step in spacing]
    coarse = np.asarray(values[tuple(slice(None, None, step) for step in steps)], np.float32)
    coarse = np.where(np.isfinite(coarse), coarse, 0)
    if min(coarse.shape) < 8 or np.unique(coarse).size <= LABELS:
        return None, ()
    return coarse, tuple(step * each for step, each in zip(steps, spacing, strict=True))


def looks_like_a_head(values: Any, spacing: tuple[float, ...]) -> bool:
    """From a coarse volume: too large for a brain, or with a dark shell (the skull) under a bright one (the scalp).

    Args:
        values: float32 (x, y, z).
        spacing: of its voxels in mm.
    """
    import numpy as np
    from scipy import ndimage

    inside = _inside(values)
    if inside is None:
        return False
    millilitres = float(inside.sum()) * float(np.prod(spacing)) / 1000
    extents = [
        (where.stop - where.start) * step
        for where, step in zip(ndimage.find_objects(inside.astype(int))[0], spacing, strict=True)
    ]
    if millilitres < SMALLEST_ML or not all(HEAD_MM[0] <= extent <= HEAD_MM[1] for extent in extents):
        return False
    # a body fills its picture to the edges; a head's only lies against the lower one
    edges = [inside.take(place, axis).mean() for axis in range(3) for place in (0, -1)]
    if sum(edge > 0.3 for edge in edges) > 2:
        return False
    return millilitres > BRAIN_ML or _has_a_shell(values, inside, spacing)


def _inside(values: Any) -> Any:
    """The largest thing in the picture, its holes filled; None where there is none."""
    import numpy as np
    from scipy import ndimage

    found, counts = np.unique(values, return_counts=True)
    common = counts.argmax()
    if counts[common] > 0.1 * values.size:
        air = float(found[common])
    else:
        corners = [
            values[index]
            for index in np.ndindex(2, 2, 2)
            for index in [tuple(slice(-4, None) if one else slice(4) for one in index)]
        ]
        air = float(np.median(np.stack([corner.ravel()[:64] for corner in corners])))
    top = float(np.percentile(values, 99))
    if top <= air:
        return None
    above = ndimage.gaussian_filter(values, 0.5) > air + 0.12 * (top - air)
    above = ndimage.binary_closing(np.pad(above, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    parts, count = ndimage.label(above)
    if not count:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return ndimage.binary_fill_holes(largest)


def _has_a_shell(values: Any, inside: Any, spacing: tuple[float, ...]) -> bool:
    """Bright, dark, bright from the surface inwards, all around. Depths in mm: fat and skin, then bone, within 20."""
    import numpy as np
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    air = float(np.median(values[~inside])) if (~inside).any() else float(values.min())
    profile = []
    for near in np.arange(0.0, 24.0, COARSE_MM):
        shell = values[inside & (depth > near) & (depth <= near + COARSE_MM)]
        profile.append(float(np.median(shell)) - air if shell.size > 50 else 0.0)
    deep = values[inside & (depth > 24)]
    if deep.size < 200:
        return False
    middle = float(np.median(deep)) - air
    dark = 1 + int(np.argmin(profile[1:7]))
    outside = max(profile[:dark])
    return outside > 1.5 * profile[dark] and middle > 1.5 * profile[dark]
