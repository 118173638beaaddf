"""Decoding image files and resizing: uint8 in, uint8 out, the same pixels for every reader of a file."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from bars.errors import DataError

Pixels = npt.NDArray[np.uint8]

# What torchvision's and Pillow's usual readers take; of a file with several frames or pages the first one is read.
SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
BACKGROUND = (255, 255, 255, 255)  # what shows through transparent pixels
_WHITE_16 = 65_535
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_READ_THREADS = 8
_NAMED_FILES = 5
_RESIZE_BYTES = 64 * 2**20


def decode(path: Path, content: bytes | None = None) -> Image.Image:
    """The whole image as people see it, in 8-bit RGB: upright, on ``BACKGROUND``, from black to white by its depth.

    ``content``: the file's bytes, where they are at hand. A file that is corrupt, truncated, no image, or of an unknown
    range of values is a DataError that names it.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content), formats=_formats()) as image:
            image.load()
            return _as_rgb(_upright(_without_unset_alpha(image)))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and their own
        unknown = isinstance(error, UnidentifiedImageError)
        raise DataError(
            "an image cannot be read",
            where=str(path),
            got="no image, or of a kind that Pillow does not know" if unknown else f"{type(error).__name__}: {error}",
            do="replace the file, or delete it and make the split again",
        ) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """All that Pillow reads itself, whatever a file is named; EPS it would hand to another program."""
    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


def _without_unset_alpha(image: Image.Image) -> Image.Image:
    """Writers of BMP and TGA leave a fourth channel unset; one that hides the whole image says nothing."""
    fourth = image.format in ("BMP", "DIB", "TGA") and image.mode == "RGBA"
    unset = fourth and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if unset else image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. Metadata that cannot be read say nothing."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as many classes as decoders raise
        return image
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A deep grey image as 8 bits; its white is that of 16 bits, or 1 for floats. Pillow itself would clip at 255."""
    values = np.asarray(image)
    white = 1.0 if image.mode == "F" else _WHITE_16
    darkest, brightest = values.min(), values.max()
    if not 0 <= darkest <= brightest <= white:  # neither is a NaN
        kind = "floats" if image.mode == "F" else "integers"
        raise ValueError(f"its {kind} run from {darkest:g} to {brightest:g}, and only 0 (black) to {white:g} is known")
    grey = Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:  # the grey level that stands for nothing
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


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

    def read(i: int) -> None:
        pixels[i] = fit(decode(paths[i]), size)

    for_each_file(len(paths), read)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def for_each_file(count: int, work: Callable[[int], None], what: str = "reading images") -> None:
    """``work(i)`` for each of ``count`` files in a thread pool; its DataErrors are raised as one that names files.

    Work of more than some seconds shows how far it is.
    """
    threads = min(_READ_THREADS, 2 * (os.cpu_count() or 1))
    step = max(1, min(256, count // (4 * threads)))  # several files a task: a task costs more than a small file

    def some(start: int) -> list[DataError]:
        failed = []
        for i in range(start, min(start + step, count)):
            try:
                work(i)
            except DataError as error:
                failed.append(error)
        shown.update(min(step, count - start))
        return failed

    with ThreadPoolExecutor(threads) as pool, tqdm(total=count, desc=what, delay=5, mininterval=5) as shown:
        failures = [error for errors in pool.map(some, range(0, count, step)) for error in errors]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        named = [f"{error.where} ({error.got})" for error in failures[:_NAMED_FILES]]
        more = len(failures) - len(named)
        raise DataError(
            f"{len(failures)} images of {count} cannot be read",
            where="; ".join(named) + (f"; and {more} more" if more else ""),
            do="replace these files, or delete them and make the split again",
        )


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
