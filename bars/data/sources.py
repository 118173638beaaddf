"""Where images come from: a source has a train and a test part, and opens each only when asked for it."""

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bars.data import images
from bars.errors import DataError

GIB = 2**30


class Dataset(ABC):
    """Labelled images of one part of a source, restricted to its classes; ``labels`` is int64 [N]."""

    def __init__(self, label: str, classes: tuple[str, ...], labels: Tensor) -> None:
        self.label, self.classes, self.labels = label, classes, labels

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def load(self, indices: Sequence[int], image_size: int) -> Tensor:
        """uint8 [n, 3, image_size, image_size] in the order of the indices."""

    @abstractmethod
    def fingerprint(self, indices: Sequence[int]) -> str:
        """sha256 over what the indices stand for, their order left out."""

    def counts(self) -> dict[str, Any]:
        """How many images there are of each class, and which files were passed over: reason -> count and first one."""
        each = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        return {"read": len(self), "classes": dict(zip(self.classes, each, strict=True)), "skipped": {}}

    def _start_fingerprint(self, indices: Sequence[int]) -> tuple[hashlib._Hash, Tensor]:
        chosen = torch.tensor(sorted(indices), dtype=torch.int64)
        digest = hashlib.sha256("\0".join(self.classes).encode())
        digest.update(self.labels[chosen].numpy().tobytes())
        return digest, chosen


class ArrayDataset(Dataset):
    """Images held in memory at their own size: uint8 [N, 3, h, h]."""

    def __init__(self, label: str, classes: tuple[str, ...], labels: Tensor, pixels: Tensor) -> None:
        super().__init__(label, classes, labels)
        self.pixels = pixels

    def load(self, indices: Sequence[int], image_size: int) -> Tensor:
        """Chosen images, resized with antialias."""
        return images.resize(self.pixels[torch.as_tensor(indices, dtype=torch.int64)], image_size)

    def fingerprint(self, indices: Sequence[int]) -> str:
        """Over class names, labels and pixels at the source's own size."""
        digest, chosen = self._start_fingerprint(indices)
        digest.update(str(tuple(self.pixels.shape[1:])).encode())
        for block in torch.split(chosen, 4096):
            digest.update(self.pixels[block].contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """Two parts, each opened when it is first read; a label is a position in ``classes``."""

    classes: tuple[str, ...]
    open_train: Callable[[], Dataset]
    open_test: Callable[[], Dataset]

    @cached_property
    def train(self) -> Dataset:
        """The part that train and valid are cut from, opened now."""
        return self.open_train()

    @cached_property
    def test(self) -> Dataset:
        """The test part, opened now."""
        return self.open_test()


def data_root(path: str) -> Path:
    """The folder that ``data.path`` names, a home in it resolved. Raises DataError."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DataError("there is no such home folder", where=path, do="change data.path") from None


def choose_classes(present: tuple[str, ...], wanted: int | tuple[str, ...] | None, where: str) -> tuple[str, ...]:
    """The first N classes, the named ones, or all; always in the source's order."""
    if isinstance(wanted, int):
        if wanted > len(present):
            raise DataError(
                "more classes are asked for than there are",
                where=where,
                got=f"data.classes: {wanted}",
                allowed=f"at most {len(present)}",
                do="lower data.classes",
            )
        chosen = present[:wanted]
    elif wanted is None:
        chosen = present
    else:
        _refuse_unknown(present, wanted, where)
        chosen = tuple(name for name in present if name in set(wanted))
    if len(chosen) < 2:
        raise DataError("fewer than two classes", where=where, got=", ".join(chosen) or "none", do="give two or more")
    return chosen


def _refuse_unknown(present: tuple[str, ...], wanted: tuple[str, ...], where: str) -> None:
    known = set(present)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        near = [match for name in unknown for match in difflib.get_close_matches(name, present, n=1)]
        raise DataError(
            "unknown class names",
            where=where,
            got=", ".join(unknown),
            allowed=listing(present),
            do=f"correct data.classes (did you mean {', '.join(near)}?)" if near else "correct data.classes",
        )
    if len(set(wanted)) < len(wanted):
        raise DataError("a class is named twice", where="data.classes", got=", ".join(wanted), do="name it once")


def listing(names: Sequence[str], limit: int = 10) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text}, ... ({len(names)} in all)"


def restrict(
    all_classes: tuple[str, ...], chosen: tuple[str, ...], labels: Tensor, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Labels and pixels of the chosen classes, the labels counted in ``chosen``."""
    if chosen == all_classes:
        return labels, pixels
    renumbered = torch.tensor([chosen.index(name) if name in chosen else -1 for name in all_classes])[labels]
    kept = renumbered >= 0
    return renumbered[kept], pixels[kept]


def memory_needed(count: int, image_size: int) -> int:
    """Bytes of ``count`` uint8 images."""
    return count * 3 * image_size**2
