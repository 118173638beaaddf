"""Which files of the grid each table and figure reads: the one list behind the workflow's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bars.pipeline import latency
from bars.pipeline.experiments import Experiment, Grid
from bars.report.paper import table1, table2

METRICS, GENOTYPE, CANDIDATES = "evaluate/metrics.json", "derive/genotype.json", "derive/candidates.csv"
ALPHAS, EPOCHS, DISTRIBUTION = "search/alphas.parquet", "search/epochs.csv", "search/distribution.json"
PREDICTIONS = "evaluate/predictions.parquet"

BARS = ("bars-a", "bars-b", "bars-c")
FULL, COLLAPSED, FAILED, STABILISED = "bars-b", "collapsed-search", "failed-search", "failed-search-stabilised"
FLOAT = "collapsed-search-in-floats"  # without stabilisers, and without binarisation
# What costs are given relative to: the network of the paper's own re-training that stands in every table.
REFERENCE = "resnet18-xnor"
RANKED = "ranked"
# Architectures drawn from the space of each search within its budget.
CHANCE = {
    "bars-a": "random-a",
    "bars-b": "random-architecture",
    "bars-c": "random-c",
    "bars-d": "random-d",
    "bars-e": "random-e",
}
# And with the FLOPs and BiOps of the network that each search found: budgets count no stem, and searches widen it.
MATCHED = {name: f"random-{name[-1]}-matched" for name in CHANCE}
WIDER, NO_OP_SHORTCUT, PLAIN = "resnet18-xnor-wider", "without-op-shortcut", "plain-strided-convolution"
TABLES = ("table1", "table2", "claims", "audit", "ranking")
FIGURES = ("fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "figS1", "figS2", "figS3")
TIMED = ("table2", "claims", "figS2")  # they read the times of the scale's networks


def kinds(name: str) -> tuple[str, ...]:
    """Suffixes of the files of a table or figure; the paper's own tables also come as LaTeX."""
    if name in FIGURES:
        return ("pdf", "png", "csv")
    return ("csv", "html", "md", "tex") if name.startswith("table") else ("csv", "html", "md")


class Need(NamedTuple):
    """Files of one run, relative to its seed's folder; ``stage/name`` each."""

    experiment: str
    seed: int
    files: tuple[str, ...]


def needs(name: str, grid: Grid) -> list[Need]:
    """What a table or figure reads of the runs of a grid.

    Not of experiments that are not run at its scale, nor of stages that a run does not go through, such as the
    derivation of a hand-made network among the ablations.
    ``audit`` and ``fig2`` read no run. Raises KeyError for a name that is neither table nor figure.
    """
    wanted: dict[str, list[str]] = {}
    for experiment, files in _WANTED[name](grid):
        wanted.setdefault(experiment, []).extend(files)
    found = []
    for name, several in wanted.items():
        if name in grid.experiments and grid[name].reason is None:
            unique = tuple(file for file in dict.fromkeys(several) if grid[name].maker(file.partition("/")[0]))
            found += [Need(name, seed, unique) for seed in grid[name].seeds]
    return found


def need_paths(name: str, grid: Grid) -> list[str]:
    """The same as paths relative to the results folder, each once, and the times of the scale's networks."""
    many = needs(name, grid)
    paths = dict.fromkeys(path_of(grid[need.experiment], file, need.seed) for need in many for file in need.files)
    paths |= dict.fromkeys(latency.outputs(grid)[:1] if name in TIMED else ())
    return list(paths)


def path_of(experiment: Experiment, file: str, seed: int) -> str:
    """Path of a run's ``stage/name`` within the results folder; what was taken over from another run lies there."""
    stage, name = file.split("/")
    return experiment.file(stage, name, seed)


def parameters(name: str, grid: Grid) -> dict[str, Any]:
    """JSON-able values of params.yaml that a table or figure reads itself; it must be made again when they change."""
    names = list(grid.experiments) if name == "claims" else [experiment for experiment, _ in _WANTED[name](grid)]
    names += [FULL] if name == "fig2" else []
    settings = grid.params.report
    blocks = _BLOCKS.get(name, ())
    return {
        "scale": grid.scale,
        "claims": settings.claims.model_dump(mode="json") if name in _JUDGED else None,
        "figures": settings.figures.model_dump(mode="json") if name in FIGURES else None,
        "experiments": {
            e.name: {
                "about": [e.group, e.kind, e.slot, e.label, e.reason, list(e.seeds), e.own_recipe, e.width_multiplier],
                "blocks": {key: e.block(key).deciding(name) for key in blocks if e.has(key)},
            }
            for experiment in dict.fromkeys(names)
            if (e := grid.experiments.get(experiment)) is not None
        },
    }


