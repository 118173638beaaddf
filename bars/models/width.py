"""Active channels per node: a slice when the width is known, a mask when it is a relaxed draw (BARS Eq. 4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Width:
    """Channels per node that a feature map [N, nodes * channels, H, W] has, and their mask [channels] (None: ones)."""

    channels: int
    mask: Tensor | None = None

    def per_block(self, blocks: int) -> Tensor | None:
        """The mask repeated for each of ``blocks`` nodes, [blocks * channels]."""
        return self.mask if self.mask is None or blocks == 1 else self.mask.expand(blocks, -1).flatten()

    def halved(self) -> Width:
        """The width of the stage before: channels double at a reduction, so every other mask entry remains."""
        return Width(self.channels // 2, None if self.mask is None else self.mask[::2])


def apply_mask(x: Tensor, width: Width, blocks: int) -> Tensor:
    """Multiply features [N, blocks * channels, H, W] by the width mask (BARS Eq. 4)."""
    mask = width.per_block(blocks)
    return x if mask is None else x * mask.to(x.dtype).view(1, -1, 1, 1)


def fit_channels(x: Tensor, blocks: int, channels: int) -> Tensor:
    """Crop or zero-pad each node of [N, blocks * c, H, W] to ``channels``, so that node k stays node k."""
    n, total, height, width = x.shape
    own = total // blocks
    if own == channels:
        return x
    by_node = x.view(n, blocks, own, height, width)
    if own > channels:
        return by_node[:, :, :channels].reshape(n, blocks * channels, height, width)
    padded = x.new_zeros(n, blocks, channels, height, width)
    padded[:, :, :own] = by_node
    return padded.view(n, blocks * channels, height, width)
