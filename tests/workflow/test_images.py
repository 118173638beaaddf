"""An image that was added, removed or replaced, of whatever format, is seen by Snakemake and by DVC."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from PIL import Image, features

from bars.data import make_split, manifest
from bars.data.images import SUFFIXES
from bars.params import DataParams
from bars.pipeline import folders
from tests.blocks import block
from tests.workflow.planning import STUDY, FakeTree, touch

FORMATS = [suffix for suffix in SUFFIXES if suffix != ".avif" or features.check("avif")]
PER_CLASS = len(FORMATS)


def content(suffix: str, shade: int) -> bytes:
    """A grey picture in a format; another shade gives other bytes."""
    kind = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    image = Image.new("L", (8, 8), shade)
    image.paste(255 - shade, (0, 0, 4, 4))
    written = io.BytesIO()
    image.convert(kind).save(written, Image.registered_extensions().get(suffix, "JPEG"))
    return written.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, an image of every format in each, for train and test."""
    root = tmp_path_factory.mktemp("pictures") / "images"
    for part in ("train", "test"):
        for i, label in enumerate(("cat", "dog")):
            (root / part / label).mkdir(parents=True)
            for suffix in FORMATS:
                (root / part / label / f"a{suffix}").write_bytes(content(suffix, 200 * i))
    return root


@pytest.fixture
def images(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(manifest, "MANIFESTS", tmp_path / "manifests")
    return Path(shutil.copytree(pictures, tmp_path / "images"))


def data(root: Path) -> DataParams:
    return block(DataParams, source="imagefolder", path=str(root), image_size=8)


def state(root: Path) -> str | None:
    """What Snakemake compares, as a new process finds it."""
    folders._state.cache_clear()
    return folders.folder_state(data(root))


def replace(path: Path) -> None:
    """Another image in place of one, as a copy would write it."""
    before = path.read_bytes()
    path.write_bytes(content(path.suffix, 90 if path.suffix != ".pbm" else 255))
    assert path.read_bytes() != before
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))  # clocks of file systems are coarse


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_replaced_image_changes_the_state_of_the_folder_and_the_split(images: Path, suffix: str) -> None:
    before, split = state(images), make_split(data(images))
    assert split["images"]["train"]["read"] == 2 * PER_CLASS
    assert state(images) == before
    replace(images / f"train/cat/a{suffix}")
    assert state(images) != before
    assert make_split(data(images))["content"]["train"] != split["content"]["train"]
    assert make_split(data(images))["content"]["test"] == split["content"]["test"]


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda path: path.with_name("b.png").write_bytes(content(".png", 7)),
    "removed": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("b.png")),
    "moved to another class": lambda path: path.rename(path.parents[1] / "dog/b.png"),
    "of the same size": lambda path: os.utime(path, ns=(0, 0)),
}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_other_change_is_seen_too(images: Path, change: str, part: str) -> None:
    before = state(images)
    CHANGES[change](images / part / "cat/a.png")
    assert state(images) != before


def test_what_has_the_size_and_date_of_another_is_still_another_content(images: Path) -> None:
    """Copied with its date: the plan does not see it, the manifest does, so that no stage takes it for the old one."""
    path, split = images / "train/cat/a.bmp", make_split(data(images))
    before, status = state(images), path.stat()
    other = path.with_name("new")
    other.write_bytes(content(".bmp", 90))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert state(images) == before and path.stat().st_size == status.st_size
    assert make_split(data(images))["content"]["train"] != split["content"]["train"]


def test_dvc_sees_an_image_of_every_format(images: Path, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), Repo.init(no_scm=True) as repo:
        repo.run(name="split", cmd="true", deps=["images"])
        assert repo.status() == {}
        for suffix in FORMATS:
            path = images / f"test/dog/a{suffix}"
            kept = path.read_bytes()
            replace(path)
            assert repo.status() == {"split": [{"changed deps": {"images": "modified"}}]}, suffix
            path.write_bytes(kept)
            assert repo.status() == {}


def test_snakemake_makes_the_split_of_a_changed_folder_again(images: Path, fake_tree: FakeTree) -> None:
    own: dict[str, Any] = {"source": "imagefolder", "path": str(images), "image_size": 8, "crop_padding": 0}
    study = yaml.safe_load((fake_tree.root / STUDY).read_text())
    study["scales"]["smoke"]["slots"] = {"cifar10": {"data": own}, "imagenet": None}
    (fake_tree.root / STUDY).write_text(yaml.safe_dump(study))
    folders._state.cache_clear()
    touch(["datasets"], root=fake_tree.root, params=STUDY)
    assert fake_tree.pending("datasets") == set()
    replace(images / "train/dog/a.gif")
    folders._state.cache_clear()
    assert fake_tree.pending("datasets") == {"data"}
