"""Unusual images, folders, params files and paths: each is read as people expect, or refused by one message."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bars.data import load_source, make_split
from bars.errors import BarsError
from bars.pipeline.files import check_writable
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

pytestmark = pytest.mark.usefixtures("here")


# --------------------------------------------------------------------------------------------------- image files
def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    image.save(name, **options)
    return Path(name).read_bytes()


IMAGES: dict[str, tuple[str, Callable[[], bytes], tuple[int, int, int]]] = {
    "16 bits a colour": ("a.png", lambda: png(16, 2, struct.pack(">3H", 65535, 257, 0) * 4), (255, 1, 0)),
    "16 bits and half clear": ("a.png", lambda: png(16, 4, struct.pack(">2H", 0, 32896) * 4), (127, 127, 127)),
    "2 bits a pixel": ("a.png", lambda: png(2, 0, b"\xaa"), (170, 170, 170)),
    "black and white bitmap": ("a.pbm", lambda: b"P1\n2 1\n0 0\n", (255, 255, 255)),
    "RGB with one clear colour": ("a.png", lambda: saved(GREY, "x.png", transparency=(90, 90, 90)), (255, 255, 255)),
    "PNG named .jpg": ("a.jpg", lambda: saved(GREY, "x.png"), (90, 90, 90)),
    "bytes behind the end": ("a.png", lambda: saved(GREY, "x.png") + b"more" * 99, (90, 90, 90)),
    "progressive grey JPEG": ("a.jpg", lambda: saved(GREY.convert("L"), "x.jpg", progressive=True), (90, 90, 90)),
    "colour profile of nonsense": ("a.png", lambda: saved(GREY, "x.png", icc_profile=b"nonsense"), (90, 90, 90)),
    "one pixel": ("a.bmp", lambda: saved(Image.new("RGB", (1, 1), "red"), "x.bmp"), (255, 0, 0)),
}


@pytest.mark.parametrize("what", IMAGES)
def test_image_files_that_are_read(tmp_path: Path, what: str) -> None:
    name, content, pixel = IMAGES[what]
    check_read(tmp_path / name, content(), pixel, within=1)


BAD_IMAGES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a page of an error": ("a.jpg", lambda: b"<html>404</html>"),
    "a pointer of git-lfs": ("a.png", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "cut in the middle": ("a.png", lambda: png(8, 2, os.urandom(12), 400)[:-900]),
    "zeros of the right length": ("a.jpg", lambda: b"\0" * 5000),
    "a wrong checksum": ("a.png", lambda: png(8, 0, b"abcd").replace(b"IDAT", b"IDAX")),
    "a bomb of 10^10 pixels": ("a.ppm", lambda: b"P6\n100000 100000\n255\n"),
    "no width": ("a.ppm", lambda: b"P6\n0 4\n255\n"),
    "32-bit integers": ("a.tif", lambda: saved(Image.fromarray(np.full((4, 4), 10**6, np.int32)), "x.tif")),
    "floats of any range": ("a.tif", lambda: saved(Image.fromarray(np.ones((4, 4), np.float32) * 9), "x.tif")),
    "a drawing": ("a.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", BAD_IMAGES)
def test_image_files_that_are_refused_by_name(tmp_path: Path, what: str) -> None:
    name, content = BAD_IMAGES[what]
    check_unreadable(tmp_path / name, content())


# --------------------------------------------------------------------------------------------------- folders
FOLDERS: dict[str, tuple[Callable[[Path], object], int]] = {
    "a line break in a name": (lambda r: rename(r, "train/cat/0.png", "train/cat/a\nb.png"), 8),
    "bytes that are no UTF-8": (lambda r: os.rename(r / "train/cat/0.png", os.fsencode(r) + b"/train/cat/\xff.png"), 8),
    "names of 200 letters": (lambda r: rename(r, "train/cat/0.png", f"train/cat/{'x' * 200}.PNG"), 8),
    "folders in folders": (lambda r: rename(r, "train/cat/0.png", "train/cat/deep/0.png"), 8),
    "a class of two words": (lambda r: [rename(r, f"{p}/cat", f"{p}/big cat, really") for p in ("train", "test")], 8),
    "files of a Mac": (lambda r: (r / "train/cat/._0.png").write_bytes(b"Mac OS X"), 8),
    "a thumbnail cache": (lambda r: (r / "train/cat/Thumbs.db").write_bytes(b"x"), 8),
    "pictures of a telephone (.heic)": (lambda r: (r / "train/cat/1.heic").write_bytes(b"x"), 8),
    "a socket or pipe": (lambda r: os.mkfifo(r / "train/cat/pipe.png"), 8),
    "a link in a circle": (lambda r: (r / "train/cat/loop").symlink_to(r / "train"), 8),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_are_read(tmp_path: Path, what: str) -> None:
    root = folder(tmp_path / "images")
    change, train = FOLDERS[what]
    change(root)
    split = make_split(params(root))
    assert len(split["train"]) + len(split["valid"]) == split["images"]["train"]["read"] == train
    files = sum(len(names) for _, _, names in os.walk(root / "train"))
    skipped = split["images"]["train"]["skipped"]
    assert train + sum(s["count"] for s in skipped.values()) == files + (what == "a link in a circle")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class in two Unicode forms": (
        lambda r: (rename(r, "train/cat", "train/caf\u00e9"), rename(r, "test/cat", "test/cafe\u0301")),
        "class folders differ",
    ),
    "upper and lower case": (lambda r: rename(r, "test/cat", "test/Cat"), "missing: cat; not in train: Cat"),
    "what a Mac packs in": (lambda r: rename(r, "train/cat/0.png", "train/__MACOSX/._0.png"), "holds no images"),
    "a link to nothing": (lambda r: (r / "train/cat/x.png").symlink_to("nowhere"), "x.png"),
    "a link to itself": (lambda r: (r / "train/cat/x.png").symlink_to("x.png"), "x.png"),
    "a class that is a link to another": (lambda r: (r / "train/tom").symlink_to("cat"), "two classes are one folder"),
    "a file among the classes' folders only": (
        lambda r: [os.rename(r / "train" / c, r / c) for c in ("cat", "dog")],
        "no class folders",
    ),
    "one class": (lambda r: [os.rename(r / p / "dog", r / f"{p}-dog") for p in ("train", "test")], "fewer than two"),
    "empty files of a broken copy": (lambda r: (r / "test/dog/3.png").write_bytes(b""), "zero bytes"),
    "a test image that is none": (lambda r: (r / "test/dog/3.png").write_bytes(b"x"), "test/dog/3.png"),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_folders_that_are_refused(tmp_path: Path, what: str) -> None:
    check_refused(tmp_path / "images", *BAD_FOLDERS[what])


# --------------------------------------------------------------------------------------------------- YAML
YAML: dict[str, tuple[str, str | None]] = {
    "a byte order mark": ("\ufeffscale: smoke", None),
    "line ends of Windows": ("scale: smoke\r\nrecipe: own\r\n", None),
    "off without quotes": ("runtime: {compile: off}", None),
    "1e-3 without a point": ("defaults: {retrain: {lr: 1e-3}}", None),
    "anchors and aliases": ("scale: &s smoke\nscales: {smoke: {retrain: &r {lr: 0.01}}, cpu: {retrain: *r}}", None),
    "tabs": ("scales:\n\tsmoke: {}", "line 3"),
    "a key twice": ("scale: smoke\nscale: cpu", "'scale' is written twice"),
    "a date as label": ("experiments: {searched: {bars-a: {label: 2024-01-01}}}", "quote it"),
    "a number as label": ("experiments: {searched: {bars-a: {label: 007}}}", "allowed a text"),
    "not a number": ("defaults: {retrain: {lr: .nan}}", "retrain.lr"),
    "a comma for a point": ("defaults: {retrain: {lr: 0,1}}", "retrain"),
    "two documents": ("scale: smoke\n---\nscale: cpu", "not valid YAML"),
}


@pytest.mark.parametrize("what", YAML)
def test_params_files(tmp_path: Path, what: str) -> None:
    text, said = YAML[what]
    mark = "\ufeff" * text.startswith("\ufeff")
    including = f"{mark}include: {ROOT / 'params.yaml'}\n{text.removeprefix(mark)}"
    check_params(tmp_path / "mine.yaml", including.encode(), said)


# --------------------------------------------------------------------------------------------------- paths
PATHS: dict[str, Callable[[Path, pytest.MonkeyPatch], str]] = {
    "a home": (lambda r, m: (m.setenv("HOME", str(r.parent)), f"~/{r.name}")[1]),
    "relative": lambda r, m: (m.chdir(r.parent), r.name)[1],
    "up and down again": lambda r, m: f"{r}/train/../../{r.name}",
    "a slash too many": lambda r, m: f"{r}//",
    "a link": lambda r, m: (os.symlink(r, r.parent / "link"), str(r.parent / "link"))[1],
    "spaces and quotes": lambda r, m: str(r.rename(r.parent / "my 'best' \"images\"")),
    "other alphabets": lambda r, m: str(r.rename(r.parent / "\u56fe\u50cf \u0444\u043e\u0442\u043e \U0001f600")),
    "a dollar and a star": lambda r, m: str(r.rename(r.parent / "$HOME *")),
    "200 letters": lambda r, m: str(r.rename(r.parent / ("x" * 200))),
    "a hidden folder": lambda r, m: str(r.rename(r.parent / ".images")),
}


@pytest.mark.parametrize("what", PATHS)
def test_paths_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    root = folder(tmp_path / "images")
    before = make_split(params(root))
    place = PATHS[what](root, monkeypatch)
    assert make_split(params(place)) == before


BAD_PATHS: dict[str, Callable[[Path], object]] = {
    "images that are an archive": lambda t: load_source(params(_file(t / "images.zip"))),
    "images that are nowhere": lambda t: load_source(params(t / "nowhere")),
    "an empty text": lambda t: load_source(params("")).train,
    "a params file that is a folder": load_params,
    "a params file that is an image": lambda t: load_params(_file(t / "a.png", b"\x89PNG\xff")),
    "a params file that is nowhere": lambda t: load_params(t / "nowhere.yaml"),
    "an include that is a folder": lambda t: load_params(_file(t / "a.yaml", f"include: {t}".encode())),
    "results that are a file": lambda t: check_writable(_file(t / "results") / "smoke" / "data"),
    "results below a device": lambda t: check_writable(Path("/dev/null/results")),
    "a name too long for the disk": lambda t: check_writable(t / ("x" * 300)),
}


def _file(path: Path, content: bytes = b"PK") -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("what", BAD_PATHS)
def test_paths_that_are_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(BarsError) as caught:
        BAD_PATHS[what](tmp_path)
    assert caught.value.exit_status == 2 and "  where:" in str(caught.value)
