"""scikit-learn's handwritten digits: 1,797 real 8x8 images that need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bars.data.sources import ArrayDataset, Dataset, Source, choose_classes, restrict
from bars.data.stratify import group_by_class, share, shuffled
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams

CLASSES = tuple("0123456789")
_BRIGHTEST = 16  # pixel values of the bundle are counts 0..16


def open_digits(params: DataParams) -> Source:
    """Grey digits as three equal channels 0..255; each class gives ``test_fraction`` of its images to the test part."""
    counts, digits = _read_bundle()
    grey = counts.mul(255 / _BRIGHTEST).round_().to(torch.uint8)
    pixels = grey[:, None].expand(-1, 3, -1, -1)  # [N, 3, 8, 8]
    chosen = choose_classes(CLASSES, params.classes, "digits")
    labels, pixels = restrict(CLASSES, chosen, digits, pixels)
    train, test = _hold_out(labels, chosen, params)

    def part(indices: Tensor) -> Dataset:
        return ArrayDataset(params.name, chosen, labels[indices], pixels[indices])

    return Source(chosen, lambda: part(train), lambda: part(test))


def _read_bundle() -> tuple[Tensor, Tensor]:
    """Pixels [1797, 8, 8] and digits [1797] of ``sklearn.datasets.load_digits``, from the file that it reads.

    Importing sklearn.datasets would cost every job of the smoke scale a second or more.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("scikit-learn, whose digits these are, is not installed", do="pip install scikit-learn")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float32))
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].to(torch.int64)


def _hold_out(labels: Tensor, classes: tuple[str, ...], params: DataParams) -> tuple[Tensor, Tensor]:
    train: list[int] = []
    test: list[int] = []
    for name, members in zip(classes, group_by_class(labels.tolist(), len(classes)), strict=True):
        count = share(len(members), params.test_fraction)
        if not 1 <= count < len(members):
            raise DataError(
                "no image is left on one side of test_fraction",
                where=f"digits, class {name} ({len(members)} images)",
                got=f"data.test_fraction: {params.test_fraction}",
                do="choose a fraction nearer to 0.2",
            )
        order = shuffled(members, params.split_seed, "digits-test", name)
        test += order[:count]
        train += order[count:]
    return torch.tensor(sorted(train)), torch.tensor(sorted(test))
