"""Writing a table by name; each is a module of its own, so that an edit of one leaves the others alone."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from bars.errors import GridError
from bars.pipeline.ownership import study_name
from bars.report import computing
from bars.report.artifacts import TABLES, kinds
from bars.report.layout import Column
from bars.report.tree import Results

if TYPE_CHECKING:
    from bars.pipeline.load import Params
    from bars.report.layout import Table


def write_table(
    name: str, params: Params, scale: str | None, results_dir: str | Path, out_dir: str | Path
) -> list[Path]:
    """Write table1, table2, claims or audit into ``out_dir`` as ``kinds`` says; returns the files.

    Raises GridError for another name, RecordError where a result is bad or nothing was run.
    """
    return make_table(name, params, scale, results_dir).write(Path(out_dir), kinds(name))


def make_table(name: str, params: Params, scale: str | None, results_dir: str | Path) -> Table:
    """The table in memory."""
    if name not in TABLES:
        raise GridError("no such table", got=name, allowed=", ".join(TABLES))
    results = Results(params, scale, Path(results_dir))
    made: Table = importlib.import_module(f"bars.report.tables.{name}").table(results)
    study, computed = study_name(params), computing.note(results, results.read)
    return dataclasses.replace(
        made,
        columns=[*made.columns, Column("study")],
        rows=[{**row, "study": study} for row in made.rows],
        notes=[*made.notes, *([computed] if computed else []), f"Study {study}, scale {results.scale}."],
    )
