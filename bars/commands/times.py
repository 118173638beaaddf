"""``bars cost --time``: hours and memory of an experiment's stages, from runs that are recorded in the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bars.commands.cost import cost_of, show_cost
from bars.commands.listing import text_table
from bars.errors import BarsError, RecordError
from bars.pipeline import paths
from bars.pipeline.durations import duration
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import Params, load_params
from bars.pipeline.records import Provenance, read_json, read_record

_HEADER = ("stage", "time of one seed", "memory", "GPU memory", "from", "how good")


@dataclass(frozen=True)
class Run:
    """A finished stage: its work (operations x images), and what it took (s, MiB)."""

    stage: str
    scale: str
    device: str
    work: float
    seconds: float
    memory: float
    device_memory: float | None


def show(
    params: Path, scale: str | None, results: Path, name: str, seed: int | None, *, time: bool, as_json: bool
) -> int:
    """``bars cost``: counts of the network of a seed or, with ``time``, what its experiment's stages will take."""
    if time:
        return show_times(params, scale, results, name, as_json=as_json)
    return show_cost(params, scale, results, name, seed, as_json=as_json)


def show_times(params: Path, scale: str | None, results: Path, name: str, *, as_json: bool) -> int:
    """Print a prediction for every stage, and how far such predictions were off. Raises RecordError without any run."""
    loaded = load_params(params)
    grid = Grid(loaded, scale)
    costs = Costs(results)
    known = list(recorded(loaded, costs, grid[name].stages))
    answer = [predict(stage, grid[name], known, costs) for stage in grid[name].stages]
    if not any(found["runs"] for found in answer):
        raise RecordError(
            "no recorded run to predict from",
            where=str(results),
            do="run some on this machine first, such as those of the smoke scale",
        )
    if as_json:
        print(json.dumps({"experiment": name, "scale": grid.scale, "stages": answer}, indent=2))
    else:
        print(text_table([_HEADER, *map(_row, answer)]))
        print("Time: start + rate x epochs x images x operations, fitted to the recorded runs on this device.")
    return 0


# ----------------------------------------------------------------------------------------------------- recorded runs
def recorded(params: Params, costs: Costs, stages: Sequence[str]) -> Iterator[Run]:
    """Finished runs of these stages, of experiments that the grid still names."""
    grids = {scale: Grid(params, scale) for scale in params.scales}
    for path in sorted(costs.results.glob(f"*/*/*/seed-*/*/{paths.PROVENANCE}")):
        record = read_record(path, Provenance)
        grid = grids.get(record.scale)
        if grid is None or record.experiment not in grid.experiments or record.stage not in stages:
            continue
        experiment = grid[record.experiment]
        try:
            work = stage_work(record.stage, experiment, record.params, costs, record.seed or 0)
        except BarsError:  # an experiment that is no longer what it was
            continue
        taken = (record.seconds, record.peak_memory_mb, record.peak_device_memory_mb)
        yield Run(record.stage, record.scale, record.device.partition(":")[0], work, *taken)


def stage_work(stage: str, experiment: Experiment, params: Mapping[str, Any], costs: Costs, seed: int) -> float:
    """Epochs x images x operations of an image; a search's network is taken as the largest of its space."""
    in_search = stage in ("search", "derive")
    dataset = experiment.search_dataset if in_search else experiment.dataset
    split = read_json(costs.results / paths.split_path(experiment.scale, dataset))
    parts = {"derive": ("valid",), "evaluate": ("test",)}.get(stage, ("train", "valid"))
    images = sum(len(split[part]) for part in parts)
    operations = costs.operations(experiment, seed, of_supernet=in_search)
    block = params.get(stage, {})
    times = block.get("epochs", 1) if stage != "derive" else block.get("samples", 1)
    return float(times * images * operations)


class Costs:
    """Counts of networks, each made once: a hand-made one is built for it."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._known: dict[tuple[str, str, int], dict[str, Any]] = {}

    def operations(self, experiment: Experiment, seed: int, *, of_supernet: bool) -> float:
        """FLOPs + BiOps of an image; of a network that is not derived yet, its budget."""
        key = (experiment.scale, experiment.name, seed)
        if key not in self._known:
            self._known[key] = cost_of(experiment, self.results, seed)
        cost = self._known[key]
        if of_supernet or ("biops" not in cost and cost["budget_biops"] is None):
            return float(cost["largest_3x3_biops"])
        return float(cost["flops"] + cost["biops"] if "biops" in cost else cost["budget_biops"])


# ----------------------------------------------------------------------------------------------------- the prediction
def predict(stage: str, experiment: Experiment, known: Sequence[Run], costs: Costs) -> dict[str, Any]:
    """Seconds, MiB, and by which factor the same prediction missed each recorded run that was left out."""
    runs = [run for run in known if run.stage == stage]
    device = _device(experiment, runs)
    runs = [run for run in runs if run.device == device]
    if not runs:
        return {"stage": stage, "runs": 0}
    seed = experiment.seeds[0]
    work = stage_work(stage, experiment, experiment.stage_params(stage), costs, seed)
    same = [run for run in runs if run.scale == experiment.scale] or runs
    on_device = [run.device_memory for run in same if run.device_memory is not None]
    misses = [_miss(runs[:i] + runs[i + 1 :], run) for i, run in enumerate(runs)] if len(runs) > 2 else []
    return {
        "stage": stage,
        "runs": len(runs),
        "device": device,
        "seconds": round(_seconds(runs, work), 1),
        "memory_mb": max(run.memory for run in same),
        "device_memory_mb": max(on_device, default=None),
        "memory_of_scale": same[0].scale if len({run.scale for run in same}) == 1 else "several",
        "typical_factor": round(median(misses), 2) if misses else None,
        "worst_factor": round(max(misses), 2) if misses else None,
        "beyond_recorded": round(work / max(run.work for run in runs), 1),
    }


def _device(experiment: Experiment, runs: Sequence[Run]) -> str:
    """Where it will run: as it says, or with `auto` where the latest runs did, a GPU first."""
    asked = experiment.runtime.device.partition(":")[0]
    return ("cuda" if any(run.device == "cuda" for run in runs) else "cpu") if asked == "auto" else asked


def _seconds(runs: Sequence[Run], work: float) -> float:
    """Start + rate x work, of least squared relative error; both at least 0."""
    from scipy.optimize import nnls

    heaviest = max(run.work for run in runs)  # as the unit of work: both unknowns are then seconds
    # The rate comes first: of one run alone, all is put down to its work.
    (rate, start), _ = nnls([[r.work / heaviest / r.seconds, 1 / r.seconds] for r in runs], [1.0] * len(runs))
    return float(start + rate * work / heaviest)


def _miss(others: Sequence[Run], run: Run) -> float:
    ratio = _seconds(others, run.work) / run.seconds
    return max(ratio, 1 / ratio)


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    if not found["runs"]:
        return (found["stage"], "no recorded run", "", "", "", "")
    good = "too few runs to say"
    if found["typical_factor"] is not None:
        good = f"off by a factor of {found['typical_factor']:.2f} in the middle, {found['worst_factor']:.2f} at worst"
    if found["beyond_recorded"] > 3:
        good += f"; {found['beyond_recorded']:.0f} times the work of the largest run"
    gpu = found["device_memory_mb"]
    return (
        found["stage"],
        duration(found["seconds"]),
        f"{found['memory_mb']:,.0f} MiB",
        "" if gpu is None else f"{gpu:,.0f} MiB",
        f"{found['runs']} runs, {found['device']}",
        good,
    )
