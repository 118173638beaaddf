"""Locks of stage folders that end with their holder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from pathlib import Path

from bars.errors import OutputError
from bars.pipeline.files import cannot_write

LOCKS = Path(".bars/locks")


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
            raise cannot_write(self.path, error) from None
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
            raise cannot_write(self.path, error) from None
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
