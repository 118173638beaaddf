from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bars.data.augment import Augmentation, Draws, boxes, crop, draw_epoch, resized_crop
from bars.errors import DataError
from bars.params import DataParams
from tests.blocks import block


def stored(n: int, size: int, padding: int) -> tuple[Tensor, Tensor]:
    """Images [N, S, S, 3] and the same with black borders, as a part stores them."""
    images = torch.randint(1, 256, (n, size, size, 3), dtype=torch.uint8)
    return images, functional.pad(images, (0, 0, padding, padding, padding, padding)).contiguous()


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [8, 13])
def test_crops_equal_those_cut_one_by_one(padding: int, flip: bool, size: int) -> None:
    images, padded = stored(40, size, padding)
    draws = draw_epoch(40, Augmentation(padding, flip), True, seed=3, epoch=1, part="train")
    crops = crop(padded, draws, size, padding)
    for n, index in enumerate(draws.order.tolist()):
        expected = np.pad(images[index].numpy(), ((padding, padding), (padding, padding), (0, 0)))
        top, left = draws.offset[n].tolist() if draws.offset is not None else (padding, padding)
        expected = expected[top : top + size, left : left + size]
        if draws.flip is not None and draws.flip[n]:
            expected = expected[:, ::-1]
        assert np.array_equal(crops[n].numpy(), expected)


def test_without_augmentation_padding_is_cut_off() -> None:
    images, padded = stored(10, 8, 2)
    draws = draw_epoch(10, None, False, seed=0, epoch=0, part="test")
    assert torch.equal(crop(padded, draws, 8, 2), images)


def test_repeated_indices_and_part_of_the_draws() -> None:
    images, padded = stored(5, 8, 1)
    draws = Draws(torch.tensor([4, 4, 0]), torch.tensor([True, False, True]), torch.tensor([[1, 1], [1, 1], [1, 1]]))
    crops = crop(padded, draws, 8, 1)
    assert torch.equal(crops[0], images[4].flip(1)) and torch.equal(crops[1], images[4])
    assert torch.equal(crop(padded, draws.take(slice(2, 3)), 8, 1)[0], images[0].flip(1))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("size", "smallest"), [(8, 0.08), (32, 0.08), (33, 0.5), (4, 1.0)])
def test_resized_crops_equal_those_made_one_by_one(flip: bool, size: int, smallest: float) -> None:
    images = torch.randint(0, 256, (30, size, size, 3), dtype=torch.uint8)
    draws = draw_epoch(30, Augmentation(0, flip, smallest), True, seed=0, epoch=0, part="train")
    assert draws.box is not None
    crops = resized_crop(images, draws, size, smallest)
    assert crops.dtype == torch.float32 and crops.is_contiguous()
    for n, (left, top, width, height) in enumerate(boxes(draws.box, size, size, smallest).tolist()):
        cut = images[draws.order[n], top : top + height, left : left + width].permute(2, 0, 1)[None].float()
        expected = functional.interpolate(cut, (size, size), mode="bilinear", align_corners=False)[0]
        if draws.flip is not None and draws.flip[n]:
            expected = expected.flip(2)
        assert (crops[n].permute(2, 0, 1) - expected).abs().max() < 0.01  # of 255


@pytest.mark.parametrize(("width", "height"), [(32, 32), (500, 375), (100, 10), (7, 300), (1, 1)])
def test_boxes_lie_inside_and_have_the_drawn_area_and_a_moderate_ratio(width: int, height: int) -> None:
    uniform = torch.rand(5000, 4)
    left, top, box_width, box_height = boxes(uniform, width, height, 0.08).double().unbind(1)
    assert (left >= 0).all() and (top >= 0).all() and (box_width >= 1).all() and (box_height >= 1).all()
    assert (left + box_width <= width).all() and (top + box_height <= height).all()
    area = (0.08 + 0.92 * uniform[:, 0].double()) * width * height
    error = (box_width * box_height - area).abs()
    assert (error <= 0.5 * (box_width + box_height) + 0.5).all()  # half a pixel of rounding on each side
    if width == height == 32:
        ratio = box_width / box_height
        big = box_height >= 10
        assert 0.68 < float(ratio[big].min()) < 0.8 and 1.25 < float(ratio[big].max()) < 1.47


def test_boxes_reach_every_place_and_their_ends_are_exact() -> None:
    ends = torch.tensor([[0.0, 0.5, 0.0, 0.0], [0.0, 0.5, 1 - 2**-24, 1 - 2**-24], [1.0, 0.5, 0.5, 0.5]])
    assert boxes(ends, 32, 32, 0.25).tolist() == [[0, 0, 16, 16], [16, 16, 16, 16], [0, 0, 32, 32]]
    places = Counter(boxes(torch.cat([torch.zeros(20000, 2), torch.rand(20000, 2)], 1), 8, 8, 0.5)[:, 0].tolist())
    assert min(places.values()) > 0.9 * max(places.values())  # left edges are uniform


def test_ratio_is_symmetric_about_a_square() -> None:
    uniform = torch.rand(20000, 4)
    uniform[:, 0] = 0.1
    box = boxes(uniform, 224, 224, 0.08).double()
    assert abs(float((box[:, 2] / box[:, 3]).log().mean())) < 0.01


def test_draws_are_uniform() -> None:
    draws = draw_epoch(8000, Augmentation(2, True), True, seed=0, epoch=0, part="train")
    assert draws.flip is not None and draws.offset is not None
    assert abs(float(draws.flip.float().mean()) - 0.5) < 0.02
    counts = Counter(map(tuple, draws.offset.tolist()))
    assert len(counts) == 25 and max(counts.values()) < 8000 / 25 * 1.3
    assert sorted(draws.order.tolist()) == list(range(8000))


def test_draws_depend_on_seed_epoch_and_part_and_on_nothing_else() -> None:
    def key(seed: int, epoch: int, part: str) -> tuple[int, ...]:
        draws = draw_epoch(50, Augmentation(2, True), True, seed, epoch, part)
        assert draws.flip is not None and draws.offset is not None
        return (*draws.order.tolist(), *draws.flip.tolist(), *draws.offset.flatten().tolist())

    torch.manual_seed(1)
    first = key(0, 0, "train")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert key(0, 0, "train") == first
    assert torch.equal(torch.get_rng_state(), state)
    assert len({first, key(1, 0, "train"), key(0, 1, "train"), key(0, 0, "valid"), key(2**62, 0, "train")}) == 5


def test_padding_and_resized_crop_together_are_refused() -> None:
    with pytest.raises(DataError, match="two ways to crop"):
        Augmentation.from_params(block(DataParams, source="digits", image_size=8, crop_padding=1, resized_crop=0.5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_crops() -> None:
    _, padded = stored(500, 32, 4)
    draws = draw_epoch(500, Augmentation(4, True), True, seed=0, epoch=0, part="train")
    assert torch.equal(crop(padded.cuda(), draws, 32, 4).cpu(), crop(padded, draws, 32, 4))
    images = padded[:, 4:36, 4:36].contiguous()
    draws = draw_epoch(500, Augmentation(0, True, 0.08), True, seed=0, epoch=0, part="train")
    difference = resized_crop(images.cuda(), draws, 32, 0.08).cpu() - resized_crop(images, draws, 32, 0.08)
    assert difference.abs().max() < 0.02
