"""Unusual image files: each is read as people expect, or refused by its name."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.robustness.inputs import GREY, check_read, check_unreadable, png

BGR = (10, 20, 200)  # of the pixels below
RED = (200, 20, 10)


def tga(alpha: int, alpha_bits: int) -> bytes:
    """2 x 2 pixels of four bytes; the header says how many bits of the fourth mean something."""
    return struct.pack("<3B5x4H2B", 0, 0, 2, 0, 0, 2, 2, 32, 0x20 | alpha_bits) + bytes([*BGR, alpha]) * 4


def bmp(alpha: int) -> bytes:
    """2 x 2 pixels of four bytes under a header of version 4, whose mask names the fourth."""
    pixels = bytes([*BGR, alpha]) * 4
    header = struct.pack("<IiiHHIIiiII", 108, 2, 2, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    return image


IMAGES: dict[str, tuple[str, Callable[[], bytes], tuple[int, int, int]]] = {
    "16 bits a colour": ("a.png", lambda: png(16, 2, struct.pack(">3H", 65535, 257, 0) * 4), (255, 1, 0)),
    "16 bits and half clear": ("a.png", lambda: png(16, 4, struct.pack(">2H", 0, 32896) * 4), (127, 127, 127)),
    "2 bits a pixel": ("a.png", lambda: png(2, 0, b"\xaa"), (170, 170, 170)),
    "black and white bitmap": ("a.pbm", lambda: b"P1\n2 1\n0 0\n", (255, 255, 255)),
    "RGB with one clear colour": ("a.png", lambda: saved(GREY, "PNG", transparency=(90, 90, 90)), (255, 255, 255)),
    "PNG named .jpg": ("a.jpg", lambda: saved(GREY, "PNG"), (90, 90, 90)),
    "bytes behind the end": ("a.png", lambda: saved(GREY, "PNG") + b"more" * 99, (90, 90, 90)),
    "progressive grey JPEG": ("a.jpg", lambda: saved(GREY.convert("L"), "JPEG", progressive=True), (90, 90, 90)),
    "colour profile of nonsense": ("a.png", lambda: saved(GREY, "PNG", icc_profile=b"nonsense"), (90, 90, 90)),
    "one pixel": ("a.bmp", lambda: saved(Image.new("RGB", (1, 1), "red"), "BMP"), (255, 0, 0)),
    "TGA whose fourth byte is unset": ("a.tga", lambda: tga(0, 0), RED),
    "TGA that hides all of itself": ("a.tga", lambda: tga(0, 8), RED),
    "TGA, half clear": ("a.tga", lambda: tga(128, 8), (227, 137, 132)),
    "BMP whose fourth byte is unset": ("a.bmp", lambda: bmp(0), RED),
    "BMP, half clear": ("a.bmp", lambda: bmp(128), (227, 137, 132)),
    "a palette with transparency of its own": (
        "a.png",
        lambda: saved(palette(), "PNG", transparency=b"\x80\xff"),
        (227, 127, 127),
    ),
    "PPM in letters, white is 100": ("a.ppm", lambda: b"P3\n# a comment\n1 1\n100\n100 50 0\n", (255, 128, 0)),
    "PGM of 4 bits": ("a.pgm", lambda: b"P5\n1 1\n15\n\x0f", (255, 255, 255)),
    "CMYK TIFF": ("a.tif", lambda: saved(Image.new("RGB", (8, 8), RED).convert("CMYK"), "TIFF"), RED),
    "a fax in a TIFF": ("a.tif", lambda: saved(Image.new("1", (8, 8), 1), "TIFF", compression="group4"), (255,) * 3),
    "JPEG in a TIFF": ("a.tif", lambda: saved(GREY, "TIFF", compression="jpeg"), (90, 90, 90)),
    "an icon named .png": ("a.png", lambda: saved(GREY.resize((16, 16)), "ICO"), (90, 90, 90)),
    "a frame smaller than its GIF": (
        "a.gif",
        lambda: b"GIF89a\4\0\4\0\x80\0\0\xff\0\0\0\0\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        (255, 0, 0),
    ),
}


@pytest.mark.parametrize("what", IMAGES)
def test_image_files_that_are_read(tmp_path: Path, what: str) -> None:
    name, content, pixel = IMAGES[what]
    check_read(tmp_path / name, content(), pixel, within=2)


def with_text(size: int) -> bytes:
    """A PNG with a chunk of compressed text that unpacks to so many bytes."""
    plain, data = png(8, 2, b"abc" * 4), b"k\0\0" + zlib.compress(b"x" * size)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return plain[:33] + chunk + plain[33:]


BAD_IMAGES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a page of an error": ("a.jpg", lambda: b"<html>404</html>"),
    "a pointer of git-lfs": ("a.png", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "cut in the middle": ("a.png", lambda: png(8, 2, os.urandom(12), 400)[:-900]),
    "zeros of the right length": ("a.jpg", lambda: b"\0" * 5000),
    "a wrong checksum": ("a.png", lambda: png(8, 0, b"abcd").replace(b"IDAT", b"IDAX")),
    "a bomb of 10^10 pixels": ("a.ppm", lambda: b"P6\n100000 100000\n255\n"),
    "no width": ("a.ppm", lambda: b"P6\n0 4\n255\n"),
    "32-bit integers": ("a.tif", lambda: saved(Image.fromarray(np.full((4, 4), 10**6, np.int32)), "TIFF")),
    "floats of any range": ("a.tif", lambda: saved(Image.fromarray(np.ones((4, 4), np.float32) * 9), "TIFF")),
    "a drawing": ("a.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "a telephone's picture named .jpg": ("a.jpg", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)),
    "a page of a printer named .jpg": ("a.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n"),
    "a document named .png": ("a.png", lambda: b"%PDF-1.4\n%%EOF"),
    "a JPEG without its end": ("a.jpg", lambda: saved(GREY, "JPEG")[:-2]),
    "text that unpacks to 80 MB": ("a.png", lambda: with_text(80_000_000)),
    "negative numbers": ("a.tif", lambda: saved(Image.fromarray(np.full((4, 4), -5, np.int32)), "TIFF")),
}


def test_no_file_is_handed_to_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would call Ghostscript, by whatever name the file goes."""
    from PIL import EpsImagePlugin

    def called(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", called)
    test_image_files_that_are_refused_by_name(tmp_path, "a page of a printer named .jpg")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", BAD_IMAGES)
def test_image_files_that_are_refused_by_name(tmp_path: Path, what: str) -> None:
    name, content = BAD_IMAGES[what]
    check_unreadable(tmp_path / name, content())
