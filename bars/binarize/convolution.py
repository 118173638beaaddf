"""Convolution as torch's, but for a single pixel in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def meets_middle_only(x: Tensor, kernel: int, padding: int, dilation: int = 1) -> bool:
    """Whether ``x`` [N, C, H, W] is one pixel in bfloat16 on a CPU, which meets only the middle of a padded kernel.

    There oneDNN's gradient of the kernel holds what lay in its memory before (torch 2.14.1, AVX-512 with bfloat16).
    """
    if x.device.type != "cpu" or x.shape[-2:] != (1, 1) or 2 * padding + 1 != kernel or kernel == 1 or dilation != 1:
        return False
    cast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return cast or x.dtype == torch.bfloat16


def middle(weight: Tensor) -> Tensor:
    """[O, I, k, k] -> [O, I, 1, 1]."""
    at = weight.shape[-1] // 2
    return weight[..., at : at + 1, at : at + 1]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.nn.functional.conv2d`` with the right gradients for a single pixel, too."""
    if meets_middle_only(x, weight.shape[-1], padding, dilation):
        return F.conv2d(x, middle(weight), bias, 1, 0, 1, groups)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