_JUDGED = ("table1", "claims", "fig6", "ranking", "figS2", "figS3")  # they read report.claims
_BLOCKS = {
    "table1": ("space", "search", "derive"),
    "fig2": ("space", "search_data", "search", "derive", "retrain"),
    "fig5": ("search", "search_data"),
    "fig6": ("search_data",),
    "figS1": ("search",),
    "ranking": ("derive",),
    "figS3": ("derive",),
    "table2": ("search", "derive"),
}
_Wanted = Iterator[tuple[str, tuple[str, ...]]]


def _group(grid: Grid, group: str) -> list[Experiment]:
    return [experiment for experiment in grid if experiment.group == group]


def _table1(grid: Grid) -> _Wanted:
    rows = [row.experiment for row in table1()]
    extras = [experiment.name for experiment in _group(grid, "ablations")]
    for name in dict.fromkeys([*rows, *extras]):
        yield name, (METRICS, GENOTYPE)


def _table2(grid: Grid) -> _Wanted:
    rows = [row.experiment for row in table2()]
    extras = [experiment.name for group in ("searched", "baselines") for experiment in _group(grid, group)]
    for name in dict.fromkeys([*rows, *extras]):
        yield name, (METRICS,)


def scattered(experiment: Experiment) -> bool:
    """Whether Figures 1 and 4 show a network of Table 2; those that match another's operations would hide it."""
    return experiment.slot == "cifar10" and experiment.kind != "matched"


def _scatter(grid: Grid) -> _Wanted:
    for name, files in _table2(grid):
        if name in grid.experiments and scattered(grid[name]):
            yield name, files


def _fig3(grid: Grid) -> _Wanted:
    for name in (*BARS, *(experiment.name for experiment in _group(grid, "widened")), REFERENCE):
        yield name, (METRICS,)


def _fig5(grid: Grid) -> _Wanted:
    for name in (FULL, COLLAPSED, FLOAT):
        yield name, (ALPHAS,)


def _fig6(grid: Grid) -> _Wanted:
    yield FULL, (GENOTYPE,)
    yield FAILED, (GENOTYPE, METRICS)


def _claims(grid: Grid) -> _Wanted:
    cifar = [row.experiment for row in table2() if row.slot == "cifar10"]
    imagenet = ["bars-d", "bars-e", "imagenet-resnet18-xnor", "imagenet-resnet18-xnor-fp"]
    ablations = [row.experiment for row in table1()]
    beyond = [*CHANCE.values(), *MATCHED.values(), WIDER, NO_OP_SHORTCUT, PLAIN]
    for name in (*cifar, *imagenet, *ablations, COLLAPSED, FAILED, STABILISED, *beyond):
        yield name, (METRICS,)
    yield from _fig3(grid)
    gains = [*BARS, "resnet18-xnor", "resnet34-xnor", *imagenet, *beyond, "compact", "compact-x2", *ablations]
    for name in gains:
        if name != "without-gumbel-softmax":  # judged by whether it fails
            yield name, (PREDICTIONS,)
    for name in (*BARS, FAILED, STABILISED, "without-gumbel-softmax"):
        yield name, (GENOTYPE,)
    for name in (FULL, COLLAPSED, FLOAT, "normal-reduction-cell"):
        yield name, (ALPHAS,)
    for name in (FULL, COLLAPSED):
        yield name, (EPOCHS, CANDIDATES)
    yield from _timed(grid)


def _searches(grid: Grid) -> _Wanted:
    for experiment in grid:
        if "search" in experiment.stages:
            yield experiment.name, (EPOCHS, DISTRIBUTION)


def _ranking(grid: Grid) -> _Wanted:
    yield RANKED, (CANDIDATES, METRICS)


def _timed(grid: Grid) -> _Wanted:
    for experiment, _ in latency.timed(grid):
        yield experiment.name, (METRICS,)


def _none(grid: Grid) -> _Wanted:
    yield from ()


_WANTED = {
    "table1": _table1,
    "table2": _table2,
    "claims": _claims,
    "audit": _none,
    "fig1": _scatter,
    "fig2": _none,
    "fig3": _fig3,
    "fig4": _scatter,
    "fig5": _fig5,
    "fig6": _fig6,
    "figS1": _searches,
    "figS2": _timed,
    "figS3": _ranking,
    "ranking": _ranking,
}
