"""Stem and classifier: the only full-precision layers of a network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bars.models.native import Native
from bars.models.sums import joined
from bars.models.width import Width, apply_mask


class ConvNorm(nn.Module):
    """Float convolution without bias, then affine batch norm; [N, c_in, H, W] -> [N, c_out, H/stride, W/stride]."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, track: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out, track_running_stats=track)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Stem(nn.Module):
    """Images [N, 3, H, W] -> features [N, nodes * c, h, w] with the same h, w (cifar) or a quarter of them (imagenet).

    The c stem channels are repeated for each node of the first cell (``tile``), which costs nothing and keeps
    everything behind the stem binary; ``conv1x1`` is the authors' extra full-precision convolution.
    """

    native: Native | None = None

    def __init__(self, kind: str, expand: str, c: int, nodes: int, track: bool) -> None:
        super().__init__()
        self.c, self.nodes = c, nodes
        if kind == "imagenet":
            half = max(1, c // 2)
            self.convs = nn.ModuleList([ConvNorm(3, half, 3, 2, track), ConvNorm(half, c, 3, 2, track)])
        else:
            self.convs = nn.ModuleList([ConvNorm(3, c, 3, 1, track)])
        self.expand = ConvNorm(c, nodes * c, 1, 1, track) if expand == "conv1x1" else None

    def forward(self, images: Tensor, width: Width | None = None, inner_mask: Tensor | None = None) -> Tensor:
        """``inner_mask`` [c // 2] masks the channels between the two ImageNet convolutions."""
        x = self.convs[0](images)
        if len(self.convs) == 2:
            x = F.relu(x)
            x = self.convs[1](x if inner_mask is None else x * inner_mask.to(x.dtype).view(1, -1, 1, 1))
        x = self._active(x, 1, width)
        if self.expand is None:
            return joined([x] * self.nodes, None, self.native)  # repeat() would leave channels-last
        if width is not None and width.channels != self.c:
            x = F.pad(x, (0, 0, 0, 0, 0, self.c - width.channels))
        return self._active(self.expand(F.relu(x)), self.nodes, width)

    def _active(self, x: Tensor, blocks: int, width: Width | None) -> Tensor:
        """The active channels of each block, masked."""
        if width is None:
            return x
        n, _, h, w = x.shape
        if width.channels != self.c:
            x = x.view(n, blocks, self.c, h, w)[:, :, : width.channels].reshape(n, -1, h, w)
        mask = width.per_block(blocks)
        return x if mask is None else x * mask.to(x.dtype).view(1, -1, 1, 1)


class Head(nn.Linear):
    """Global average pooling and the linear classifier; [N, nodes * c, H, W] -> logits [N, classes].

    With ``norm`` a batch norm without affine part comes first: the sums of a cell's edges grow with their number.
    """

    def __init__(self, c: int, nodes: int, num_classes: int, norm: nn.BatchNorm2d | None = None) -> None:
        super().__init__(nodes * c, num_classes)
        self.c, self.nodes, self.norm = c, nodes, norm

    def forward(self, x: Tensor, width: Width | None = None) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
            x = x if width is None else apply_mask(x, width, self.nodes)  # the norm has erased it
        # Over a channels-last view, so that the gradient is channels-last too, down to the stem.
        pooled = x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
        active = pooled.shape[1] // self.nodes
        weight = self.weight
        if active != self.c:
            weight = weight.view(-1, self.nodes, self.c)[:, :, :active].reshape(weight.shape[0], -1)
        return F.linear(pooled, weight, self.bias)
