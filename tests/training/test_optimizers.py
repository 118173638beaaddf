"""The optimisers are torch's own, to the last bit, and do not load its compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from bars.training.optimizers import SGD, Adam, Optimizer

ADAM = {"betas": (0.5, 0.99), "weight_decay": 1e-3}
CASES: list[tuple[type[Optimizer], Any, dict[str, Any]]] = [
    (Adam, torch.optim.Adam, ADAM),
    (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 1e-3}),
    (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.0, "nesterov": True}),
    (SGD, torch.optim.SGD, {"momentum": 0.0, "weight_decay": 0.1}),
]


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(4))]


def gradients(steps: int) -> list[list[torch.Tensor]]:
    torch.manual_seed(1)
    return [[torch.randn(5, 3), torch.randn(4)] for _ in range(steps)]


def take(optimizer: Any, weights: list[nn.Parameter], steps: list[list[torch.Tensor]], first: int = 0) -> None:
    for i, given in enumerate(steps, first):
        lr = 0.01 * (i + 1)
        if isinstance(optimizer, Optimizer):
            optimizer.lr = lr
        else:
            optimizer.param_groups[0]["lr"] = lr
        for weight, gradient in zip(weights, given, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_every_step_is_that_of_torch(ours: type[Optimizer], theirs: Any, options: dict[str, Any]) -> None:
    one, two = parameters(), parameters()
    take(ours(one, 0.01, **options), one, gradients(6))
    take(theirs(two, 0.01, fused=True, **options), two, gradients(6))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(("ours", "theirs", "options"), CASES)
def test_a_restored_state_continues_bit_by_bit(ours: type[Optimizer], theirs: Any, options: dict[str, Any]) -> None:
    whole, steps = parameters(), gradients(5)
    take(ours(whole, 0.01, **options), whole, steps)
    weights = parameters()
    before = ours(weights, 0.01, **options)
    take(before, weights, steps[:2])
    after = ours(weights, 0.01, **options)
    after.load_state_dict({name: [t.clone() for t in tensors] for name, tensors in before.state_dict().items()})
    take(after, weights, steps[2:], first=2)
    assert all(torch.equal(a, b) for a, b in zip(whole, weights, strict=True))
    with pytest.raises(KeyError, match="another optimiser"):
        after.load_state_dict({"else": []})


def test_a_parameter_without_a_gradient_rests() -> None:
    weights = parameters()
    optimizer = Adam(weights, 0.1, weight_decay=0.5)
    before = weights[0].detach().clone()
    optimizer.zero_grad()
    weights[1].grad = torch.ones(4)
    optimizer.step()
    assert torch.equal(weights[0], before)
    assert float(optimizer.state["step"][0]) == 0.0 < float(optimizer.state["step"][1])


def test_a_step_does_not_load_the_compiler() -> None:
    script = (
        "import sys, torch; from bars.training.optimizers import Adam, SGD\n"
        "w = [torch.nn.Parameter(torch.ones(3))]\n"
        "for o in (Adam(w, 0.1, weight_decay=0.0), SGD(w, 0.1, momentum=0.9, weight_decay=0.0)):\n"
        "    w[0].grad = torch.ones(3); o.step()\n"
        "assert not [m for m in sys.modules if m.startswith('torch._dynamo')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
