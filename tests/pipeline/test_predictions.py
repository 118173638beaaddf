"""Predictions are written as they were made, and counted by class as a slow loop counts them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bars.errors import RecordError
from bars.pipeline.predictions import Predictions, read_predictions, write_predictions

NAMES = ("cat", "a, dog", "ü", "never seen")


def made(n: int = 500) -> Predictions:
    draws = np.random.default_rng(0)
    return Predictions(draws.integers(0, 3, n), draws.integers(0, 4, n))


def test_they_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_predictions(tmp_path, made(), NAMES)
    back = read_predictions(tmp_path / "predictions.parquet")
    assert back.labels.tolist() == made().labels.tolist()
    assert back.predicted.tolist() == made().predicted.tolist()
    first = (tmp_path / "predictions.parquet").read_bytes()
    write_predictions(tmp_path, made(), NAMES)
    assert (tmp_path / "predictions.parquet").read_bytes() == first


def test_the_confusion_file_counts_every_image_once(tmp_path: Path) -> None:
    predictions = made()
    write_predictions(tmp_path, predictions, NAMES)
    rows = list(csv.DictReader((tmp_path / "confusion.csv").read_text(encoding="utf-8").splitlines()))
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    wanted = Counter((NAMES[label], NAMES[said]) for label, said in pairs)
    assert {(row["label"], row["predicted"]): int(row["images"]) for row in rows} == dict(wanted)


def test_accuracy_by_class_is_the_share_of_its_images() -> None:
    predictions = Predictions(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 0, 3]))
    assert predictions.class_top1(NAMES) == {"cat": pytest.approx(2 / 3), "a, dog": 1.0, "ü": 0.0}
    assert predictions.right.tolist() == [True, True, False, True, False, False]


def test_ten_thousand_images_take_less_than_ten_kilobytes(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(10), 1000)
    wrong = np.random.default_rng(1).random(10_000) < 0.3
    write_predictions(
        tmp_path, Predictions(labels, np.where(wrong, (labels + 1) % 10, labels)), [str(i) for i in labels[::1000]]
    )
    assert (tmp_path / "predictions.parquet").stat().st_size < 10_000


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "not valid Parquet"),
        ("text", "columns of other types"),
        ("gaps", "columns of other types"),
        ("other columns", "other columns"),
        ("negative", "a class is negative"),
    ],
)
def test_a_bad_file_is_one_clear_message(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(tmp_path, made(), NAMES)
    bad = {
        "text": {"label": ["a"], "predicted": ["b"]},
        "gaps": {"label": [1, None], "predicted": [0, 0]},
        "other columns": {"label": [1]},
        "negative": {"label": [-1], "predicted": [0]},
    }
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    else:
        pq.write_table(pa.table(bad[kind]), path)
    with pytest.raises(RecordError, match=said):
        read_predictions(path)
