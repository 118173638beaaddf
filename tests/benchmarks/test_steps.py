"""The benchmarks time the product's own steps, on both sides of the same loss."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import torch

from bars.models.network import Network
from bars.training.runtime import Runtime
from bars.training.trained import Trained
from benchmarks import plain, projections, steps
from benchmarks.inputs import Batch, draws, experiment, middle_genotype, space_of, supernet_of
from benchmarks.plan import Plan, Step
from benchmarks.reference import reference_of
from benchmarks.timing import markdown, ratios, rounds, summary
from benchmarks.variants import Size, retrain_step, search_step

CPU = Runtime(torch.device("cpu"))
TINY = Size(4, 1, 8, 4)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("norm", ["edge", "node"])
def test_every_step_runs_and_changes_the_weights(bfloat16: bool, norm: str) -> None:
    space = space_of(4, 1, norm=norm)
    supernet = supernet_of(space, 8, "cpu")
    batch, runtime = Batch.random(4, 8, "cpu"), Runtime(torch.device("cpu"), bfloat16=bfloat16)
    network = Network(space, experiment().binarize, middle_genotype(space), 8, 10).train()
    made = {
        "weight": (supernet, steps.weight_step(supernet, draws(supernet, "gumbel", "cpu"), batch, runtime)),
        "hard": (supernet, steps.weight_step(supernet, draws(supernet, "hard", "cpu"), batch, runtime)),
        "train": (network, steps.train_step(network, batch, runtime)),
    }
    for name, (model, step) in made.items():
        before = [p.detach().clone() for p in model.parameters()]
        assert math.isfinite(float(step()[0])), name
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), name
    before = [p.detach().clone() for p in supernet.parameters()]
    assert math.isfinite(float(steps.alpha_step(supernet, draws(supernet, "gumbel", "cpu"), batch, runtime)()[0]))
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.parameters(), strict=True))
    assert all(p.requires_grad for p in supernet.parameters())


def test_both_sides_start_from_the_same_loss() -> None:
    supernet = supernet_of(space_of(4, 1), 8, "cpu")
    other = reference_of(supernet)
    batch, draw = Batch.random(8, 8, "cpu"), draws(supernet, "gumbel", "cpu")
    ours, theirs = steps.alpha_step(supernet, draw, batch, CPU)(), plain.alpha_step(other, draw, batch, CPU)()
    assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=1e-5)
    assert float(ours[2]) == float(theirs[2]) == 8


def test_a_change_of_the_engine_changes_what_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[Any] = []
    monkeypatch.setattr(Trained, "update", lambda self: updates.append(self))
    search_step(TINY, "weight", CPU)()
    retrain_step(TINY, "network", CPU)()
    assert len(updates) == 2
    search_step(TINY, "weight", CPU, plain=True)()
    retrain_step(TINY, "network", CPU, kind="composed")()
    assert len(updates) == 2


def test_rounds_ratios_and_tables() -> None:
    seconds = rounds({"fast": lambda: sum(range(100)), "slow": lambda: sum(range(100_000))}, 3)
    assert summary(seconds["fast"])["n"] == 3
    assert ratios(seconds, "slow")["fast"] > 1 == ratios(seconds, "slow")["slow"]
    assert markdown([{"a": 1, "b": 2.0}, {"a": 1234.5}]).splitlines()[2:] == ["| 1 | 2 |", "| 1,234 |  |"]


def test_the_plan_for_a_gpu_survives_what_fails() -> None:
    plan = Plan(torch.device("cpu"), 1, time.monotonic() + 60)

    def fail() -> Step:
        raise RuntimeError("broken")

    plan.measure("step", "reference, eager", 4, lambda: lambda: time.sleep(0.03))
    plan.measure("step", "ours, eager", 4, lambda: lambda: time.sleep(0.001))
    plan.measure("step", "fails", 4, fail)
    plan.measure("step", "slow", 4, lambda: lambda: time.sleep(30), limit_s=1)
    plan.deadline = time.monotonic()
    plan.measure("step", "late", 4, fail)
    projections.ratios(plan.rows)
    notes = [row.get("note", "").split(":")[0] for row in plan.rows]
    assert notes == ["", "", "RuntimeError", "OutOfTimeError", "no time left"]
    assert plan.rows[1]["reference / this"] > 1
    assert len(plan.notes) == 2


def test_projections_use_the_fastest_of_ours() -> None:
    size = Size(36, 2, 32, 250)
    measured = (
        ("weight", "ours", 50.0),
        ("weight", "reference", 1.0),
        ("alpha", "ours", 70.0),
        ("alpha", "ours, captured", 60.0),
    )
    rows = [{"what": f"{size}: {kind} step", "variant": variant, "ms": ms} for kind, variant, ms in measured]
    (projected,) = projections.projections(rows, {"gpu": size, "paper": Size(72, 3, 32, 250)})
    assert projected["hours"] == pytest.approx(100 * 30 * 0.110 / 3600)
