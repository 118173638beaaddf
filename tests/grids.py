"""A params file small enough to run in seconds, and a way to change it."""

from __future__ import annotations

import copy
from typing import Any

from bars.pipeline.load import merge_files
from tests.blocks import tree

_TINY: dict[str, Any] = {
    "scale": "tiny",
    "runtime": {"device": "cpu", "precision": "float32", "passes": "eager"},
    "defaults": {
        "space": {"stages": 2, "cells_per_stage": 1, "nodes": 2, "widths": [0.5, 1.0]},
        "search": {
            "batch_size": 16,
            "warmup_epochs": 0,
            "temperature": {"start": 5.0, "end": 0.1, "shape": "exponential"},
            "weight_lr": 0.05,
            "weight_lr_end": 0.001,
            "alpha_lr": 0.02,
        },
        "derive": {
            "samples": 2,
            "criterion": "loss",
            "budget_tolerance": 0.5,
            "max_draws": 1000,
            "shortfall": "refuse",
        },
        "retrain": {"lr": 0.001},
    },
    "scales": {
        "tiny": {
            "seeds": [0, 3],
            "space": {"init_channels": 4},
            "search": {"epochs": 2},
            "retrain": {"epochs": 2, "batch_size": 16},
            "model_width": 0.25,
            "slots": {
                "cifar10": {"data": {"source": "digits", "image_size": 8, "max_train": 80, "max_test": 40}},
                "imagenet": {
                    "data": {"source": "digits", "image_size": 32, "max_train": 80},
                    "search_data": {"classes": 5},
                    "space": {"stem": "imagenet"},
                },
            },
            "experiments": {"a": {"search": {"epochs": 3}}},
        },
        "cpu": {
            "seeds": [0],
            "space": {"init_channels": 8},
            "search": {"epochs": 2},
            "retrain": {"epochs": 2, "batch_size": 16},
            "slots": {"cifar10": {"data": {"source": "digits", "image_size": 8}}, "imagenet": None},
        },
    },
    "experiments": {
        "searched": {
            "a": {"slot": "cifar10", "search": {"budget": {"fraction": 0.3}}, "label": "A"},
            "b": {"slot": "imagenet", "search": {"budget": {"biops": 150000}}},
        },
        "ablations": {
            "a-argmax": {"base": "a", "search_from": "a", "derive": {"method": "argmax"}},
            "a-shared": {"base": "a", "space": {"cell_types": "shared"}, "extra": True},
            "a-random": {"base": "a", "derive": {"method": "random"}},
            "a-matched": {"base": "a", "matched_to": "a", "derive": {"method": "random"}},
        },
        "ranking": {"a-ranked": {"base": "a", "rank_with": "a", "seeds": [5]}},
        "widened": {"a-x2": {"base": "a", "genotype_from": "a", "width_multiplier": 1.4}},
        "baselines": {
            "r18": {
                "slot": "cifar10",
                "model": {"family": "resnet18-xnor"},
                "own_recipe": {"retrain": {"lr": 0.5, "epochs": 99, "batch_size": 7}},
            },
            "i18": {"slot": "imagenet", "model": {"family": "resnet18-xnor", "width": 0.5}},
        },
    },
}

_SHARED = {key: tree()[key] for key in ("recipe", "runtime", "defaults", "report")}
TREE: dict[str, Any] = merge_files(_SHARED, _TINY)

Edits = dict[str, Any]
DELETE = object()


def edited(tree: dict[str, Any], edits: Edits) -> dict[str, Any]:
    """A copy with dotted paths set (or deleted)."""
    tree = copy.deepcopy(tree)
    for path, value in edits.items():
        *above, last = path.split("/")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
        if value is DELETE:
            del node[last]
        else:
            node[last] = value
    return tree
