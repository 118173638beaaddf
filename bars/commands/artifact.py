"""``bars table``, ``bars figure`` and ``bars report``: check the results they read, then let the report write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bars.pipeline.experiments import Grid
from bars.pipeline.load import Params, load_params
from bars.pipeline.provenance import verify_chain, verify_inputs
from bars.report.artifacts import FIGURES, TABLES, need_paths

Write = Callable[[str, Params, str | None, Path, Path], list[Path]]


def write_artifact(write: Write, name: str, params: Path, scale: str | None, results: Path, out: Path) -> int:
    """Write one table or figure and print its files; results that do not chain back to their data are refused."""
    loaded = load_params(params)
    if name in (*TABLES, *FIGURES):
        verify_results(name, Grid(loaded, scale), results)
    for path in write(name, loaded, scale, results, out):
        print(path)
    return 0


def write_report(params: Path, scale: str | None, results: Path, figures: Path, out: Path) -> int:
    """Write the page for reviewers, of results that chain back to their data."""
    from bars.report.page import write_page

    loaded = load_params(params)
    for name in (*TABLES, *FIGURES):
        verify_results(name, Grid(loaded, scale), results)
    print(write_page(loaded, scale, results, figures, out))
    return 0


def verify_results(name: str, grid: Grid, results: Path) -> None:
    """Every result that is there must be what its stage wrote from what stands before it. Raises RecordError."""
    there = [path for path in need_paths(name, grid) if (results / path).is_file()]
    for path in there:
        if path.endswith("/metrics.json"):
            verify_chain(results / path, results)
    verify_inputs(results, there)
