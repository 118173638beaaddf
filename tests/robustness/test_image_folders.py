"""Unusual folders of images, and paths to them: each is read as people expect, or refused by one message."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bars.data import load_source, make_split
from bars.errors import BarsError, DataError
from bars.pipeline import folders
from bars.pipeline.files import check_writable
from bars.pipeline.load import load_params
from tests.robustness.inputs import check_refused, folder, params, rename

pytestmark = pytest.mark.usefixtures("here")


# ------------------------------------------------------------------------------------------------------------ folders
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


FOLDERS: dict[str, Callable[[Path], object]] = {  # changes that leave eight training images
    "a line break in a name": lambda r: rename(r, "train/cat/0.png", "train/cat/a\nb.png"),
    "bytes that are no UTF-8": lambda r: os.rename(r / "train/cat/0.png", os.fsencode(r) + b"/train/cat/\xff.png"),
    "names of 200 letters": lambda r: rename(r, "train/cat/0.png", f"train/cat/{'x' * 200}.PNG"),
    "folders in folders": lambda r: rename(r, "train/cat/0.png", "train/cat/deep/0.png"),
    "a class of two words": lambda r: [rename(r, f"{p}/cat", f"{p}/big cat, really") for p in PARTS],
    "files of a Mac": lambda r: (r / "train/cat/._0.png").write_bytes(b"Mac OS X"),
    "a thumbnail cache": lambda r: (r / "train/cat/Thumbs.db").write_bytes(b"x"),
    "pictures of a telephone (.heic)": lambda r: (r / "train/cat/1.heic").write_bytes(b"x"),
    "a socket or pipe": lambda r: os.mkfifo(r / "train/cat/pipe.png"),
    "a link in a circle": lambda r: (r / "train/cat/loop").symlink_to(r / "train"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_are_read(tmp_path: Path, what: str) -> None:
    root = folder(tmp_path / "images")
    FOLDERS[what](root)
    split = make_split(params(root))
    assert len(split["train"]) + len(split["valid"]) == split["images"]["train"]["read"] == 8
    files = sum(len(names) for _, _, names in os.walk(root / "train"))
    skipped = split["images"]["train"]["skipped"]
    assert 8 + sum(s["count"] for s in skipped.values()) == files + (what == "a link in a circle")


NOTED: dict[str, tuple[Callable[[Path], object], str]] = {  # a change, and a text that the split then holds
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


@pytest.mark.parametrize("what", NOTED)
def test_folders_of_which_something_is_noted(tmp_path: Path, what: str) -> None:
    root = folder(tmp_path / "images")
    change, said = NOTED[what]
    change(root)
    split = make_split(params(root))
    assert len(split["test"]) == 8 and len(split["train"]) + len(split["valid"]) == split["images"]["train"]["read"]
    assert said in str({**split["images"], "names": split["classes"]}).replace("\\\\", "\\")


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
    "one class": (lambda r: [os.rename(r / p / "dog", r / f"{p}-dog") for p in PARTS], "fewer than two"),
    "empty files of a broken copy": (lambda r: (r / "test/dog/3.png").write_bytes(b""), "zero bytes"),
    "a test image that is none": (lambda r: (r / "test/dog/3.png").write_bytes(b"x"), "test/dog/3.png"),
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


# -------------------------------------------------------------------------------------------------------------- paths
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
