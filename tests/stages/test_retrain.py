"""Every option of ``retrain`` acts on the trained weights, or on the schedule by its own formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bars.cost import uniform_genotype
from bars.models.network import Network
from bars.params import RetrainParams
from bars.space import SearchSpace
from bars.stages.retrain import Trainer, learning_rate
from bars.training.checkpoint import NoCheckpoint
from bars.training.progress import Silent
from tests.blocks import block
from tests.stages.test_search import BINARIZE, CPU, SPACE, Images


def options(**changes: Any) -> RetrainParams:
    return block(RetrainParams, **({"epochs": 3, "batch_size": 8, "lr": 0.01} | changes))


def trained(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    space = SearchSpace.from_params(SPACE)
    model = Network(SPACE, BINARIZE, uniform_genotype(space, "binary_conv_3x3", 1, 1.0), 8, 4)
    part: Any = Images(0)
    return Trainer(model, options(**changes), CPU, part, 0).run(NoCheckpoint(), Silent()).state


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


SGD = {"optimizer": "sgd", "schedule": "step", "milestones": (0.5,)}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"epochs": 4}),
        ({}, {"batch_size": 16}),
        ({}, {"optimizer": "sgd"}),
        ({}, {"lr": 0.02}),
        ({}, {"lr_end": 0.005}),
        ({}, {"schedule": "linear"}),
        ({}, {"weight_decay": 0.1}),
        ({"optimizer": "sgd"}, {"grad_clip": 0.01}),
        ({}, {"label_smoothing": 0.2}),
        ({}, {"drop_path": 0.5}),
        (SGD, {"milestones": (0.2,)}),
        (SGD, {"decay": 0.5}),
        (SGD, {"momentum": 0.5}),
        (SGD, {"nesterov": True}),
    ],
)
def test_every_option_acts(base: dict[str, Any], change: dict[str, Any]) -> None:
    plain = trained(**base)
    assert same(plain, trained(**base))
    assert not same(plain, trained(**(base | change)))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "one_cycle"])
def test_schedules_end_at_lr_end(schedule: str) -> None:
    assert learning_rate(options(schedule=schedule, lr=1.0, lr_end=0.25), 1.0) == pytest.approx(0.25)


def test_decay_is_the_factor_at_each_milestone() -> None:
    steps = options(schedule="step", lr=1.0, decay=0.2, milestones=(0.3, 0.6))
    assert [learning_rate(steps, share) for share in (0.2, 0.4, 0.7)] == pytest.approx([1.0, 0.2, 0.04])
