"""More unusual images, folders, params files and paths than test_inputs.py has: ten of each, and what they came to."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bars.data import make_split
from bars.errors import DataError, ParamsError
from bars.pipeline import folders
from bars.pipeline.load import load_params
from tests.robustness.inputs import (
    GREY,
    ROOT,
    check_params,
    check_read,
    check_refused,
    check_unreadable,
    folder,
    params,
    png,
    rename,
)

BGR = (10, 20, 200)  # of the pixels below
RED = (200, 20, 10)


pytestmark = pytest.mark.usefixtures("here")


# --------------------------------------------------------------------------------------------------- image files
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


@pytest.mark.parametrize("what", BAD_IMAGES)
def test_image_files_that_are_refused_by_name(tmp_path: Path, what: str) -> None:
    name, content = BAD_IMAGES[what]
    check_unreadable(tmp_path / name, content())


# --------------------------------------------------------------------------------------------------- folders
PARTS = ("train", "test")


def called(name: str) -> Callable[[Path], None]:
    """The class cat under another name."""
    return lambda root: [rename(root, f"{part}/cat", f"{part}/{name}") for part in PARTS] and None


def hidden(root: Path) -> None:
    (root / "train/cat/.thumbs").mkdir()
    (root / "train/cat/.thumbs/a.png").write_bytes(b"")


def linked(root: Path) -> None:
    (root / "test/dog/3.png").unlink()
    os.link(root / "train/dog/3.png", root / "test/dog/3.png")


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {  # a change, and a text that the split then holds
    "a hidden folder of thumbnails": (hidden, "a hidden folder"),
    "an image beside the classes": (lambda r: (r / "train/a.png").write_bytes(b"x"), "in no class folder"),
    "half a download": (lambda r: (r / "train/cat/9.png.part").write_bytes(b"x"), "(.part)"),
    "a text with a name of no alphabet": (
        lambda r: Path(os.fsdecode(os.fsencode(r) + b"/train/cat/\xff.txt")).touch(),
        "\\xff.txt",
    ),
    "a test image that is a hard link to a training image": (linked, "'test_in_train': 1"),
    "the same image in two classes": (
        lambda r: (r / "train/cat/9.png").write_bytes((r / "train/dog/0.png").read_bytes()),
        "'within_train': 1",
    ),
    "a class with a space at its end": (called("cat "), "'cat '"),
    "a class that looks like an option": (called("-rf"), "'-rf'"),
    "a class of a shell's letters": (called("{cat} $x | <b>"), "{cat} $x | <b>"),
    "a class with a line break": (called("ca\nt"), "ca\\nt"),
    "a folder named .png": (
        lambda r: ((r / "train/cat/x.png").mkdir(), rename(r, "train/cat/0.png", "train/cat/x.png/0.png")),
        "'cat': 4",
    ),
    "test and val": (lambda r: shutil.copytree(r / "test", r / "val"), "'cat': 4"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_are_read(tmp_path: Path, what: str) -> None:
    root = folder(tmp_path / "images")
    change, said = FOLDERS[what]
    change(root)
    split = make_split(params(root))
    assert len(split["test"]) == 8 and len(split["train"]) + len(split["valid"]) == split["images"]["train"]["read"]
    assert said in str({**split["images"], "names": split["classes"]}).replace("\\\\", "\\")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class with a name of no alphabet": (
        lambda r: [os.rename(os.fsencode(r / p / "cat"), os.fsencode(r / p) + b"/c\xff") for p in PARTS],
        "not UTF-8",
    ),
    "Train with a capital": (lambda r: rename(r, "train", "Train"), "there is no such folder"),
    "validation in place of test": (lambda r: rename(r, "test", "validation"), "got:     train, validation"),
    "what a NAS leaves": (lambda r: (r / "train/@eaDir").mkdir(), "@eaDir"),
    "one image in a class": (lambda r: [(r / f"train/cat/{i}.png").unlink() for i in (1, 2, 3)], "too few images"),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_folders_that_are_refused(tmp_path: Path, what: str) -> None:
    check_refused(tmp_path / "images", *BAD_FOLDERS[what])


# --------------------------------------------------------------------------------------------------- YAML
YAML: dict[str, tuple[bytes, str | None]] = {  # what a file says beside its include; a message, None where it is read
    "a comment alone": (b"# nothing\n", None),
    "a merge key": (b"scales: {smoke: &s {retrain: {epochs: 3}}, cpu: {<<: *s}}", None),
    "10 as 1_0 and as 0xA": (b"scales: {smoke: {retrain: {epochs: 1_0}, search: {epochs: 0xA}}}", None),
    "a label of a rocket and two lines": ('experiments: {searched: {bars-a: {label: "\U0001f680\\n"}}}'.encode(), None),
    "a label of a markup language": (b"experiments: {searched: {bars-a: {label: '<b>&|_%$'}}}", None),
    "yes": (b"runtime: {compile: yes}", "got 'yes', allowed one of auto, on, off"),
    "a number in quotes": (b"scales: {smoke: {retrain: {epochs: '5'}}}", "got '5', allowed a whole number"),
    "5.0 for 5": (b"scales: {smoke: {retrain: {epochs: 5.0}}}", "got 5.0, allowed a whole number"),
    "a percent sign": (b"defaults: {retrain: {lr: 5%}}", "got '5%', allowed a number"),
    "true for a number": (b"scales: {smoke: {retrain: {epochs: true}}}", "got True"),
    "a block of nothing": (b"defaults: {retrain: }", "got None, allowed a mapping"),
    "no seeds": (b"scales: {smoke: {seeds: []}}", "seeds: got []"),
    "a seed twice": (b"scales: {smoke: {seeds: [0, 0]}}", "a seed is written twice"),
    "a seed of 20 digits": (b"scales: {smoke: {seeds: [99999999999999999999]}}", "4,294,967,295"),
    "an experiment named ..": (b"experiments: {searched: {..: {base: bars-a}}}", "not a valid name"),
    "a name of temporary folders": (b"experiments: {searched: {bars-a.tmp-1: {base: bars-a}}}", "temporary folders"),
    "a base of itself": (b"experiments: {searched: {x: {base: x}}}", "x -> x"),
    "quotes of a word processor": ("scale: \u201csmoke\u201d".encode(), "got '\u201csmoke\u201d'"),
    "a template of a shell": (b"scale: ${SCALE}", "got '${SCALE}'"),
    "a tag of Python": (b"scale: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "brackets 3,000 deep": (b"scale: " + b"[" * 3000 + b"]" * 3000, "not valid YAML"),
    "a zero byte": (b"scale: smoke\0", "not valid YAML"),
    "Latin-1": (b"# caf\xe9", "not UTF-8"),
}


@pytest.mark.parametrize("what", YAML)
def test_params_files(tmp_path: Path, what: str) -> None:
    content, said = YAML[what]
    check_params(tmp_path / "mine.yaml", f"include: {ROOT / 'params.yaml'}\n".encode() + content, said)


@pytest.mark.parametrize(
    ("include", "said"),
    [
        ("[a, b]", "include is not a path"),
        ("mine.yaml", "in a circle"),
        ("https://example.org/params.yaml", "cannot read"),
        ("bars:nothing.yaml", "cannot read"),
    ],
)
def test_includes_that_are_refused(tmp_path: Path, include: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"include: {include}\n")
    with pytest.raises(ParamsError, match=said):
        load_params(path)


# --------------------------------------------------------------------------------------------------- paths
@pytest.mark.parametrize(
    "place",
    [
        "images/train",  # one folder too deep
        "file:///images",
        "https://example.org/images",
        "C:\\images",
        "$HOME/images",
        "~nobody9/images",
        "a\nb",
        "a\0b",
        "   ",
        "/proc/self/fd",
        "x" * 5000,
    ],
)
def test_places_without_images_are_named(tmp_path: Path, place: str) -> None:
    folder(tmp_path / "images")
    with pytest.raises(DataError, match="no such (home )?folder|cannot be read") as caught:
        make_split(params(place))
    assert "  where:" in str(caught.value)
    folders._state.cache_clear()
    assert folders.folder_state(params(place)) == "absent"  # Snakemake asks before anything is checked
