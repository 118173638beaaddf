"""The steps that are timed: those of bars.training, set up as bars.stages does, on one fixed batch.

Each call is one step, and gives [sum of losses, correct, images].
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bars.models.supernet import Supernet
from bars.stages import retrain, search
from bars.training.runtime import Runtime
from bars.training.sampled import SampleGradient, WeightStep
from bars.training.steps import TrainStep
from benchmarks.inputs import Batch, Draw, experiment

Step = Callable[[], Tensor]


def weight_step(supernet: Supernet, draw: Draw, batch: Batch, runtime: Runtime) -> Step:
    """A step on the supernet's weights."""
    params = experiment().search.model_copy(update={"sampling": "hard" if draw().complete else "gumbel"})
    step = WeightStep(search.trained(supernet, params, runtime), supernet.space)
    return lambda: step(batch.images, batch.labels, draw())


def alpha_step(supernet: Supernet, draw: Draw, batch: Batch, runtime: Runtime) -> Step:
    """The gradient of the loss with respect to a sample: what an alpha step costs, but for its scalars on the CPU."""
    gradient = SampleGradient(search.trained(supernet, experiment().search, runtime), supernet.space)

    def step() -> Tensor:
        sample = draw()
        whole = sample if sample.complete else sample.whole()
        return gradient(batch.images, batch.labels, whole.leaves(runtime.device))[0]

    return step


def train_step(model: nn.Module, batch: Batch, runtime: Runtime) -> Step:
    """A step of retraining."""
    params = experiment().retrain
    step = TrainStep(retrain.trained(model, params, runtime), params.label_smoothing)
    return lambda: step(batch.images, batch.labels)
