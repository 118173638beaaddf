"""Which files of a folder are images: each once, and every other file counted with the reason why it is passed over."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bars.data.images import SUFFIXES

Identity = tuple[int, int]


@dataclass
class Skipped:
    """Files passed over for one reason: how many, and the first of them."""

    count: int
    first: str


@dataclass
class Listing:
    """Image files, as (path relative to the data set's root, bytes), and what else is there, by reason."""

    images: list[tuple[str, int]] = field(default_factory=list)
    skipped: dict[str, Skipped] = field(default_factory=dict)

    def skip(self, reason: str, path: str) -> None:
        """Count a file that is no image of the data set."""
        self.skipped.setdefault(reason, Skipped(0, readable(path))).count += 1


def list_images(top: Path, root: Path, listing: Listing, elsewhere: Iterable[Path] = ()) -> list[tuple[str, int]]:
    """The images below ``top``, sorted; they are added to ``listing``. Raises OSError.

    A link to a folder that was read, or to one of ``elsewhere``, is not followed: it would give images a second time.
    """
    found = []
    prefix = len(str(root)) + 1
    seen = {identity(folder) for folder in elsewhere}

    def refuse(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(top, onerror=refuse, followlinks=True):
        seen.add(identity(folder))
        subfolders[:] = [name for name in sorted(subfolders) if _enter(folder, name, prefix, seen, listing)]
        for name in sorted(names):
            path = os.path.join(folder, name)
            status = os.stat(path) if _reason(name) is None else None
            reason = _reason(name) if status is None or stat.S_ISREG(status.st_mode) else "no regular file"
            if reason is not None:
                listing.skip(reason, path[prefix:])
            elif status is not None:
                found.append((path[prefix:], status.st_size))
    found.sort()
    listing.images += found
    return found


def _enter(folder: str, name: str, prefix: int, seen: set[Identity], listing: Listing) -> bool:
    path = os.path.join(folder, name)
    if name.startswith("."):
        listing.skip("a hidden folder", path[prefix:])
        return False
    if (here := identity(path)) in seen:
        listing.skip("a link to a folder that is read elsewhere", path[prefix:])
        return False
    seen.add(here)
    return True


def _reason(name: str) -> str | None:
    """Why a name is no image's."""
    if name.startswith("."):
        return "hidden"
    suffix = os.path.splitext(name)[1].lower()
    return None if suffix in SUFFIXES else f"no image by its name ({suffix or 'no suffix'})"


def readable(path: str | Path) -> str:
    """A path as text that can be written: bytes of a name that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def identity(path: str | Path) -> Identity:
    """What two names of one folder have in common."""
    status = os.stat(path)
    return status.st_dev, status.st_ino
