"""A network in training: where it computes, how its weights are updated, what a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bars.binarize.flips import SignFlips
from bars.binarize.layers import AfterStep
from bars.models.unit import fuse, use_native
from bars.training.optimizers import Optimizer
from bars.training.parallel import SINGLE, Parallel
from bars.training.runtime import Runtime


class Trained:
    """A network on its device, in training mode, with the optimiser of its weights.

    ``forward`` is what to call where weight gradients count; ``unused``: a step may leave some without one.
    """

    def __init__(
        self,
        model: nn.Module,
        runtime: Runtime,
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        grad_clip: float | None,
        *,
        parallel: Parallel = SINGLE,
        unused: bool = False,
    ) -> None:
        self.runtime = runtime
        self.model: nn.Module = model.to(runtime.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        parallel.synchronise(self.model)
        if runtime.compile:
            fuse(self.model)
        if runtime.native is not None:
            use_native(self.model, runtime.native)
        self.forward = parallel.wrap(self.model, unused=unused)
        self.weights = list(self.model.parameters())
        self.optimizer = optimizer(self.weights)
        self.capture = runtime.capture and parallel.world_size == 1
        self.flips = SignFlips(self.model)
        self._devices = [runtime.device_name]  # all on which it was trained
        self._grad_clip, self._after_step = grad_clip, AfterStep(self.model)

    def update(self) -> None:
        """One step of the optimiser along the gradients that are there."""
        if self._grad_clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self._grad_clip, foreach=True)
        self.optimizer.step()
        self._after_step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        computed = {"precision": self.runtime.precision, "passes": self.runtime.passes, "devices": self._devices}
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "computed": computed}

    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self._devices = list(dict.fromkeys([*saved["computed"]["devices"], *self._devices]))
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.flips.restart()

    def weights_on_cpu(self) -> dict[str, Tensor]:
        """The network's state, for the stage's file of weights."""
        return {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
