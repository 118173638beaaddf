"""What the tests of unusual inputs share: a small folder of images, and how each kind of input is judged."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bars.data import make_split
from bars.data.images import decode
from bars.errors import BarsError, DataError
from bars.params import DataParams
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from tests.blocks import block

ROOT = Path(__file__).resolve().parents[2]
GREY = Image.new("RGB", (8, 8), (90, 90, 90))


def png(depth: int, colour: int, row: bytes, height: int = 4) -> bytes:
    """A PNG of equal rows, 4 pixels wide, of a kind that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 4, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def folder(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def params(root: Path | str) -> DataParams:
    return block(DataParams, source="imagefolder", path=str(root), image_size=8)


def rename(root: Path, one: str, other: str) -> None:
    (root / other).parent.mkdir(exist_ok=True)
    (root / one).rename(root / other)


def check_read(path: Path, content: bytes, pixel: tuple[int, ...], within: int) -> None:
    """The image's first pixel is this one."""
    path.write_bytes(content)
    assert np.abs(np.asarray(decode(path))[0, 0].astype(int) - pixel).max() <= within


def check_unreadable(path: Path, content: bytes) -> None:
    """The image is refused by its name."""
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        decode(path)
    assert str(path) in str(caught.value)
    assert "AssertionError" not in str(caught.value)


def check_refused(root: Path, change: Callable[[Path], object], said: str) -> None:
    """The folder after a change is refused by a message that holds ``said``, and can be written."""
    change(folder(root))
    with pytest.raises(DataError) as caught:
        make_split(params(root))
    assert said in str(caught.value)
    str(caught.value).encode()


def check_params(path: Path, content: bytes, said: str | None) -> None:
    """A params file makes a grid, or is refused by a message that holds ``said``."""
    path.write_bytes(content)
    if said is None:
        assert Grid(load_params(path)).runnable()
        return
    with pytest.raises(BarsError) as caught:
        Grid(load_params(path))
    assert said in str(caught.value) and caught.value.exit_status == 2
