"""Files that appear whole or not at all, locks that die with their holder, and hashes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bars.errors import OutputError

LOCKS = Path(".bars/locks")


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
        raise _cannot_write(path, error) from None
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
        raise _cannot_write(path, error) from None
    try:
        yield temporary
        try:
            _replace_directory(temporary, path)
        except OSError as error:
            raise _cannot_write(path, error) from None
    except OSError as error:  # a full disk while the block wrote
        raise _cannot_write(path, error) from None
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
        raise _cannot_write(Path(path), error) from None


def _replace_directory(temporary: Path, path: Path) -> None:
    for file in temporary.iterdir():
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
    if path.exists():
        # A rename cannot replace a folder with files in it, so the old one steps aside first.
        old = path.with_name(f"{path.name}.tmp-{os.getpid()}-old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(path, old)
        os.rename(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(temporary, path)


def remove_stale_temporaries(path: Path) -> list[Path]:
    """Remove ``<name>.tmp-<pid>`` siblings whose process is gone; return what was removed."""
    removed = []
    for entry in path.parent.glob(f"{path.name}.tmp-*"):
        pid = entry.name.removeprefix(f"{path.name}.tmp-").split("-")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not process_lives(int(pid))):
            shutil.rmtree(entry, ignore_errors=True)
            removed.append(entry)
    return removed


def process_lives(pid: int) -> bool:
    """Whether a process of this number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class StageLock:
    """An exclusive kernel lock (flock) for one stage folder, released when its holder ends in any way.

    The lock file lies in ``.bars/locks`` and not in the folder, which both workflow tools delete. Raises OutputError
    that names the holder, at once: two jobs for one folder are a mistake, not a queue.
    """

    def __init__(self, directory: str | Path, locks: str | Path = LOCKS) -> None:
        self.directory = Path(directory)
        key = hashlib.sha256(str(self.directory.absolute()).encode()).hexdigest()[:24]
        self.path = Path(locks) / f"{key}.lock"
        self._fd: int | None = None

    def __enter__(self) -> StageLock:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _cannot_write(self.path, error) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 500, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise OutputError(
                "another process is writing this folder",
                where=str(self.directory),
                got=holder,
                do="wait for it, or end it; the lock goes with the process",
            ) from None
        except OSError as error:
            os.close(fd)
            raise _cannot_write(self.path, error) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}, {self.directory}\n".encode(), 0)
        self._fd = fd
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd is not None:
            # The file stays: removing it would let a waiting process lock a file that nobody else sees.
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def locked_folders(locks: str | Path = LOCKS) -> list[str]:
    """Holders of the locks that are held now, as text."""
    found = []
    for path in sorted(Path(locks).glob("*.lock")):
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(file.read(500).decode(errors="replace").strip())
    return found


def die_with_parent(*, only_tools: bool = False) -> None:
    """End this process when the one that started it ends, even by SIGKILL (Linux; elsewhere nothing happens).

    A workflow tool that is killed would otherwise leave a training behind that goes on writing. A thread watches the
    parent and every snakemake or dvc above it (a shell may stand between) through pidfds. A terminal's own shell is not
    watched: ``nohup`` and ``disown`` keep their meaning. ``only_tools``: nor is a parent that is no workflow tool.
    """
    if not sys.platform.startswith("linux"):
        return
    watched = []
    for pid in _guardians(only_tools):
        with contextlib.suppress(OSError):  # an old kernel, or it ended just now
            watched.append(os.pidfd_open(pid))
    if watched:
        threading.Thread(target=_await_any, args=(watched,), name="die-with-parent", daemon=True).start()


_TOOLS = ("snakemake", "dvc")


def _guardians(only_tools: bool) -> list[int]:
    """The parent, unless it is a session's leader or init, and the workflow tools among the ancestors."""
    parent = os.getppid()
    found = [] if only_tools or parent in (1, os.getsid(0)) else [parent]
    pid = parent
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            # The name in parentheses may hold spaces; the parent is the second word behind it.
            above = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        if pid not in found and any(Path(word).name in _TOOLS for word in words[:4]):
            found.append(pid)
        pid = above
    return found


def _await_any(pidfds: list[int]) -> None:
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)  # for a process that handles SIGTERM
    os.kill(os.getpid(), signal.SIGKILL)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        "cannot write", where=str(path), got=error.strerror or str(error), do="check the folder's rights and the disk"
    )
