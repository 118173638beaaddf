"""Image files as a network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bars.data.images import SUFFIXES, decode, fit
from bars.errors import DataError

Pixels = npt.NDArray[np.uint8]


def find(given: Sequence[Path]) -> list[Path]:
    """The files that were given, and those of the folders that were, sorted by name. Raises DataError."""
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise DataError("no image in this folder", where=str(path), allowed=", ".join(SUFFIXES))
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError("there is no such image", where=str(path))
    return found


def read(paths: Sequence[Path], size: int, batch: int) -> Iterator[tuple[Sequence[Path], Pixels]]:
    """Some files at a time with their pixels uint8 [n, size, size, 3]: each the largest central square, resized."""
    for start in range(0, len(paths), batch):
        part = paths[start : start + batch]
        yield part, np.stack([_pixels(path, size) for path in part])


def _pixels(path: Path, size: int) -> Pixels:
    try:
        return fit(decode(path), size)
    except DataError as error:
        raise DataError(error.what, where=error.where, got=error.got, do="leave it out, or replace it") from error
