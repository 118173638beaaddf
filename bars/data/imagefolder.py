"""A folder of class folders: path/train/<class>/*.jpg and path/test (or val)/<class>/*.jpg."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bars.data.images import SUFFIXES, read_images
from bars.data.sources import Dataset, Source, choose_classes, dataset_label, listing
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams

TEST_FOLDERS = ("test", "val")
_LAYOUT = "path/train/<class>/<image> and path/test/<class>/<image> (or path/val/...)"


class FolderDataset(Dataset):
    """Image files sorted by class and name; ``files`` are paths relative to ``root``, ``sizes`` in bytes."""

    def __init__(
        self, label: str, classes: tuple[str, ...], labels: Tensor, root: Path, files: list[str], sizes: list[int]
    ) -> None:
        super().__init__(label, classes, labels)
        self.root, self.files, self.sizes = root, files, sizes

    def paths(self, indices: Sequence[int]) -> list[Path]:
        """Files of the indices."""
        return [self.root / self.files[i] for i in indices]

    def load(self, indices: Sequence[int], image_size: int) -> Tensor:
        """Decoded, cut to the central square and resized with antialias."""
        return read_images(self.paths(indices), image_size)

    def fingerprint(self, indices: Sequence[int]) -> str:
        """Over class names, labels, relative paths and file sizes; no image is opened."""
        digest, chosen = self._start_fingerprint(indices)
        for i in chosen.tolist():
            digest.update(f"{self.files[i]}\0{self.sizes[i]}\n".encode())
        return digest.hexdigest()


def open_folder(params: DataParams) -> Source:
    """Find the classes now, and list the files of a part when it is asked for."""
    if params.path is None:
        raise DataError("no folder is given", where="data.path", do=f"set data.path; it must hold {_LAYOUT}")
    root = Path(params.path).expanduser()
    _require_folder(root)
    present = _class_folders(root / "train")
    chosen = choose_classes(present, params.classes, str(root / "train"))
    label = dataset_label(params)

    def open_test() -> Dataset:
        return _list_files(label, root, _test_folder(root, present, chosen, params.classes is None), chosen)

    return Source(chosen, lambda: _list_files(label, root, "train", chosen), open_test)


def _require_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.exists():
        raise DataError("this is a file, not a folder", where=str(folder), do="unpack it and give the folder")
    raise DataError(
        "there is no such folder", where=str(folder), allowed=_LAYOUT, do="put the images there, or change data.path"
    )


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            "a folder cannot be read", where=str(folder), got=str(error), do="mend its permissions"
        ) from error


def _class_folders(folder: Path) -> tuple[str, ...]:
    _require_folder(folder)
    names = tuple(_subfolders(folder))
    if names:
        return names
    flat = sum(1 for _ in _walk(folder, folder))
    raise DataError(
        "there are no class folders",
        where=str(folder),
        got=f"{flat} images without class folders" if flat else "an empty folder",
        allowed=_LAYOUT,
        do="sort the images into one folder per class",
    )


def _test_folder(root: Path, present: tuple[str, ...], chosen: tuple[str, ...], exact: bool) -> str:
    """The first of test and val whose class folders fit those of train; with ``exact`` it may have no others."""
    found = [name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not found:
        raise DataError(
            "there is no test folder",
            where=str(root),
            got=listing(_subfolders(root)),
            allowed="test or val beside train",
            do="add one with the same class folders as train",
        )
    problems = {name: _difference(root / name, present, chosen, exact) for name in found}
    for name, problem in problems.items():
        if problem is None:
            return name
    raise next(problem for problem in problems.values() if problem is not None)


def _difference(folder: Path, present: tuple[str, ...], chosen: tuple[str, ...], exact: bool) -> DataError | None:
    try:
        found = _class_folders(folder)
    except DataError as error:
        return error
    missing = sorted(set(chosen) - set(found))
    extra = sorted(set(found) - set(present)) if exact else []
    if not missing and not extra:
        return None
    parts = [f"missing: {listing(missing)}"] * bool(missing) + [f"not in train: {listing(extra)}"] * bool(extra)
    return DataError(
        "the class folders differ from those of train",
        where=str(folder),
        got="; ".join(parts),
        do="give both the same class folders, or name the common ones in data.classes",
    )


def _walk(top: Path, root: Path) -> list[tuple[str, int]]:
    """(path relative to root, bytes) of the image files below ``top``, sorted; hidden files are passed over."""

    def refuse(error: OSError) -> None:
        raise error

    found = []
    prefix = len(str(root)) + 1
    for folder, subfolders, names in os.walk(top, onerror=refuse, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = os.path.join(folder, name)
                found.append((path[prefix:], os.stat(path).st_size))
    return sorted(found)


def _list_files(label: str, root: Path, part: str, classes: tuple[str, ...]) -> FolderDataset:
    files: list[str] = []
    sizes: list[int] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        folder = root / part / name
        try:
            members = _walk(folder, root)
        except OSError as error:
            raise DataError(
                "a class folder cannot be read",
                where=str(folder),
                got=str(error),
                do="mend the file or its permissions",
            ) from error
        if not members:
            raise DataError(
                "a class folder holds no images",
                where=str(folder),
                allowed=f"files that end in {', '.join(SUFFIXES)}",
                do="add images, delete the folder in both parts, or leave the class out in data.classes",
            )
        files += [path for path, _ in members]
        sizes += [size for _, size in members]
        labels += [number] * len(members)
    return FolderDataset(label, classes, torch.tensor(labels, dtype=torch.int64), root, files, sizes)
