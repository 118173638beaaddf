"""What of the results a study may remove, and removing it: listed first, and only after a yes."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bars.errors import BarsError
from bars.pipeline import paths
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.ownership import folders, study_name

RESULTS = Path("results")


def arguments(description: str, options: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml", metavar="FILE", help="the study (default: params.yaml)")
    parser.add_argument("--scale", metavar="S", help="one of its scales (default: the active one)")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    return parser.parse_args(options)


def run(description: str, options: Sequence[str], find: object) -> int:
    """List what ``find(grid)`` gives, ask, remove. Exit status 2 where the parameters are wrong."""
    args = arguments(description, options)
    try:
        grid = Grid(load_params(args.params), args.scale)
    except BarsError as error:
        print(error, file=sys.stderr)
        return 2
    assert callable(find)
    found = list(find(grid))
    print(f"study {study_name(grid.params)}, scale {grid.scale}: {len(found)} to remove")
    for path in found:
        print(path)
    if found and (args.yes or _agreed()):
        remove(found)
        print("removed")
    elif found:
        print("nothing was removed (--yes removes)")
    return 0


def _agreed() -> bool:
    return sys.stdin.isatty() and input("Remove them? [y/N] ").strip().lower() in ("y", "yes")


def remove(found: Iterable[Path]) -> None:
    for path in found:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for parent in path.parents:  # folders that this left empty
            if parent in (RESULTS, Path(".")) or any(parent.iterdir()):
                break
            parent.rmdir()


def stage_folders(grid: Grid, results: Path = RESULTS) -> Iterator[tuple[Path, bool]]:
    """Folders of a scale that a stage of this study wrote, by their provenance, and whether the grid names them.

    Whatever has no provenance, or another study's, is not known and not given.
    """
    named, mine = folders(grid), study_name(grid.params)
    for record in sorted((results / grid.scale).rglob(paths.PROVENANCE)):
        folder = record.parent
        if _is_ours(record, mine, grid.scale):
            yield folder, folder.relative_to(results).as_posix() in named


def _is_ours(record: Path, study: str, scale: str) -> bool:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return content["scale"] == scale and content["stage"] in paths.OUTPUTS and content.get("study") == study
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
