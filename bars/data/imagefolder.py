"""A folder of class folders: path/train/<class>/*.jpg and path/test (or val)/<class>/*.jpg."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bars.data.images import SUFFIXES, read_images
from bars.data.manifest import hash_images
from bars.data.sources import Dataset, Source, choose_classes, data_root, listing
from bars.data.walk import Listing, identity, list_images, readable
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams

TEST_FOLDERS = ("test", "val")
_LAYOUT = "path/train/<class>/<image> and path/test/<class>/<image> (or path/val/...)"


class FolderDataset(Dataset):
    """Image files sorted by class and name; ``files`` are paths relative to ``root``."""

    def __init__(self, label: str, classes: tuple[str, ...], labels: Tensor, root: Path, found: Listing) -> None:
        super().__init__(label, classes, labels)
        self.root, self.files, self.skipped = root, [path for path, _ in found.images], found.skipped

    def paths(self, indices: Sequence[int]) -> list[Path]:
        """Files of the indices."""
        return [self.root / self.files[i] for i in indices]

    def load(self, indices: Sequence[int], image_size: int) -> Tensor:
        """Decoded, cut to the central square and resized with antialias."""
        return read_images(self.paths(indices), image_size)

    def hashes(self, indices: Sequence[int]) -> list[str]:
        """sha256 of the files; a file that is new or changed is read, and a DataError names it if it is no image."""
        return hash_images(self.root, [self.files[i] for i in indices])

    def fingerprint(self, indices: Sequence[int]) -> str:
        """Over class names, labels, relative paths and the files' bytes."""
        digest, chosen = self._start_fingerprint(indices)
        for i, sha256 in zip(chosen.tolist(), self.hashes(chosen.tolist()), strict=True):
            digest.update(os.fsencode(self.files[i]) + f"\0{sha256}\n".encode())
        return digest.hexdigest()

    def counts(self) -> dict[str, Any]:
        """Images of each class, and what was passed over."""
        skipped = {reason: {"count": s.count, "first": s.first} for reason, s in sorted(self.skipped.items())}
        return {**super().counts(), "skipped": skipped}


def open_folder(params: DataParams) -> Source:
    """Find the classes now, and list the files of a part when it is asked for."""
    if params.path is None:
        raise DataError("no folder is given", where="data.path", do=f"set data.path; it must hold {_LAYOUT}")
    root = data_root(params.path)
    _require_folder(root)
    present = _class_folders(root / "train")
    chosen = choose_classes(present, params.classes, str(root / "train"))
    label = params.name

    def open_test() -> Dataset:
        return _list_files(label, root, _test_folder(root, present, chosen, params.classes is None), chosen)

    return Source(chosen, lambda: _list_files(label, root, "train", chosen), open_test)


def _require_folder(folder: Path) -> None:
    try:
        is_folder, exists = folder.is_dir(), folder.exists()
    except OSError as error:  # no right to look, or a name too long
        raise DataError("a folder cannot be read", where=str(folder)[:200], got=error.strerror) from None
    if is_folder:
        return
    if exists:
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
    for name in names:
        if readable(name) != name:  # it goes into every record, as text
            raise DataError("a class folder's name is not UTF-8", where=readable(folder / name), do="rename it")
    if names:
        return names
    flat = len(list_images(folder, folder, Listing()))
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


def _list_files(label: str, root: Path, part: str, classes: tuple[str, ...]) -> FolderDataset:
    top, found = root / part, Listing()
    labels: list[int] = []
    folders = [root, top, *(top / name for name in _subfolders(top))]
    _refuse_one_folder_twice([top / name for name in classes])
    _skip_outside(top, part, found)
    for number, name in enumerate(classes):
        folder = top / name
        try:
            members = list_images(folder, root, found, elsewhere=folders)
        except OSError as error:
            raise DataError(
                "a class folder cannot be read",
                where=str(folder),
                got=str(error),
                do="mend the file or its permissions",
            ) from error
        if not members:
            skipped = [reason for reason, s in found.skipped.items() if s.first.startswith(f"{part}/{name}/")]
            raise DataError(
                "a class folder holds no images",
                where=str(folder),
                got="; ".join(skipped) or "an empty folder",
                allowed=f"files that end in {', '.join(SUFFIXES)}",
                do="add images, delete the folder in both parts, or leave the class out in data.classes",
            )
        labels += [number] * len(members)
    _refuse_empty_files(root, found)
    return FolderDataset(label, classes, torch.tensor(labels, dtype=torch.int64), root, found)


def _refuse_one_folder_twice(folders: list[Path]) -> None:
    first: dict[tuple[int, int], Path] = {}
    for folder in folders:
        other = first.setdefault(identity(folder), folder)
        if other is not folder:
            do = "remove the link, or leave one of the classes out in data.classes"
            raise DataError("two classes are one folder", where=str(folder), got=f"a link to {other.resolve()}", do=do)


def _skip_outside(top: Path, part: str, found: Listing) -> None:
    """Count files beside the class folders."""
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        if not entry.is_dir():
            found.skip("hidden" if entry.name.startswith(".") else "in no class folder", f"{part}/{entry.name}")


def _refuse_empty_files(root: Path, found: Listing) -> None:
    empty = [str(root / path) for path, size in found.images if size == 0]
    if empty:
        where, got = listing(empty, 5), f"{len(empty)} of {len(found.images)} files"
        raise DataError("image files of zero bytes", where=where, got=got, do="copy them again, or delete them")
