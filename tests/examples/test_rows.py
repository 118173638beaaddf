"""params.yaml and the studies in examples/: no row repeats another, as one does when a default catches up with it."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from bars.pipeline.experiments import Grid
from bars.pipeline.home import home
from bars.pipeline.load import load_params

STUDIES = [
    ("params.yaml", "smoke"),
    ("params.yaml", "cpu"),
    ("params.yaml", "gpu"),
    ("params.yaml", "paper"),
    ("examples/search-sweep.yaml", "smoke"),
    ("examples/search-sweep.yaml", "cpu"),
    ("examples/template-sweep.yaml", "cpu"),
    ("examples/bfloat16.yaml", "cpu"),
]


@pytest.mark.parametrize(("file", "scale"), STUDIES)
def test_no_two_rows_are_the_same_computation(file: str, scale: str) -> None:
    trainings, chains = defaultdict(list), defaultdict(list)
    for experiment in Grid(load_params(home() / file), scale).runnable():
        own = f"{scale}/{experiment.group}/{experiment.name}/"
        stages = {
            stage: [experiment.stage_params(stage), [path.replace(own, "own/") for path in experiment.inputs(stage, 0)]]
            for stage in experiment.stages
        }
        chains[json.dumps([experiment.kind, stages], sort_keys=True)].append(experiment.name)
        if experiment.evaluated:
            training = [experiment.stage_params("retrain"), experiment.inputs("retrain", 0)]
            trainings[json.dumps(training, sort_keys=True)].append(experiment.name)
    repeated = [names for names in (*trainings.values(), *chains.values()) if len(names) > 1]
    assert not repeated
