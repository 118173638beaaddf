from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bars.data import load_source
from bars.errors import DataError
from bars.params import DataParams
from tests.blocks import block


def test_pixels_are_those_of_the_bundle() -> None:
    source = load_source(block(DataParams, source="digits", image_size=8))
    bundle = load_digits()
    grey = np.floor(bundle.images * 255 / 16 + 0.5).astype(int)
    assert len(source.train) + len(source.test) == len(bundle.target)
    expected = {(*row.reshape(-1), int(label)) for row, label in zip(grey, bundle.target, strict=True)}
    for dataset in (source.train, source.test):
        images = dataset.load(range(len(dataset)), 8)
        assert images.shape[1:] == (3, 8, 8) and images.dtype == torch.uint8
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
        rows = images[:, 0].flatten(1).int().tolist()
        found = {(*row, label) for row, label in zip(rows, dataset.labels.tolist(), strict=True)}
        assert found <= expected
        expected -= found
    assert not expected


def test_every_class_gives_its_share_to_test() -> None:
    source = load_source(block(DataParams, source="digits", image_size=8, test_fraction=0.25))
    for label in range(10):
        train, test = (int((part.labels == label).sum()) for part in (source.train, source.test))
        assert test == int((train + test) * 0.25 + 0.5)


def test_fewer_classes_are_held_out_alike() -> None:
    """Else an image of the search's train part could be one of the final test."""
    everything = load_source(block(DataParams, source="digits", image_size=8))
    some = load_source(block(DataParams, source="digits", image_size=8, classes=5))
    assert some.classes == ("0", "1", "2", "3", "4")
    for part, whole in ((some.train, everything.train), (some.test, everything.test)):
        kept = (whole.labels < 5).nonzero().squeeze(1).tolist()
        assert torch.equal(part.load(range(len(part)), 8), whole.load(kept, 8))
        assert torch.equal(part.labels, whole.labels[kept])


def test_named_classes_keep_the_order_of_the_source() -> None:
    source = load_source(block(DataParams, source="digits", image_size=8, classes=("7", "1")))
    assert source.classes == ("1", "7")
    assert set(source.train.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"classes": 11}, "at most 10"),
        ({"classes": ("1", "x")}, "unknown class names"),
        ({"classes": ("1", "1", "2")}, "named twice"),
        ({"classes": 1}, "fewer than two classes"),
        ({"classes": ()}, "fewer than two classes"),
        ({"test_fraction": 0.999}, "test_fraction"),
        ({"in_memory": "never"}, "cannot be streamed"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_source(block(DataParams, **{"source": "digits", "image_size": 8, **values}))
