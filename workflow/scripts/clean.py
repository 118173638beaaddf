"""Remove what the workflow made of one scale of a study: stage folders, tables, figures, logs.

Listed first, removed after a yes. Other scales, other studies, data and your own files stay.

Usage: python -m workflow.scripts.clean [--params FILE] [--scale S] [--yes]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bars.pipeline.experiments import Grid
from bars.pipeline.ownership import report_dir
from bars.report.artifacts import FIGURES, TABLES, kinds
from workflow.scripts import removal


def made(grid: Grid, results: Path = removal.RESULTS, figures: Path = Path("figures")) -> Iterator[Path]:
    yield from (folder for folder, _ in removal.stage_folders(grid, results))
    kept = results / report_dir(grid)
    for name in (*TABLES, *FIGURES):
        for suffix in kinds(name):
            last = (figures if name in FIGURES else results) / f"{name}.{suffix}"
            copy = kept / last.name
            # The files on top are those of whoever wrote last: ours if they are the copy that we keep.
            if copy.is_file() and last.is_file() and copy.read_bytes() == last.read_bytes():
                yield last
    yield from (path for path in (kept, Path("logs") / grid.scale) if path.is_dir())


def main(*options: str) -> int:
    return removal.run(str(__doc__), options, made)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
