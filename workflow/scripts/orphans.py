"""Remove results of a study that its grid no longer names (an experiment renamed, a seed dropped).

Listed first, removed after a yes. Only stage folders whose provenance.json says that this study made them at this scale
are touched: other studies, other scales and your own files stay.

Usage: python -m workflow.scripts.orphans [--params FILE] [--scale S] [--yes]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bars.pipeline.experiments import Grid
from workflow.scripts import removal


def orphans(grid: Grid, results: Path = removal.RESULTS) -> Iterator[Path]:
    return (folder for folder, named in removal.stage_folders(grid, results) if not named)


def main(*options: str) -> int:
    return removal.run(str(__doc__), options, orphans)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
