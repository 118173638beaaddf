"""SGD and Adam as torch computes them, without the classes that import torch's compiler at their first use.

``torch.optim.Optimizer`` loads 900 modules when the first one is made, over a second of every job; the functions that
do the arithmetic do not. All state is made at the start, so that a weight without a gradient in some steps (a hard
draw trains only what it drew) is no special case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimizer:
    """Base: the parameters, their learning rate ``lr``, which may be set before each step, and their state."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, state: dict[str, list[Tensor]]) -> None:
        self.parameters, self.lr, self.state = list(parameters), lr, state

    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """What a checkpoint must keep."""
        return self.state

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Put back what ``state_dict`` gave. Raises KeyError or RuntimeError where it is another optimiser's."""
        if set(state) != set(self.state):
            raise KeyError(f"state of another optimiser: {sorted(state)}")
        for name, tensors in self.state.items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)

    def _with_gradient(self) -> tuple[list[Tensor], list[Tensor], dict[str, list[Tensor]]]:
        """Parameters that have a gradient, those gradients, and their state."""
        rows = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        gradients = [gradient for p in self.parameters if (gradient := p.grad) is not None]
        picked = {name: [tensors[i] for i in rows] for name, tensors in self.state.items()}
        return [self.parameters[i] for i in rows], gradients, picked


class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
    ) -> None:
        parameters = list(parameters)
        # A buffer of zeros makes the first step what torch makes it: the gradient itself.
        super().__init__(parameters, lr, {"momentum": [torch.zeros_like(p) for p in parameters]})
        self.options: dict[str, Any] = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        parameters, gradients, state = self._with_gradient()
        if parameters:
            fixed: dict[str, Any] = {"dampening": 0.0, "maximize": False, "has_sparse_grad": False, "fused": True}
            sgd(parameters, gradients, list(state["momentum"]), lr=self.lr, **self.options, **fixed)


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015) with L2 in the gradient."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float,
    ) -> None:
        parameters = list(parameters)
        state = {name: [torch.zeros_like(p) for p in parameters] for name in ("mean", "square")}
        state["step"] = [torch.zeros((), device=p.device) for p in parameters]
        super().__init__(parameters, lr, state)
        self.options: dict[str, Any] = {"beta1": betas[0], "beta2": betas[1], "weight_decay": weight_decay}

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        parameters, gradients, state = self._with_gradient()
        if parameters:
            options: dict[str, Any] = {**self.options, "amsgrad": False, "eps": 1e-8, "maximize": False, "fused": True}
            adam(
                parameters,
                gradients,
                exp_avgs=state["mean"],
                exp_avg_sqs=state["square"],
                max_exp_avg_sqs=[],
                state_steps=state["step"],
                lr=self.lr,
                **options,
            )


def make_optimizer(
    name: str, weights: list[nn.Parameter], lr: float, *, momentum: float, weight_decay: float, nesterov: bool = False
) -> Optimizer:
    """The update rule that params.yaml names: ``adam``, or ``sgd``, which alone has momentum."""
    if name == "adam":
        return Adam(weights, lr, weight_decay=weight_decay)
    return SGD(weights, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
