"""Whether the files of an image folder changed, told from names, sizes and dates: no file is opened."""

from __future__ import annotations

import functools
import hashlib
import os

from bars.params import DataParams

PARTS = ("train", "test", "val")


def folder_state(data: DataParams) -> str | None:
    """Another text when a file was added, removed or written; "absent" without a folder, None for other sources.

    A parameter of Snakemake's rule data, which then hashes what is new (bars.data.manifest).
    """
    return _state(os.path.expanduser(data.path or "")) if data.source == "imagefolder" else None


@functools.cache
def _state(root: str) -> str:
    if not os.path.isdir(os.path.join(root, PARTS[0])):
        return "absent"
    lines: list[bytes] = []
    seen = set[tuple[int, int]]()
    for part in PARTS:
        for folder, subfolders, names in os.walk(os.path.join(root, part), followlinks=True):
            subfolders[:] = [name for name in subfolders if _first_time(os.path.join(folder, name), seen)]
            for name in names:
                path = os.path.join(folder, name)
                lines.append(f"{os.path.relpath(path, root)}\0{_stamp(path)}\n".encode(errors="surrogateescape"))
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def _first_time(folder: str, seen: set[tuple[int, int]]) -> bool:
    """False for a folder that a link led to before: links may go in circles."""
    try:
        status = os.stat(folder)
    except OSError:
        return False
    new = (status.st_dev, status.st_ino) not in seen
    seen.add((status.st_dev, status.st_ino))
    return new


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:  # a link to nothing; the data stage says so
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"
