"""One part of a split, opened: its images, and batches of them on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bars.data.augment import Augmentation, Draws, crop, draw_epoch, resized_crop
from bars.data.sources import memory_needed
from bars.data.splits import Split
from bars.errors import DataError

PartName = Literal["train", "valid", "train+valid", "test"]
Batch = tuple[Tensor, Tensor]
# How many bytes are gathered at once: enough that a small set costs one gather an epoch, few enough for the caches.
_GATHER_BYTES = {"cpu": 4 * 2**20}
_GATHER_BYTES_ELSEWHERE = 64 * 2**20


class Part(ABC):
    """Images of one part; ``size`` is how many, ``channel_mean`` and ``channel_std`` are those of the train images."""

    def __init__(self, name: PartName, split: Split, size: int, augmentation: Augmentation) -> None:
        self.name = name
        self.label = split.dataset
        self.classes = split.classes
        self.size = size
        self.image_size = split.image_size
        self.channel_mean = split.channel_mean
        self.channel_std = split.channel_std
        self.augmentation = augmentation

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def steps(self, batch_size: int, drop_last: bool) -> int:
        """How many batches an epoch has."""
        return self.size // batch_size if drop_last else -(-self.size // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        device: torch.device | str,
        augment: bool,
        seed: int,
        epoch: int,
        drop_last: bool,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool | None = None,
    ) -> Iterator[Batch]:
        """One epoch of (images float32 [B, 3, H, W] normalised, channels last; labels int64 [B]) on ``device``.

        Shuffled when augmented, unless ``shuffle`` says otherwise; else in the split's fixed order. All draws depend on
        (seed, epoch) and the part only. Of several processes each yields its slice of each batch of ``batch_size``, cut
        from the very batches that one process would see; a slice may be empty if a batch has fewer images than there
        are processes. Without drop_last the images are shared out evenly among the batches. Raises DataError if
        drop_last leaves no batch.
        """
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"batch_size {batch_size}, rank {rank} of {world_size}")
        if self.steps(batch_size, drop_last) == 0:
            raise DataError(
                "there is not one full batch",
                where=f"{self.label}, {self.name} part",
                got=f"{self.size} images, batches of {batch_size}",
                do="lower batch_size or use more images",
            )
        shuffle = augment if shuffle is None else shuffle
        augmentation = self.augmentation if augment else None
        draws = draw_epoch(self.size, augmentation, shuffle, seed, epoch, self.name)
        bounds = _slices(self.size, batch_size, self.steps(batch_size, drop_last), rank, world_size)
        if world_size > 1:
            draws = draws.take(torch.cat([torch.arange(start, stop) for start, stop in bounds]))
        return self._batches(draws, [stop - start for start, stop in bounds], torch.device(device))

    @abstractmethod
    def _batches(self, draws: Draws, sizes: list[int], device: torch.device) -> Iterator[Batch]:
        """Consecutive batches of these sizes out of the draws."""

    def normaliser(self, device: torch.device) -> Normaliser:
        """What turns uint8 pixels into the network's input."""
        mean, std = torch.tensor([self.channel_mean, self.channel_std], dtype=torch.float64)
        scale, shift = 1 / (255 * std), -mean / std
        # One row of an image: long enough to vectorise, short enough to stay in the nearest cache.
        row = [value.float().repeat(self.image_size).to(device) for value in (scale, shift)]
        return Normaliser(*row)


@dataclass(frozen=True)
class Normaliser:
    """Subtract the mean and divide by the deviation, as one multiplication and addition after the conversion."""

    scale: Tensor
    shift: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """0..255 [B, H, W, 3] -> float32 [B, 3, H, W] in channels-last memory."""
        shape = pixels.shape
        rows = pixels.reshape(-1, shape[2] * shape[3]).float()
        return torch.addcmul(self.shift, rows, self.scale).view(shape).permute(0, 3, 1, 2)


def _slices(size: int, batch_size: int, steps: int, rank: int, world_size: int) -> list[tuple[int, int]]:
    """(first, last + 1) position of this process's share of every batch; shares differ by one image at most.

    So do batches that are not all full: one left-over image alone would have no statistics for batch norm.
    """
    total, bounds = min(size, steps * batch_size), []
    for step in range(steps):
        start, stop = total * step // steps, total * (step + 1) // steps
        count = stop - start
        bounds.append((start + count * rank // world_size, start + count * (rank + 1) // world_size))
    return bounds


class MemoryPart(Part):
    """All images as uint8 in memory, moved to each device once."""

    def __init__(
        self, name: PartName, split: Split, images: Tensor, labels: Tensor, augmentation: Augmentation
    ) -> None:
        super().__init__(name, split, len(images), augmentation)
        # Channels last and padded for good: a crop is then rows of bytes. Black padding, before normalisation.
        pad = augmentation.padding
        padded = functional.pad(images, (pad, pad, pad, pad)) if pad else images
        self._images = padded.permute(0, 2, 3, 1).contiguous()
        self._labels = labels
        self._resident: dict[torch.device, tuple[Tensor, Tensor, Normaliser]] = {}

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Normaliser]:
        if device not in self._resident:
            self._resident[device] = (self._images.to(device), self._labels.to(device), self.normaliser(device))
        return self._resident[device]

    def _batches(self, draws: Draws, sizes: list[int], device: torch.device) -> Iterator[Batch]:
        images, labels, normalise = self._on(device)
        limit = _GATHER_BYTES.get(device.type, _GATHER_BYTES_ELSEWHERE)
        limit //= memory_needed(1, self.image_size) * (1 if draws.box is None else 4)
        start = 0
        for group in _groups(sizes, limit):
            drawn = draws.take(slice(start, start + sum(group)))
            start += sum(group)
            pixels = self._gather(images, drawn)
            batches_pixels = torch.split(pixels, group)
            batches_labels = torch.split(labels.index_select(0, drawn.order.to(device)), group)
            for batch_pixels, batch_labels in zip(batches_pixels, batches_labels, strict=True):
                yield normalise(batch_pixels), batch_labels

    def _gather(self, images: Tensor, draws: Draws) -> Tensor:
        if draws.box is not None and self.augmentation.smallest_area is not None:
            return resized_crop(images, draws, self.image_size, self.augmentation.smallest_area)
        return crop(images, draws, self.image_size, self.augmentation.padding)


def _groups(sizes: list[int], limit: int) -> Iterator[list[int]]:
    """Consecutive batches of at most ``limit`` images together, at least one batch each."""
    group: list[int] = []
    for size in sizes:
        if group and sum(group) + size > limit:
            yield group
            group = []
        group.append(size)
    if group:
        yield group
