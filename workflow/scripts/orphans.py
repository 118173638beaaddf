"""List results that the grid no longer names (an experiment renamed, a seed dropped), which nothing reads any more.

Usage: python -m workflow.scripts.orphans [--delete]
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bars.pipeline import paths
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params


def named(grid: Grid) -> set[str]:
    """Folders of the grid, relative to the results folder, and all above them."""
    leaves = {paths.data_dir(grid.scale, name) for name in grid.datasets}
    for experiment in grid.runnable():
        leaves |= {experiment.dir(stage, seed) for stage in experiment.stages for seed in experiment.seeds}
    return {parent.as_posix() for leaf in leaves for parent in (Path(leaf), *Path(leaf).parents)}


def orphans(results: Path, params: Path | str = "params.yaml") -> Iterator[Path]:
    """Topmost folders that no scale of the grid names; hidden ones are locks and temporary siblings."""
    loaded = load_params(params)
    known = set[str]().union(*(named(Grid(loaded, scale)) for scale in loaded.scales))
    waiting = [results]
    while waiting:
        for folder in sorted(path for path in waiting.pop().iterdir() if path.is_dir()):
            if folder.name.startswith("."):
                continue
            if folder.relative_to(results).as_posix() not in known:
                yield folder
            else:
                waiting.append(folder)


def main(*options: str) -> int:
    if set(options) - {"--delete"}:
        print(__doc__, file=sys.stderr)
        return 2
    for folder in list(orphans(Path("results"))):
        print(folder)
        if options:
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
