"""The stage ``latency``: one job per scale, which times the networks of Table 2 side by side on one machine."""

from __future__ import annotations

from typing import Any

from bars.pipeline import paths
from bars.pipeline.experiments import Experiment, Grid

STAGE = "latency"
_GROUPS = ("searched", "baselines")  # the rows of Table 2
_UNREAD = "/distribution.json"  # of what evaluate reads


def timed(grid: Grid) -> list[tuple[Experiment, int]]:
    """The networks that are timed, each of its first seed; none where params.yaml has no block ``latency``.

    Those named by ``latency.networks`` or else Table 2's, of which some may not be run at this scale. Raises GridError.
    """
    if grid.latency is None:
        return []
    named = grid.latency.networks
    found = [e for e in grid if e.group in _GROUPS] if named is None else [grid[name] for name in dict.fromkeys(named)]
    return [(experiment, experiment.seeds[0]) for experiment in found if experiment.reason is None]


def inputs(experiment: Experiment, seed: int) -> tuple[str, ...]:
    """What is read of one network's run, relative to the results folder: to time it after it was evaluated."""
    read = [path for path in experiment.inputs("evaluate", seed) if not path.endswith(_UNREAD)]
    return (*read, experiment.file("evaluate", "metrics.json", seed))


def all_inputs(grid: Grid) -> tuple[str, ...]:
    """The same of all networks, each file once."""
    return tuple(dict.fromkeys(path for experiment, seed in timed(grid) for path in inputs(experiment, seed)))


def outputs(grid: Grid) -> tuple[str, ...]:
    """Files that the stage writes, relative to the results folder, provenance.json last; none without networks."""
    names = (*paths.OUTPUTS[STAGE], paths.PROVENANCE) if timed(grid) else ()
    return tuple(f"{paths.latency_dir(grid.scale)}/{name}" for name in names)


def modules(grid: Grid) -> tuple[str, ...]:
    """Modules whose import closures are the stage's code."""
    return (f"bars.stages.{STAGE}", "bars.data", *sorted({experiment.network for experiment, _ in timed(grid)}))


def parameters(grid: Grid) -> dict[str, Any]:
    """JSON-able parameters of the stage; it reruns when they change."""
    settings = None if grid.latency is None else grid.latency.deciding(STAGE)
    return {"latency": settings, "networks": {experiment.name: seed for experiment, seed in timed(grid)}}
