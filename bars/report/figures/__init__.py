"""Figures 1 to 6: each drawn from a csv that is written beside it, as PDF and PNG."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bars.errors import GridError
from bars.report.inputs import FIGURES

if TYPE_CHECKING:
    from bars.pipeline.load import Params


def write_figure(
    name: str, params: Params, scale: str | None, results_dir: str | Path, figures_dir: str | Path
) -> list[Path]:
    """Write ``<name>.pdf``, ``.png`` and ``.csv`` into ``figures_dir``; returns them.

    Raises GridError for another name, RecordError where a result is bad or nothing can be drawn.
    """
    if name not in FIGURES:
        raise GridError("no such figure", got=name, allowed=", ".join(FIGURES))
    os.environ["MPLBACKEND"] = "agg"  # figures are files; a notebook's backend may not even be installed here
    from bars.report.figures import style
    from bars.report.results import Results

    results = Results(params, scale, Path(results_dir))
    module = importlib.import_module(f"bars.report.figures.{name}")
    rows = module.data(results)
    with style.look(params.report.figures):
        return style.save(module.draw(rows, results), rows, Path(figures_dir), name, params.report.figures.dpi)
