"""CIFAR-10 as its authors publish it (the "python version"), checked against torchvision's checksums."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bars.data.sources import ArrayDataset, Dataset, Source, choose_classes, data_root, restrict
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams

# In the order of the labels 0..9.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIZE = 32

Checksums = Sequence[tuple[str, str]]


def open_cifar10(params: DataParams) -> Source:
    """50,000 train and 10,000 test images; unpacked or downloaded into ``data.path`` when they are not there yet."""
    if params.path is None:
        raise DataError("no folder is given", where="data.path", do="set data.path to where CIFAR-10 is, or shall go")
    root = data_root(params.path)
    chosen = choose_classes(CLASSES, params.classes, "cifar10")

    def part(checksums: Checksums) -> Dataset:
        labels, pixels = _read(_obtain(root, checksums, params.download), checksums)
        return ArrayDataset(params.name, chosen, *restrict(CLASSES, chosen, labels, pixels))

    published = _published()
    return Source(chosen, lambda: part(published.train_list), lambda: part(published.test_list))


def _published() -> Any:
    """The CIFAR10 class of torchvision, for its address, file names and checksums."""
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped, unused-ignore]

    return CIFAR10


def _obtain(root: Path, checksums: Checksums, download: bool) -> Path:
    """The folder with intact batch files: found, else unpacked from the archive, else downloaded."""
    published = _published()
    folder = root if (root / checksums[0][0]).is_file() else root / published.base_folder
    if _damaged(folder, checksums) is None:
        return folder
    archive = root / published.filename
    if not download and not archive.is_file():
        raise _missing(root, folder, checksums)
    with _locked(root):  # two data sets of one grid may ask for the same archive at the same time
        if _damaged(folder, checksums) is not None:
            _unpack(archive, published, download)
    damaged = _damaged(folder, checksums)
    if damaged is not None:
        raise DataError(
            "a file of CIFAR-10 is damaged or missing",
            where=str(folder / damaged),
            do="delete the folder and run again",
        )
    return folder


def _damaged(folder: Path, checksums: Checksums) -> str | None:
    """The first file that is missing or not as published."""
    from torchvision.datasets.utils import check_integrity  # type: ignore[import-untyped, unused-ignore]

    return next((name for name, md5 in checksums if not check_integrity(folder / name, md5)), None)


def _missing(root: Path, folder: Path, checksums: Checksums) -> DataError:
    published = _published()
    if folder.is_dir():
        return DataError(
            "a file of CIFAR-10 is damaged or missing",
            where=str(folder / (_damaged(folder, checksums) or "")),
            do=f"delete {folder} and put {published.filename} into {root}, or set data.download: true",
        )
    return DataError(
        "CIFAR-10 is not here",
        where=str(root),
        allowed=f"{published.filename} (md5 {published.tgz_md5}) or {published.base_folder}/ in that folder",
        do=f"set data.download: true, or fetch {published.url} into that folder by hand",
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone; the lock goes with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(
            "the folder cannot be used", where=str(folder), got=str(error), do="change data.path"
        ) from error
    try:
        with suppress(OSError):  # a file system without locks: go on without
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unpack(archive: Path, published: Any, download: bool) -> None:
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive

    if not check_integrity(archive, published.tgz_md5):
        if not download:
            raise DataError(
                "the archive is truncated or altered",
                where=str(archive),
                allowed=f"md5 {published.tgz_md5}",
                do=f"delete it and fetch {published.url} again, or set data.download: true",
            )
        try:
            download_url(published.url, str(archive.parent), archive.name, published.tgz_md5)
        except Exception as error:  # urllib, http.client and a wrong checksum have no class in common
            raise DataError(
                "CIFAR-10 cannot be downloaded",
                where=published.url,
                got=f"{type(error).__name__}: {error}",
                do=f"check the network, or put the archive (md5 {published.tgz_md5}) at {archive} by hand",
            ) from error
    try:
        extract_archive(str(archive), str(archive.parent))
    except OSError as error:
        raise DataError(
            "the archive cannot be unpacked", where=str(archive), got=str(error), do="check space and permissions"
        ) from error


def _read(folder: Path, checksums: Checksums) -> tuple[Tensor, Tensor]:
    """Labels int64 [N] and pixels uint8 [N, 3, 32, 32]. Unpickles only files whose checksum was just verified."""
    labels: list[int] = []
    blocks = []
    for name, _ in checksums:
        with open(folder / name, "rb") as file:
            entry = pickle.load(file, encoding="latin1")
        blocks.append(np.asarray(entry["data"], dtype=np.uint8).reshape(-1, 3, _SIZE, _SIZE))
        labels += entry["labels"]
    return torch.tensor(labels, dtype=torch.int64), torch.from_numpy(np.concatenate(blocks))
