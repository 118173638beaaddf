"""Flips are counted on what each quantizer takes the sign of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bars.binarize.activations import SignActivation
from bars.binarize.flips import SignFlips
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import (
    AdaBinWeight,
    Bases,
    BiRealSign,
    Circulant,
    LibraSign,
    Projected,
    ScaledSign,
    WeightQuantizer,
)

QUANTIZERS = [ScaledSign(), ScaledSign("channel", center=True), BiRealSign(), LibraSign(), AdaBinWeight(), Bases(1)]


def layer(quantizer: WeightQuantizer, seed: int = 0) -> BinaryConv2d:
    torch.manual_seed(seed)
    conv = BinaryConv2d(4, 8, 3, weight_quantizer=quantizer, activation_quantizer=SignActivation(1.0))
    nn.init.normal_(conv.weight)
    return conv


@pytest.mark.parametrize("quantizer", [*QUANTIZERS, Circulant(4), Projected(3)], ids=lambda q: type(q).__name__)
def test_signs_are_those_of_the_weight_in_use(quantizer: WeightQuantizer) -> None:
    conv = layer(quantizer)
    used = quantizer(conv.weight).detach()
    if isinstance(quantizer, AdaBinWeight):  # two levels around a mean
        used = used - used.mean((1, 2, 3), keepdim=True)
    if isinstance(quantizer, Circulant):
        used = used[: conv.weight.shape[0]]  # the stored filters are the first copies
    assert torch.equal(conv.weight_signs(), used >= 0)


def test_flips_are_counted_against_the_start_and_the_last_time() -> None:
    model = nn.Sequential(layer(ScaledSign()), nn.Conv2d(8, 8, 3), layer(ScaledSign(), 1))
    flips = SignFlips(model)
    total = sum(conv.weight.numel() for conv in (model[0], model[2]))
    assert flips.measure() == (0.0, 0.0)
    with torch.no_grad():
        model[0].weight[0, 0, 0, :2] *= -1
        model[1].weight *= -1  # not binary
    assert flips.measure() == (2 / total, 2 / total)
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] *= -1  # back
        model[2].weight[1, 1] *= -1
    assert flips.measure() == (10 / total, 10 / total)
    flips.restart()
    assert flips.measure() == (10 / total, 0.0)
    assert SignFlips(nn.Linear(2, 2)).measure() == (0.0, 0.0)


@pytest.mark.parametrize("scaling", ["tensor", "channel"])
def test_conventions_of_the_weight_gradient(scaling: str) -> None:
    """By the written-out formulas: exact, without beta, and the exact one times n (1 - 1/I)."""
    torch.manual_seed(0)
    weight, grad = torch.randn(6, 4, 3, 3, dtype=torch.float64) * 0.7, torch.randn(6, 4, 3, 3, dtype=torch.float64)
    dims = (0, 1, 2, 3) if scaling == "tensor" else (1, 2, 3)
    n = weight[0].numel() if scaling == "channel" else weight.numel()
    inside, sign = (weight.abs() <= 1.0).double(), weight.sign()
    beta = weight.abs().mean(dims, keepdim=True)
    exact = beta * grad * inside + sign * (grad * sign).sum(dims, keepdim=True) / n
    wanted = {"exact": exact, "unscaled": grad * inside, "port": exact * weight[0].numel() * (1 - 1 / 4)}
    for gradient, expected in wanted.items():
        latent = weight.clone().requires_grad_()
        value = ScaledSign(scaling, gradient=gradient)(latent)  # type: ignore[arg-type]
        torch.testing.assert_close(value, beta * sign)
        value.backward(grad)
        torch.testing.assert_close(latent.grad, expected)
