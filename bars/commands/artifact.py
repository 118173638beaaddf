"""``bars table``, ``bars figure``, ``bars report``: check the results they read, let the report write, keep a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bars.errors import RecordError
from bars.pipeline import latency, paths
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import Params, load_params
from bars.pipeline.ownership import report_dir
from bars.pipeline.provenance import other_params, verify_chain, verify_inputs
from bars.report.artifacts import FIGURES, TABLES, TIMED, need_paths, needs

Write = Callable[[str, Params, str | None, Path, Path], list[Path]]
_NAMED = 5


def table(name: str, params: Path, scale: str | None, results: Path, out: Path | None) -> int:
    """Write one table, by default among the results."""
    from bars.report.tables import write_table

    return _write(write_table, name, params, scale, results, out or results)


def figure(name: str, params: Path, scale: str | None, results: Path, out: Path | None) -> int:
    """Write one figure, by default into ``figures`` here."""
    from bars.report.figures import write_figure

    return _write(write_figure, name, params, scale, results, out or Path("figures"))


def _write(write: Write, name: str, params: Path, scale: str | None, results: Path, out: Path) -> int:
    """Write one table or figure and print its files; results that do not chain back to their data are refused.

    A copy stays in the scale's own folder: the files in ``out`` are those of the study and scale that wrote last.
    """
    loaded = load_params(params)
    grid = Grid(loaded, scale)
    if name in (*TABLES, *FIGURES):
        verify_results(name, grid, results)
    kept = results / report_dir(grid)
    for path in write(name, loaded, scale, results, out):
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept / path.name)
        print(path)
    return 0


def report(params: Path, scale: str | None, results: Path, figures: Path | None, out: Path) -> int:
    """Write the page for reviewers, of results that chain back to their data, with the figures that lie beside them."""
    from bars.report.page import write_page

    loaded = load_params(params)
    for name in (*TABLES, *FIGURES):
        verify_results(name, Grid(loaded, scale), results)
    print(write_page(loaded, scale, results, figures or results.parent / "figures", out))
    return 0


def verify_results(name: str, grid: Grid, results: Path, *, archived: bool = False) -> None:
    """Every result that is there must have the present parameters, and be what its stage wrote from what stands before.

    An ``archived`` study keeps of the files of weights only the hashes, and may be older than a parameter.
    Raises RecordError.
    """
    there = [path for path in need_paths(name, grid) if (results / path).is_file()]
    for path in there:
        if path.endswith("/metrics.json"):
            verify_chain(results / path, results, tensors=not archived)
    verify_inputs(results, there, tensors=not archived)
    read = dict(_read_by(name, grid))
    changed = {folder: other_params(results / folder, params, archived=archived) for folder, params in read.items()}
    outdated = [f"{results / folder} ({names})" for folder, names in changed.items() if names]
    if outdated:
        more = f"; and {len(outdated) - _NAMED} more" if len(outdated) > _NAMED else ""
        raise RecordError(
            "results were made with other parameters than the present ones",
            where="; ".join(outdated[:_NAMED]) + more,
            do="run them again (snakemake does), or restore the parameters",
        )


def _read_by(name: str, grid: Grid) -> Iterator[tuple[str, dict[str, Any]]]:
    """Folders of the stages behind a table or figure, and their present parameters."""
    for need in needs(name, grid):
        for experiment in _with_sources(grid, need.experiment):
            if need.seed in experiment.seeds:
                yield from ((experiment.dir(s, need.seed), experiment.stage_params(s)) for s in experiment.stages)
    if name in TIMED:
        yield paths.latency_dir(grid.scale), latency.parameters(grid)


def _with_sources(grid: Grid, name: str | None) -> Iterator[Experiment]:
    """An experiment and those whose search or architecture it takes over."""
    while name is not None:
        yield (experiment := grid[name])
        name = experiment.search_from or experiment.genotype_from
