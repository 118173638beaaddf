"""Blocks of parameters as params.yaml's defaults give them, for tests that need some and change a few."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar

from bars.params import Block, ClaimsParams, FiguresParams, SearchParams
from bars.pipeline.load import load_params
from bars.pipeline.schema import BLOCKS, SCALE_BLOCKS

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
B = TypeVar("B", bound=Block)


@functools.cache
def tree() -> dict[str, Any]:
    """params.yaml as it stands."""
    return load_params(PARAMS).tree


def block(model: type[B], **changes: Any) -> B:
    """The defaults of params.yaml with changes, validated; in float32 on every machine."""
    defaults = {**tree()["defaults"], "runtime": {**tree()["runtime"], "precision": "float32", "passes": "eager"}}
    given = {kind: defaults[name] for name, kind in {**BLOCKS, **SCALE_BLOCKS}.items() if name in defaults}
    given |= {ClaimsParams: tree()["report"]["claims"], FiguresParams: tree()["report"]["figures"]}
    return model.model_validate({**given[model], **changes})


def search_params(**changes: Any) -> SearchParams:
    """A search of some epochs by SGD, under a budget that has to be given."""
    values: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "warmup_epochs": 1,
        "straight_through": ("depth",),
        "temperature": {"start": 2.0, "end": 0.5, "shape": "exponential"},
        "entropy_weight": {"start": -0.1, "end": 0.1, "shape": "linear"},
        "capacity": "target",
        "capacity_exponent": 1.0,
        "capacity_rate": 0.1,
        "weight_optimizer": "sgd",
        "weight_sampling": "same",
        "weight_momentum": 0.9,
        "weight_decay": 3e-4,
        "weight_lr": 0.05,
        "weight_lr_end": 0.01,
        "grad_clip": 5.0,
        "alpha_lr": 0.05,
        "alpha_start": "uniform",
        "health": {"loss": 10.0, "flips": 0.0, "budget": 1.0, "entropy": 1.0, "entropy_pull": 1e9},
    }
    return block(SearchParams, **(values | changes))
