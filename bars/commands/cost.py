"""``bars cost``: operations and parameters of an experiment's network, derived or hand-made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bars import cost as costs
from bars.commands.listing import text_table
from bars.cost import Cost
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.experiments import Experiment, Grid, num_classes
from bars.pipeline.load import load_params
from bars.space import Genotype, SearchSpace

_IMAGENET_CLASSES = 1000


def show_cost(params: Path, scale: str | None, results: Path, name: str, seed: int | None, *, as_json: bool) -> int:
    """Print FLOPs, BiOps, parameters and equivalent operations; without a genotype yet, what the space allows."""
    experiment = Grid(load_params(params), scale)[name]
    experiment.require("evaluate", seed)
    answer = cost_of(experiment, results, experiment.seeds[0] if seed is None else seed)
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print(text_table([(key, _shown(value)) for key, value in answer.items() if value is not None]))
    return 0


def cost_of(experiment: Experiment, results: Path, seed: int) -> dict[str, Any]:
    """The answer as JSON."""
    size = experiment.data.image_size
    classes, note = classes_of(experiment, results)
    answer: dict[str, Any] = {
        "experiment": experiment.name,
        "scale": experiment.scale,
        "dataset": experiment.dataset,
        "image_size": size,
        "classes": classes,
        "note": note,
    }
    if experiment.kind == "baseline":
        from bars.stages.networks import count  # imports torch

        return answer | _counts(count(experiment.network, experiment.view("evaluate"), None, classes, size))
    space = experiment.space
    bounds = {
        "budget_biops": experiment.budget_biops,
        "smallest_biops": costs.min_biops(space, size, classes),
        "largest_3x3_biops": costs.max_biops(space, size, classes),
        "architectures": SearchSpace.from_params(space).size(),
    }
    genotype = _genotype(experiment, results, seed)
    if genotype is None:
        path = results / experiment.file("derive", "genotype.json", seed)
        return answer | bounds | {"genotype": f"none is derived yet ({path})"}
    chosen = {"seed": seed, "genotype": genotype.sha256}
    return answer | bounds | chosen | _counts(costs.genotype_cost(space, genotype, size, classes))


def _genotype(experiment: Experiment, results: Path, seed: int) -> Genotype | None:
    space = SearchSpace.from_params(experiment.space)
    if experiment.genotype is not None:
        return Genotype.from_json(experiment.genotype, space)
    path = results / experiment.file("derive", "genotype.json", seed)
    return rec.read_genotype(path, space) if path.is_file() else None


def classes_of(experiment: Experiment, results: Path) -> tuple[int, str | None]:
    """Number of classes: as declared, as split, as found, or else those of ImageNet (FLOPs of the classifier only)."""
    known = num_classes(experiment.data)
    split = results / paths.split_path(experiment.scale, experiment.dataset)
    if known is None and split.is_file():
        known = len(rec.read_json(split).get("classes", ())) or None
    if known is None:
        return _IMAGENET_CLASSES, f"no images found: {_IMAGENET_CLASSES} classes are assumed"
    return known, None


def _counts(cost: Cost) -> dict[str, Any]:
    equivalent = {f"equivalent_ops_{divisor}": cost.equivalent(divisor) for divisor in (64, 32)}
    return {"flops": cost.flops, "biops": cost.biops, "params": cost.params, **equivalent}


def _shown(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return str(value)
