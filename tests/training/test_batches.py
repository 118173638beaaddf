from __future__ import annotations

import pytest
import torch

from bars.data import Part, Split, make_split, open_part
from bars.errors import ParamsError
from bars.params import DataParams
from bars.training.batches import Batches
from bars.training.parallel import SINGLE, Parallel
from tests.blocks import block

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def part() -> Part:
    params = block(DataParams, source="digits", image_size=8, max_train=80, crop_padding=1)
    return open_part(params, Split.from_json(make_split(params), params), "train+valid")


@pytest.mark.parametrize("size", [1, 7, 40, 80])
def test_an_epoch_has_as_many_whole_batches_as_counted(size: int, part: Part) -> None:
    batches = Batches(part, size, CPU, SINGLE, "retrain.batch_size")
    assert [len(labels) for _, labels in batches.epoch(0, 0)] == [size] * batches.per_epoch
    assert batches.per_epoch == 80 // size


def test_processes_share_each_batch(part: Part) -> None:
    (whole, *_), *halves = (
        list(Batches(part, 8, CPU, parallel, "retrain.batch_size").epoch(1, 2))
        for parallel in (SINGLE, Parallel(0, 2), Parallel(1, 2))
    )
    assert torch.equal(whole[0], torch.cat([half[0][0] for half in halves]))


def test_sizes_that_cannot_be_are_refused_with_their_parameter(part: Part) -> None:
    with pytest.raises(ParamsError, match=r"search\.batch_size[\s\S]*81, with 80 images[\s\S]*at most 80"):
        Batches(part, 81, CPU, SINGLE, "search.batch_size")
    with pytest.raises(ParamsError, match=r"retrain\.batch_size[\s\S]*a multiple of 2"):
        Batches(part, 5, CPU, Parallel(0, 2), "retrain.batch_size")
