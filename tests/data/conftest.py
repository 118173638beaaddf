"""Image folders and a small stand-in for CIFAR-10's files."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bars.data import manifest
from bars.params import DataParams
from tests.blocks import block

Counts = dict[str, dict[str, int]]


@pytest.fixture(autouse=True)
def _own_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MANIFESTS", tmp_path / "manifests")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """make_folder({"train": {"cat": 4}}, size=(w, h)) -> root; PNG files of random colours, so nothing is lost."""

    def make(counts: Counts, size: tuple[int, int] = (12, 12), name: str = "images") -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for part, classes in counts.items():
            for label, count in classes.items():
                folder = root / part / label
                folder.mkdir(parents=True)
                for i in range(count):
                    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i:03d}.png")
        return root

    return make


@pytest.fixture
def folder_params() -> Callable[..., DataParams]:
    def make(root: Path, **values: Any) -> DataParams:
        return block(DataParams, **{"source": "imagefolder", "path": str(root), "image_size": 12, **values})

    return make


class TinyCifar:
    """CIFAR-10's files with 20 images each; ``pixels[name]`` and ``labels[name]`` say what is inside."""

    def __init__(self, folder: Path) -> None:
        self.pixels: dict[str, Any] = {}
        self.labels: dict[str, list[int]] = {}
        self.md5: dict[str, str] = {}
        base = folder / "cifar-10-batches-py"
        base.mkdir(parents=True)
        rng = np.random.default_rng(1)
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            self.pixels[name] = rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
            self.labels[name] = rng.permutation(np.arange(20) % 10).tolist()
            content = pickle.dumps({"data": self.pixels[name].reshape(20, -1), "labels": self.labels[name]})
            (base / name).write_bytes(content)
            self.md5[name] = hashlib.md5(content).hexdigest()
        self.archive = folder / "cifar-10-python.tar.gz"
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.add(base, base.name)
        self.archive_md5 = hashlib.md5(self.archive.read_bytes()).hexdigest()
        self.base = base


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine for the files in tmp_path/published."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "published"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> TinyCifar:
    """A published CIFAR-10 of 120 images: addresses and checksums of torchvision point to it."""
    from torchvision.datasets import CIFAR10

    tiny = TinyCifar(tmp_path / "published")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", f"{server}/{tiny.archive.name}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", tiny.archive_md5)
    monkeypatch.setattr(CIFAR10, "train_list", [(name, md5) for name, md5 in tiny.md5.items() if "data" in name])
    monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", tiny.md5["test_batch"])])
    return tiny
