"""Parts too big for memory: files are decoded and augmented by loader processes, then normalised on the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from bars.data.augment import Augmentation, Draws, boxes
from bars.data.images import Pixels, decode, fit
from bars.data.part import Batch, Part, PartName
from bars.data.splits import Split
from bars.errors import DataError, DeviceError


class StreamedPart(Part):
    """Images read from their files in every epoch, by ``workers`` processes; the draws are those of one in memory."""

    def __init__(
        self,
        name: PartName,
        split: Split,
        paths: list[Path],
        labels: Tensor,
        augmentation: Augmentation,
        workers: int,
    ) -> None:
        super().__init__(name, split, len(paths), augmentation)
        self._paths = [str(path) for path in paths]
        self._labels = labels
        self._workers = workers

    def _batches(self, draws: Draws, sizes: list[int], device: torch.device) -> Iterator[Batch]:
        reader = _Reader(self._paths, self._labels, draws, self.image_size, self.augmentation)
        stops = torch.tensor(sizes).cumsum(0).tolist()
        batches = [range(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,  # the reader takes whole batches, which cross the process border as one tensor
            sampler=batches,
            num_workers=min(self._workers, len(batches)),
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else the loader draws from torch's global generator
        )
        normalise = self.normaliser(device)
        for item in _refuse_dead_workers(loader, self._workers):
            if isinstance(item, DataError):
                raise item
            pixels, labels = item
            yield normalise(pixels.to(device, non_blocking=True)), labels.to(device, non_blocking=True)


def _as_it_is(item: Any) -> Any:
    return item


def _refuse_dead_workers(loader: DataLoader[Any], workers: int) -> Iterator[Any]:
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DeviceError(
            "a loader process died",
            where=f"data.workers: {workers}",
            got=str(error),
            do="lower data.workers, or give the machine more (shared) memory",
        ) from error


class _Reader(TorchDataset[Any]):
    """Positions of an epoch -> (uint8 [B, H, W, 3], labels [B]), or the DataError that names an unreadable file.

    The error is a value: raised in a loader process it would arrive as a traceback.
    """

    def __init__(
        self, paths: list[str], labels: Tensor, draws: Draws, image_size: int, augmentation: Augmentation
    ) -> None:
        self.paths, self.labels, self.draws = paths, labels, draws
        self.image_size, self.augmentation = image_size, augmentation

    def __getitem__(self, positions: range) -> tuple[Tensor, Tensor] | DataError:
        pixels = np.empty((len(positions), self.image_size, self.image_size, 3), dtype=np.uint8)
        chosen = slice(positions.start, positions.stop)
        order = self.draws.order[chosen]
        try:
            for i, (position, index) in enumerate(zip(positions, order.tolist(), strict=True)):
                pixels[i] = self._augmented(decode(Path(self.paths[index])), position)
        except DataError as error:
            return error
        return torch.from_numpy(pixels), self.labels[order]

    def _augmented(self, image: Image.Image, position: int) -> Pixels:
        draws, size = self.draws, self.image_size
        if draws.box is not None and self.augmentation.smallest_area is not None:
            uniform = draws.box[position : position + 1]
            (box,) = boxes(uniform, image.width, image.height, self.augmentation.smallest_area).tolist()
            left, top, width, height = box
            cut = image.crop((left, top, left + width, top + height))
            pixels = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
        else:
            pixels = fit(image, size)
        if draws.offset is not None:
            top, left = draws.offset[position].tolist()
            pad = self.augmentation.padding
            padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)))
            pixels = padded[top : top + size, left : left + size]
        if draws.flip is not None and bool(draws.flip[position]):
            pixels = pixels[:, ::-1]
        return pixels
