"""Steps on the supernet: a draw that is one-hot in part trains the weights as if everything had been computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, RuntimeParams
from bars.space import SearchSpace
from bars.stages.search import trained
from bars.strategy.distribution import Distribution
from bars.training.runtime import Runtime
from bars.training.sampled import WeightStep
from tests.architectures import space_params
from tests.blocks import block, search_params

# One width, and signs as weights, so that sums are exact: whether a zero but for rounding passes a ReLU is chance.
SPACE = space_params(stages=2, cells_per_stage=2, nodes=2, init_channels=4, search_width=False)


def weights_after_three_steps(one_hot: tuple[str, ...], told: Callable[[Sample], Sample]) -> dict[str, torch.Tensor]:
    """With Adam, whose momentum moves a weight that an earlier step used and this one does not."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE, block(BinarizeParams, weight_scale="none"), 8, 4)
    params = search_params(straight_through=list(one_hot), weight_optimizer="adam", weight_lr=0.01, budget={"biops": 1})
    step = WeightStep(
        trained(supernet, params, Runtime.resolve(block(RuntimeParams, device="cpu"))), SearchSpace.from_params(SPACE)
    )
    distribution, noise = Distribution(supernet.space), torch.Generator().manual_seed(3)
    for _ in range(3):
        with torch.no_grad():
            sample = distribution.sample("gumbel", 1.0, noise, one_hot)
        images, labels = torch.randn(6, 3, 8, 8), torch.randint(0, 4, (6,))
        images = images.contiguous(memory_format=torch.channels_last)  # as batches are
        step(images, labels, told(sample))
    return {name: value.clone() for name, value in supernet.state_dict().items()}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("one_hot", [("depth",), ("op",), ("op", "depth")])
def test_what_was_not_drawn_is_trained_as_if_it_had_been_computed(one_hot: tuple[str, ...]) -> None:
    everything = weights_after_three_steps(one_hot, lambda sample: replace(sample, genotype=None))
    torch.testing.assert_close(weights_after_three_steps(one_hot, lambda sample: sample), everything)
    torch.testing.assert_close(weights_after_three_steps(one_hot, Sample.whole), everything)
