"""Decoding image files and resizing: uint8 in, uint8 out, the same pixels for every reader of a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bars.errors import DataError

Pixels = npt.NDArray[np.uint8]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_READ_THREADS = 8
_NAMED_FILES = 5
_RESIZE_BYTES = 64 * 2**20


def decode(path: Path) -> Image.Image:
    """The whole image as RGB; a file that is corrupt, truncated or no image is a DataError that names it."""
    try:
        with Image.open(path) as image:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and their own
        raise DataError(
            "an image cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            do="replace the file, or delete it and make the split again",
        ) from error


def fit(image: Image.Image, size: int) -> Pixels:
    """The largest central square, antialiased down (or up) to uint8 [size, size, 3]."""
    if image.size == (size, size):
        return np.asarray(image, dtype=np.uint8)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    # Only the square is resampled: a strip of 2 x 60,000 pixels must not become gigabytes first.
    square = image.crop(box) if short == size else image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(square, dtype=np.uint8)


def read_images(paths: Sequence[Path], size: int) -> Tensor:
    """uint8 [N, 3, size, size] (channels last), read by a thread pool; unreadable files are named in one DataError."""
    pixels = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    threads = min(_READ_THREADS, 2 * (os.cpu_count() or 1))
    step = max(1, min(256, len(paths) // (4 * threads)))  # several files a task: a task costs more than a small file

    def read(start: int) -> list[DataError]:
        failed = []
        for i in range(start, min(start + step, len(paths))):
            try:
                pixels[i] = fit(decode(paths[i]), size)
            except DataError as error:
                failed.append(error)
        return failed

    with ThreadPoolExecutor(threads) as pool:
        failures = [error for errors in pool.map(read, range(0, len(paths), step)) for error in errors]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        named = [f"{error.where} ({error.got})" for error in failures[:_NAMED_FILES]]
        more = len(failures) - len(named)
        raise DataError(
            f"{len(failures)} images of {len(paths)} cannot be read",
            where="; ".join(named) + (f"; and {more} more" if more else ""),
            do="replace these files, or delete them and make the split again",
        )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def resize(images: Tensor, size: int) -> Tensor:
    """Square images uint8 [N, 3, h, h] -> uint8 [N, 3, size, size], bilinear with antialias, rounded to nearest."""
    n, channels, height, width = images.shape
    if height == width == size:
        return images
    resized = torch.empty((n, channels, size, size), dtype=torch.uint8)
    step = max(1, _RESIZE_BYTES // (4 * channels * max(size, height) ** 2))
    for start in range(0, n, step):
        block = images[start : start + step].float()
        block = functional.interpolate(block, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        resized[start : start + step] = block.round_().clamp_(0, 255).to(torch.uint8)
    return resized
