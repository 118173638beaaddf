"""Files and folders that appear whole or not at all, and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bars.errors import OutputError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, the same text for the same value. Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def pretty_json(value: Any) -> str:
    """JSON for a file that people read; floats round-trip. Raises ValueError for NaN and infinity."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def wide_json(value: Mapping[str, Any]) -> str:
    """JSON with one line per top-level key, for files of long lists; floats round-trip."""
    lines = (f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False, allow_nan=False)}" for k, v in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a file through a temporary sibling and a rename, so that no reader meets half of it. Raises OutputError."""
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """A temporary sibling ``<name>.tmp-<pid>`` to fill; it takes the folder's place when the block ends well.

    An older folder is replaced whole. Left-overs of processes that no longer live are removed first. Use it under the
    folder's StageLock. Raises OutputError where nothing can be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(path)
        temporary.mkdir()
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        yield temporary
        _replace_directory(temporary, path)
    except OSError as error:  # a full disk while the block wrote, or rights
        raise cannot_write(path, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(path: str | Path) -> None:
    """Find out before hours of work whether a folder can be made at ``path``. Raises OutputError."""
    probe = Path(path).with_name(f"{Path(path).name}.tmp-{os.getpid()}")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.mkdir(exist_ok=True)
        probe.rmdir()
    except OSError as error:
        raise cannot_write(Path(path), error) from None


def _replace_directory(temporary: Path, path: Path) -> None:
    for file in temporary.iterdir():
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
    if path.exists():
        # A rename cannot replace a folder with files in it, so the old one steps aside first.
        old = path.with_name(f"{path.name}.tmp-{os.getpid()}-old")
        _remove(old)
        os.rename(path, old)
        os.rename(temporary, path)
        _remove(old)
    else:
        os.rename(temporary, path)


def remove_stale_temporaries(path: Path) -> list[Path]:
    """Remove ``<name>.tmp-<pid>`` siblings whose process is gone; return what was removed."""
    removed = []
    for entry in path.parent.glob(f"{path.name}.tmp-*"):
        pid = entry.name.removeprefix(f"{path.name}.tmp-").split("-")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not process_lives(int(pid))):
            _remove(entry)
            removed.append(entry)
    return removed


def _remove(path: Path) -> None:
    """Remove what is there, a folder or, put in its place by hand, a file or a link."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def process_lives(pid: int) -> bool:
    """Whether a process of this number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error of a file or folder that cannot be written."""
    return OutputError(
        "cannot write", where=str(path), got=error.strerror or str(error), do="check the folder's rights and the disk"
    )
