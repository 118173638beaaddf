"""Sign functions and the binary layer against their closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bars.binarize.activations import SignActivation
from bars.binarize.layers import AfterStep, AuxiliaryLoss, BinaryConv2d, is_fully_binarized
from bars.binarize.signs import binary_sign, sign_clip
from bars.binarize.weights import ScaledSign, mean_abs

EDGES = torch.tensor([-2.0, -1.3, -1.0, -0.5, -0.0, 0.0, 1e-30, 0.5, 1.0, 1.25, 1.3, 1.31, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_sign_is_plus_one_at_zero_and_keeps_dtype_and_layout(dtype: torch.dtype) -> None:
    x = torch.cat([EDGES, torch.randn(51)]).reshape(2, 2, 4, 4).to(dtype).to(memory_format=torch.channels_last)
    y = binary_sign(x)
    assert y.dtype == dtype
    assert y.stride() == x.stride()
    assert torch.equal(y, torch.where(x >= 0, 1.0, -1.0).to(dtype))


@pytest.mark.parametrize("clip", [0.5, 1.0, 1.25, 1.3])
def test_sign_clip_gradient_is_the_closed_window(clip: float) -> None:
    x = torch.cat([EDGES, torch.tensor([clip, -clip, clip * 1.0001]), torch.randn(100)]).requires_grad_()
    g = torch.randn_like(x)
    sign_clip(x, clip).backward(g)
    assert x.grad is not None
    assert torch.equal(x.grad, g * (x.detach().abs() <= torch.tensor(clip)))


@pytest.mark.parametrize("scaling", ["tensor", "channel", "none"])
def test_mean_abs_with_a_mask_is_the_mean_of_what_remains(scaling: str) -> None:
    weight = torch.randn(6, 4, 3, 3)
    keep = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 4, 1, 1)
    masked = mean_abs(weight, scaling, keep)  # type: ignore[arg-type]
    small = mean_abs(weight[:, :2], scaling)  # type: ignore[arg-type]
    torch.testing.assert_close(masked, small)


def test_scaled_sign_gradient_is_the_corrected_xnor_gradient() -> None:
    weight = (torch.randn(5, 3, 3, 3) * 0.8).requires_grad_()
    g = torch.randn_like(weight)
    ScaledSign("channel", clip=1.0)(weight).backward(g)
    w = weight.detach()
    sign = torch.where(w >= 0, 1.0, -1.0)
    alpha = w.abs().mean((1, 2, 3), keepdim=True)
    expected = alpha * g * (w.abs() <= 1) + sign / w[0].numel() * (g * sign).sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (2, 1, 2)])
def test_binary_layer_equals_float_convolution_of_signs(stride: int, dilation: int, groups: int) -> None:
    layer = BinaryConv2d(
        4, 6, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups,
        weight_quantizer=ScaledSign("tensor"), activation_quantizer=SignActivation(1.3),
    )  # fmt: skip
    x = torch.randn(2, 4, 8, 8)
    signs = nn.functional.pad(torch.where(x >= 0, 1.0, -1.0), (dilation,) * 4)
    weight = torch.where(layer.weight >= 0, 1.0, -1.0)
    expected = nn.functional.conv2d(signs, weight, None, stride, 0, dilation, groups) * layer.weight.abs().mean()
    torch.testing.assert_close(layer(x), expected)


def test_after_step_clamps_latent_weights_and_the_edge_still_learns() -> None:
    layer = BinaryConv2d(2, 2, 3, weight_quantizer=ScaledSign("none", clip=1.0), activation_quantizer=SignActivation())
    with torch.no_grad():
        layer.weight.fill_(3.0)
    AfterStep(layer)()
    assert torch.equal(layer.weight, torch.ones_like(layer.weight))
    layer(torch.ones(1, 2, 3, 3)).sum().backward()
    assert layer.weight.grad is not None and bool((layer.weight.grad != 0).all())


def test_nothing_to_add_is_none() -> None:
    layer = BinaryConv2d(2, 2, 3, weight_quantizer=ScaledSign(), activation_quantizer=SignActivation())
    assert AuxiliaryLoss(layer)() is None
    assert is_fully_binarized(nn.Sequential(layer)) == (True, "")
