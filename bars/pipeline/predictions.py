"""What a network said of every test image: evaluate's predictions.parquet and, counted by class, its confusion.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bars.errors import RecordError
from bars.pipeline import formats
from bars.pipeline.files import atomic_write

PREDICTIONS, CONFUSION = "predictions.parquet", "confusion.csv"
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """True and predicted class of each test image [N], as positions in the split's classes, in the split's order."""

    labels: Classes
    predicted: Classes

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images were classified correctly [N]."""
        return np.equal(self.labels, self.predicted)

    @property
    def top1(self) -> float:
        """Accuracy, a fraction."""
        return int(self.right.sum()) / len(self.labels)

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """Images by true class (row) and predicted class (column) [C, C]."""
        return np.bincount(self.labels * classes + self.predicted, minlength=classes**2).reshape(classes, classes)

    def class_top1(self, names: Sequence[str]) -> dict[str, float]:
        """Accuracy of each class that has test images."""
        counts = self.confusion(len(names))
        return {
            name: float(counts[i, i] / total)
            for i, (name, total) in enumerate(zip(names, counts.sum(1), strict=True))
            if total
        }


def write_predictions(folder: Path, predictions: Predictions, names: Sequence[str]) -> None:
    """Write both files into evaluate's folder; some ten kilobytes for ten thousand images."""
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    atomic_write(folder / PREDICTIONS, formats.parquet({"label": "int16", "predicted": "int16"}, pairs))
    counts = predictions.confusion(len(names))
    rows = ({"label": names[i], "predicted": names[j], "images": counts[i, j]} for i, j in np.argwhere(counts))
    atomic_write(folder / CONFUSION, formats.csv_text(("label", "predicted", "images"), rows))


def read_predictions(path: Path) -> Predictions:
    """evaluate/predictions.parquet. Raises RecordError."""
    rows = np.array(list(formats.read_parquet(path, {"label": int, "predicted": int})), np.int64).reshape(-1, 2)
    if (rows < 0).any():
        raise RecordError("a class is negative", where=str(path), do=formats.AGAIN)
    return Predictions(rows[:, 0], rows[:, 1])
