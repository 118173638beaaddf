"""How strided operations halve a feature map and double its channels (BARS Sec. 4.1.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """[N, C, H, W] twice -> [N, 2C, H, W] with channels a0 b0 a1 b1 ..., channels-last."""
    maps = [x.permute(0, 2, 3, 1) for x in (first, second)]
    if first.device.type != "cpu" or torch.compiler.is_exporting():
        return torch.stack(maps, dim=-1).flatten(3).permute(0, 3, 1, 2)
    # On a CPU torch stacks value by value, four times as slowly.
    both = maps[0].new_empty((*maps[0].shape, 2))
    for i, x in enumerate(maps):
        both[..., i] = x
    return both.flatten(3).permute(0, 3, 1, 2)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two maps that ``interleave`` took, channels-last."""
    first, second = (x[:, i::2].contiguous(memory_format=torch.channels_last) for i in range(2))
    return first, second


def pooled_twice(x: Tensor) -> Tensor:
    """The shortcut of a strided operation: 2x2 average, each channel twice. [N, C, H, W] -> [N, 2C, H/2, W/2]."""
    pooled = F.avg_pool2d(x, 2)
    return interleave(pooled, pooled)


def pooled_twice_backward(grad: Tensor, like: Tensor) -> Tensor:
    """Gradient of the input ``like`` of ``pooled_twice``."""
    pooled = grad[:, 0::2] + grad[:, 1::2]
    unpooled: Tensor = torch.ops.aten.avg_pool2d_backward(pooled, like, [2, 2], [2, 2], [0, 0], False, True, None)
    return unpooled
