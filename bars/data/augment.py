"""Order and augmentation of an epoch: drawn at once on the CPU from (seed, epoch), applied to whole batches anywhere.

Because a draw never touches a device's or a global generator, a CPU and a GPU, one process and several, and a run that
was resumed at an epoch all see the same images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams

_RATIOS = (3 / 4, 4 / 3)  # width : height of a resized crop, as Szegedy et al. 2015


@dataclass(frozen=True)
class Augmentation:
    """Zero-padded random crop (``padding`` pixels) or resized crop (of at least ``smallest_area``), and mirroring."""

    padding: int = 0
    flip: bool = False
    smallest_area: float | None = None

    @classmethod
    def from_params(cls, params: DataParams) -> Augmentation:
        """The augmentation of a data set's training images."""
        if params.crop_padding and params.resized_crop is not None:
            raise DataError(
                "two ways to crop at once",
                where="data.crop_padding, data.resized_crop",
                got=f"{params.crop_padding}, {params.resized_crop}",
                do="set data.crop_padding: 0 or data.resized_crop: null",
            )
        return cls(params.crop_padding, params.flip, params.resized_crop)


@dataclass(frozen=True)
class Draws:
    """The n-th image of an epoch: index, and what happens to it. All on the CPU, or None where nothing happens.

    ``flip`` bool [N]; ``offset`` int64 [N, 2], top and left of the crop in the padded image; ``box`` float [N, 4], four
    uniform numbers that ``boxes`` turns into a resized crop.
    """

    order: Tensor
    flip: Tensor | None = None
    offset: Tensor | None = None
    box: Tensor | None = None

    def take(self, positions: Tensor | slice) -> Draws:
        """The draws at some positions of the epoch."""
        flip, offset, box = (
            None if field is None else field[positions] for field in (self.flip, self.offset, self.box)
        )
        return Draws(self.order[positions], flip, offset, box)


def draw_epoch(size: int, augmentation: Augmentation | None, shuffle: bool, seed: int, epoch: int, part: str) -> Draws:
    """All random choices of one epoch of ``size`` images; without augmentation None, they are only ordered."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{part}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    order = torch.randperm(size, generator=generator) if shuffle else torch.arange(size)
    if augmentation is None:
        return Draws(order)
    flip = torch.rand(size, generator=generator) < 0.5 if augmentation.flip else None
    reach = 2 * augmentation.padding + 1
    offset = torch.randint(reach, (size, 2), generator=generator) if augmentation.padding else None
    box = torch.rand((size, 4), generator=generator) if augmentation.smallest_area is not None else None
    return Draws(order, flip, offset, box)


def boxes(uniform: Tensor, width: int, height: int, smallest_area: float) -> Tensor:
    """int64 [N, 4] (left, top, width, height) from uniform [N, 4] numbers: area, ratio, horizontal and vertical place.

    The share of the area is uniform in [smallest_area, 1], the log ratio uniform among those in 3:4..4:3 that fit; no
    draw is rejected, unlike in torchvision, so that an image always uses four numbers.
    """
    area, ratio, across, down = uniform.double().unbind(1)
    area = smallest_area + (1 - smallest_area) * area
    fits = (area * width / height, width / (area * height))  # ratios at which the height, the width is all used
    low, high = (torch.full_like(area, bound).clamp(*fits).log() for bound in _RATIOS)
    ratio = torch.exp(low + ratio * (high - low))
    pixels = area * width * height
    box_width = (pixels * ratio).sqrt().round().clamp(1, width)
    box_height = (pixels / ratio).sqrt().round().clamp(1, height)
    left = (across * (width - box_width + 1)).floor()
    top = (down * (height - box_height + 1)).floor()
    return torch.stack([left, top, box_width, box_height], 1).to(torch.int64)


def crop(images: Tensor, draws: Draws, size: int, padding: int) -> Tensor:
    """Crops and mirrors of padded images: uint8 [M, size+2p, size+2p, 3] -> uint8 [N, size, size, 3], same device.

    Without an offset the crop is the middle, which is the image itself.
    """
    if draws.flip is None:
        return _gather(images, draws.order, draws.offset, size, padding)
    # Images to mirror are gathered last, mirrored as a block and sent back to their places: on a CPU several times
    # faster than a choice per pixel.
    last = torch.argsort(draws.flip.to(torch.uint8), stable=True)
    mirrored = int(draws.flip.sum())
    offset = None if draws.offset is None else draws.offset[last]
    crops = _gather(images, draws.order[last], offset, size, padding)
    tail = crops[len(last) - mirrored :]
    tail.copy_(tail.permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1))
    back = torch.empty_like(last)
    back[last] = torch.arange(len(last))
    return crops.index_select(0, back.to(images.device))


def _gather(images: Tensor, order: Tensor, offset: Tensor | None, size: int, padding: int) -> Tensor:
    if padding == 0:
        return images.index_select(0, order.to(images.device))
    side = size + 2 * padding
    top, left = (padding, padding) if offset is None else offset.unbind(1)
    first = ((order * side + top) * side + left) * 3  # byte where the crop starts
    starts = first[:, None] + torch.arange(size) * (side * 3)  # and where each of its rows does
    # Every byte of the store seen as the start of a row: a row of a crop is then one contiguous copy.
    row = size * 3
    rows = images.view(-1).as_strided((images.numel() - row + 1, row), (1, 1))
    return rows.index_select(0, starts.view(-1).to(images.device)).view(len(order), size, size, 3)


def resized_crop(images: Tensor, draws: Draws, size: int, smallest_area: float) -> Tensor:
    """Random crops, enlarged bilinearly: uint8 [M, size, size, 3] -> float32 [N, size, size, 3] in 0..255."""
    assert draws.box is not None
    device = images.device
    left, top, width, height = boxes(draws.box, size, size, smallest_area).to(torch.float32).unbind(1)
    x, y = _samples(left, width, size), _samples(top, height, size)
    if draws.flip is not None:
        x = torch.where(draws.flip[:, None], x.flip(1), x)
    grid = torch.empty((len(x), size, size, 2))
    grid[..., 0], grid[..., 1] = x[:, None, :], y[:, :, None]
    chosen = images.index_select(0, draws.order.to(device)).permute(0, 3, 1, 2).float()
    crops = functional.grid_sample(chosen, grid.to(device), mode="bilinear", padding_mode="border", align_corners=True)
    return crops.permute(0, 2, 3, 1).contiguous()


def _samples(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where output pixels lie in the source, [N, size], scaled so that -1 and 1 are the middles of its outer pixels.

    Positions stop at the middles of the crop's own outer pixels: nothing outside the crop is mixed in.
    """
    inside = (torch.arange(size) + 0.5) * (length / size)[:, None] - 0.5
    inside = torch.minimum(inside.clamp(min=0), length[:, None] - 1)
    return (start[:, None] + inside) * (2 / max(1, size - 1)) - 1
