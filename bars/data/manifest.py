"""The manifest of an image folder: each file's hash, made once and kept while size, times and inode are the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bars.data.images import decode, for_each_file
from bars.errors import DataError

MANIFESTS = Path(".bars/images")


def hash_images(root: Path, files: Sequence[str]) -> list[str]:
    """sha256 of each file, given relative to ``root``.

    A file that is new or changed is also decoded, so that no unreadable one is found after hours of training, and its
    pixels are dropped. Raises DataError that names the unreadable ones.
    """
    manifest = MANIFESTS / f"{hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:24]}.json"
    known = _read(manifest)
    stamps = [_stamp(root / name) for name in files]
    new = [i for i, name in enumerate(files) if known.get(name, ("",))[0] != stamps[i]]

    def check(j: int) -> None:
        name = files[new[j]]
        path = root / name
        content = path.read_bytes()
        decode(path, content)
        known[name] = (stamps[new[j]], hashlib.sha256(content).hexdigest())

    if new:
        for_each_file(len(new), check, "checking images")
        _write(manifest, known)
    return [str(known[name][1]) for name in files]


def _stamp(path: Path) -> str:
    """What changes when a file is written, replaced or moved here."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            "an image cannot be read", where=str(path), got=error.strerror, do="mend the file or its permissions"
        ) from error
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _read(manifest: Path) -> dict[str, Any]:
    """Known files; an unreadable manifest is as good as none, since it can be made again."""
    try:
        known = json.loads(manifest.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and all(_entry(value) for value in known.values()) else {}


def _entry(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _write(manifest: Path, known: dict[str, Any]) -> None:
    """Whole or not at all. It only saves time: where nothing can be written, the work goes on."""
    temporary = manifest.with_name(f"{manifest.name}.tmp-{os.getpid()}")
    with contextlib.suppress(OSError):
        manifest.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="ascii")
        os.replace(temporary, manifest)
