"""What earlier runs left behind: locks of the drivers, temporary files, checkpoints of interrupted stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from bars.commands.locks import locked_folders

SNAKEMAKE_LOCKS, DVC_LOCK = Path(".snakemake", "locks"), Path(".dvc", "tmp", "rwlock")


class Finding(NamedTuple):
    """A line of ``bars doctor``: ``stop`` would end a run or keep it from starting, ``note`` is worth knowing."""

    level: Literal["ok", "note", "stop"]
    subject: str
    text: str


def leftovers(results: Path, checkpoints: Path) -> Iterator[Finding]:
    """Everything in this folder that a run which was killed leaves behind."""
    for holder in locked_folders():
        yield Finding("note", "locks", f"a stage is running now: {holder}")
    if any(SNAKEMAKE_LOCKS.glob("*.lock")):
        running = _snakemake_here()
        if running is None:
            text = f"Snakemake was killed here and left {SNAKEMAKE_LOCKS}: snakemake --unlock"
            yield Finding("stop", "snakemake", text)
        else:
            yield Finding(
                "note", "snakemake", f"it is running here now, process {running}; a second one would not start"
            )
    if DVC_LOCK.is_file() and not _is_json(DVC_LOCK):
        yield Finding("stop", "dvc", f"{DVC_LOCK} was cut short by a kill: remove it")
    temporary = sorted({*_temporaries(results), *_temporaries(Path("figures"))})
    if temporary:
        shown = ", ".join(map(str, temporary[:3])) + (f" and {len(temporary) - 3} more" if len(temporary) > 3 else "")
        yield Finding("note", "left over", f"{shown}: removed when the stage runs again, or by hand")
    states = [path for path in checkpoints.glob("*/*") if path.is_file()]
    if states:
        size = sum(path.stat().st_size for path in states) / 2**20
        text = f"{len(states)} of interrupted stages, {size:.1f} MiB in {checkpoints}: the stage goes on from there"
        yield Finding("note", "checkpoints", f"{text} if it is still the same, and the rest may be removed")


def _temporaries(folder: Path) -> Iterator[Path]:
    for pattern in ("*.tmp-*", ".*.tmp-*", "*/data/*.tmp-*", "*/*/*/*/*.tmp-*"):
        yield from folder.glob(pattern)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _snakemake_here() -> int | None:
    """A process named snakemake that works in this folder; None where there is none, or no /proc to look it up."""
    here = Path.cwd()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")[:4]
            if any(Path(word).name == "snakemake" for word in words) and (process / "cwd").readlink() == here:
                return int(process.name)
        except OSError:  # it ended just now, or is somebody else's
            continue
    return None
