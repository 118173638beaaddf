"""Convolutions of a single pixel in bfloat16, whose gradients torch gets wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from bars.binarize.activations import SignActivation
from bars.binarize.convolution import conv2d
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign


def spoil() -> None:
    """Leave memory that is not numbers to whatever does not write what it reads."""
    for size in (64, 256, 1024, 4096, 16384, 65536):
        torch.full((size,), float("nan"))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_single_pixel_in_bfloat16_has_the_gradients_of_float32(
    kernel: int, stride: int, groups: int, autocast: bool
) -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(16, 32, 1, 1, generator=g).sign(), torch.randn(32, 32 // groups, kernel, kernel, generator=g)
    grad = torch.randn(16, 32, 1, 1, generator=g)

    def gradients(how: Any, kind: torch.dtype, cast: bool) -> tuple[torch.Tensor, ...]:
        a, b = (t.to(kind).requires_grad_() for t in (x, w))
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            y = how(a, b, None, stride, kernel // 2, 1, groups)
        spoil()
        return (y, *torch.autograd.grad(y, (a, b), grad.to(y.dtype)))

    wanted = gradients(F.conv2d, torch.float32, False)
    for _ in range(10):
        found = gradients(conv2d, torch.float32 if autocast else torch.bfloat16, autocast)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.float(), other, rtol=0.02, atol=0.3)


def test_a_binary_layer_of_a_single_pixel_trains_in_bfloat16() -> None:
    torch.manual_seed(0)
    quantizers = {"weight_quantizer": ScaledSign("tensor", 1.0), "activation_quantizer": SignActivation()}
    layer = BinaryConv2d(32, 32, 3, stride=2, padding=1, **quantizers)
    x = torch.randn(64, 32, 1, 1)
    for _ in range(20):
        spoil()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        (gradient,) = torch.autograd.grad(y.float().square().sum(), layer.weight)
        assert torch.isfinite(gradient).all()
