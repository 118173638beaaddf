"""The in-memory pipeline against torchvision's transforms, image by image, in a DataLoader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bars.data.augment import Augmentation
from bars.data.part import MemoryPart
from bars.data.splits import Split
from benchmarks.options import Options, Row, Tables
from benchmarks.timing import ratios, rounds, summary

SIZE, PADDING, BATCH, WORKERS, TARGET = 32, 4, 64, 2, 10
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Random images as torchvision's CIFAR10 gives them: an array each, made a PIL image and transformed."""

    def __init__(self, pixels: np.ndarray, labels: list[int]) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE, padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def measure(options: Options) -> Tables:
    """One epoch of random crops and mirrored images."""
    count = 256 if options.quick else 10_000
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,), generator=generator)
    about: dict[str, Any] = {"dataset": "random", "classes": tuple("0123456789"), "image_size": SIZE}
    split = Split.model_construct(**about, channel_mean=MEAN, channel_std=STD)
    part = MemoryPart("train", split, pixels, labels, Augmentation(padding=PADDING, flip=True))
    dataset = Images(pixels.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist())

    def plain(workers: int) -> Callable[[], object]:
        loader = DataLoader(
            dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )

        def epoch() -> None:
            for images, _ in loader:
                images.to(options.device)

        return epoch

    def ours() -> None:
        for _ in part.batches(BATCH, device=options.device, augment=True, seed=0, epoch=0, drop_last=True):
            pass

    reference = f"DataLoader, {WORKERS} workers"
    seconds = rounds(
        {reference: plain(WORKERS), "DataLoader, no workers": plain(0), "in memory": ours},
        options.rounds,
        options.device,
    )
    times = ratios(seconds, reference)
    rows: list[Row] = [
        {
            "variant": name,
            **summary(own),
            "batches/s": count // BATCH / summary(own)["median_ms"] * 1e3,
            "times as fast": times[name],
            "target": f">= {TARGET}" if name == "in memory" else "",
        }
        for name, own in seconds.items()
    ]
    yield f"an epoch of {count} images, {SIZE} pixels, batches of {BATCH}", rows
