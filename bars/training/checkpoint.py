"""Checkpoints of long stages: written whole or not at all, loaded without executing anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from bars.errors import CheckpointError, OutputError

DELETE = "delete it and run the stage again; it starts from the beginning"


class Checkpointer(Protocol):
    """Where a stage leaves its state between epochs."""

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None at the first start."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state."""


class NoCheckpoint:
    """Keeps nothing: for tests and short calls."""

    def load(self) -> dict[str, Any] | None:
        """Nothing was kept."""
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Keep nothing."""


class FileCheckpointer:
    """One file, replaced atomically after each epoch. Its folder is keyed by the hash of the stage's inputs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """The saved state; a truncated or foreign file is a CheckpointError that names it."""
        return load_tensors(self.path) if self.path.exists() else None

    def save(self, state: dict[str, Any]) -> None:
        """Write a temporary sibling and rename it."""
        save_tensors(state, self.path)

    def clear(self) -> None:
        """Remove the file once the stage's outputs are in place, and what a kill in the middle of a write left."""
        for file in (self.path, *self.path.parent.glob(f"{self.path.name}.tmp-*")):
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def restoring(checkpoint: Checkpointer) -> Iterator[None]:
    """Putting a saved state back; whatever does not fit in it is a CheckpointError that says how to start over."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            "the checkpoint is of another run",
            where=str(getattr(checkpoint, "path", "the stage's checkpoint")),
            got=f"{type(error).__name__}: {reason}",
            do=DELETE,
        ) from error


def save_tensors(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values to ``path``, whole or not at all. Raises OutputError, as on a full disk."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError
        cause = error if isinstance(error, OSError) else error.__context__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error).split("\n")[0]
        raise OutputError(
            "cannot write", where=str(path), got=reason, do="check the folder's rights and the disk"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what ``save_tensors`` wrote: tensors and plain values only, nothing is executed. Raises CheckpointError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler raises whatever it stumbles over
        raise CheckpointError(
            "the checkpoint cannot be read",
            where=str(path),
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            do=DELETE,
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError("the checkpoint holds no state", where=str(path), got=type(state).__name__, do=DELETE)
    return state
