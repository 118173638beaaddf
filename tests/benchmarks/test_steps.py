from __future__ import annotations

import math
import time

import pytest
import torch

from bars.models.network import Network
from bars.params import BinarizeParams
from benchmarks import gpu_plan
from benchmarks.reference import reference_of
from benchmarks.steps import (
    Batch,
    How,
    alpha_step,
    draws,
    middle_genotype,
    space_of,
    supernet_of,
    train_step,
    weight_step,
)
from benchmarks.timing import markdown, ratios, rounds, summary


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("norm", ["edge", "node"])
def test_every_step_runs_and_changes_the_weights(bfloat16: bool, norm: str) -> None:
    space = space_of(4, 1, norm=norm)
    supernet = supernet_of(space, 8, "cpu")
    batch, how = Batch.random(4, 8, "cpu"), How(bfloat16=bfloat16)
    network = Network(space, BinarizeParams(), middle_genotype(space), 8, 10).train()
    steps = {
        "weight": (supernet, weight_step(supernet, draws(supernet, "gumbel", "cpu"), batch, how)),
        "hard": (supernet, weight_step(supernet, draws(supernet, "hard", "cpu"), batch, how)),
        "train": (network, train_step(network, batch, how)),
    }
    for name, (model, step) in steps.items():
        before = [p.detach().clone() for p in model.parameters()]
        assert math.isfinite(float(step())), name
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), name
    before = [p.detach().clone() for p in supernet.parameters()]
    assert math.isfinite(float(alpha_step(supernet, draws(supernet, "gumbel", "cpu"), batch, how)()))
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.parameters(), strict=True))
    assert all(p.requires_grad for p in supernet.parameters())


def test_both_sides_start_from_the_same_loss() -> None:
    supernet = supernet_of(space_of(4, 1), 8, "cpu")
    plain = reference_of(supernet)
    batch, draw = Batch.random(8, 8, "cpu"), draws(supernet, "gumbel", "cpu")
    losses = [float(alpha_step(m, draw, batch, How(), plain=m is plain)()) for m in (supernet, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_rounds_ratios_and_tables() -> None:
    seconds = rounds({"fast": lambda: sum(range(100)), "slow": lambda: sum(range(100_000))}, 3)
    assert summary(seconds["fast"])["n"] == 3
    assert ratios(seconds, "slow")["fast"] > 1 == ratios(seconds, "slow")["slow"]
    assert markdown([{"a": 1, "b": 2.0}, {"a": 1234.5}]).splitlines()[2:] == ["| 1 | 2 |", "| 1,234 |  |"]


def test_the_plan_for_a_gpu_survives_what_fails() -> None:
    plan = gpu_plan.Plan(torch.device("cpu"), 1, time.monotonic() + 60)

    def fail() -> gpu_plan.Step:
        raise RuntimeError("broken")

    plan.measure("step", "reference, eager", 4, lambda: lambda: time.sleep(0.002))
    plan.measure("step", "ours, eager", 4, lambda: lambda: time.sleep(0.001))
    plan.measure("step", "fails", 4, fail)
    plan.measure("step", "slow", 4, lambda: lambda: time.sleep(30), limit_s=1)
    plan.deadline = time.monotonic()
    plan.measure("step", "late", 4, fail)
    gpu_plan.ratios(plan.rows)
    notes = [row.get("note", "").split(":")[0] for row in plan.rows]
    assert notes == ["", "", "RuntimeError", "OutOfTimeError", "no time left"]
    assert plan.rows[1]["reference / this"] > 1
    assert len(plan.notes) == 2


def test_projections_use_the_fastest_of_ours() -> None:
    size = gpu_plan.Size(36, 2, 32, 250)
    measured = (
        ("weight", "ours", 50.0),
        ("weight", "reference", 1.0),
        ("alpha", "ours", 70.0),
        ("alpha", "ours, captured", 60.0),
    )
    rows = [{"what": f"{size}: {kind} step", "variant": variant, "ms": ms} for kind, variant, ms in measured]
    (projected,) = gpu_plan.projections(rows, {"gpu": size, "paper": gpu_plan.Size(72, 3, 32, 250)})
    assert projected["hours"] == pytest.approx(100 * 30 * 0.110 / 3600)
