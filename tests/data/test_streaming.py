from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bars.data import Batch, Part, Split, make_split, open_part
from bars.data import streaming as streaming_module
from bars.data.augment import Augmentation, boxes, draw_epoch
from bars.data.streaming import StreamedPart
from bars.errors import DataError, DeviceError
from bars.params import DataParams

Make = Callable[..., Path]
Params = Callable[..., DataParams]
COUNTS = {"train": {"cat": 10, "dog": 12}, "val": {"cat": 3, "dog": 3}}


def opened(params: DataParams, **values: Any) -> Part:
    params = params.model_copy(update=values)
    return open_part(params, Split.from_json(make_split(params), params), "train+valid")


def epoch(part: Part, **values: Any) -> list[Batch]:
    options = {"device": "cpu", "augment": True, "seed": 0, "epoch": 2, "drop_last": False, **values}
    return list(part.batches(8, **options))


def assert_same(a: list[Batch], b: list[Batch]) -> None:
    assert len(a) == len(b)
    for (images, labels), (others, other_labels) in zip(a, b, strict=True):
        assert torch.equal(images, others) and torch.equal(labels, other_labels)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("size", [(12, 12), (30, 17)])
def test_streamed_and_held_images_are_equal(
    make_folder: Make, folder_params: Params, augment: bool, size: tuple[int, int]
) -> None:
    params = folder_params(make_folder(COUNTS, size=size), crop_padding=2, flip=True, workers=0)
    held, streamed = opened(params), opened(params, in_memory="never")
    assert isinstance(streamed, StreamedPart)
    assert_same(epoch(held, augment=augment), epoch(streamed, augment=augment))
    options = {"augment": augment, "rank": 1, "world_size": 3, "drop_last": True}
    assert_same(epoch(held, **options), epoch(streamed, **options))


@pytest.mark.parametrize("resized_crop", [None, 0.1])
def test_the_number_of_workers_and_the_global_generator_change_nothing(
    make_folder: Make, folder_params: Params, resized_crop: float | None
) -> None:
    params = folder_params(make_folder(COUNTS), flip=True, resized_crop=resized_crop, in_memory="never")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    alone = epoch(opened(params, workers=0))
    shared = epoch(opened(params, workers=2))
    assert torch.equal(state, torch.get_rng_state())
    assert_same(alone, shared)
    for images, labels in shared:
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_resized_crops_are_cut_from_the_whole_file(make_folder: Make, folder_params: Params) -> None:
    root = make_folder(COUNTS, size=(40, 25))
    params = folder_params(root, flip=True, resized_crop=0.2, in_memory="never", workers=0)
    split = Split.from_json(make_split(params), params)
    part = open_part(params, split, "train")
    images = torch.cat([batch[0] for batch in epoch(part)])
    mean, std = torch.tensor(part.channel_mean), torch.tensor(part.channel_std)
    draws = draw_epoch(part.size, Augmentation(0, True, 0.2), True, 0, 2, "train")
    files = sorted((root / "train").rglob("*.png"))
    assert draws.box is not None and draws.flip is not None
    for n, (left, top, width, height) in enumerate(boxes(draws.box, 40, 25, 0.2).tolist()):
        image = Image.open(files[split.train[int(draws.order[n])]])
        cut = image.crop((left, top, left + width, top + height)).resize((12, 12), Image.Resampling.BILINEAR)
        pixels: Tensor = torch.from_numpy(np.array(cut))
        if draws.flip[n]:
            pixels = pixels.flip(1)
        assert ((images[n].permute(1, 2, 0) * std + mean) * 255 - pixels).abs().max() < 1e-3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_named(make_folder: Make, folder_params: Params, workers: int) -> None:
    root = make_folder(COUNTS)
    params = folder_params(root, in_memory="never", workers=workers)
    part = opened(params)
    broken = root / "train" / "dog" / "004.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError) as caught:
        epoch(part)
    assert caught.value.where == str(broken) and "Traceback" not in str(caught.value)
    assert caught.value.do is not None


def test_a_loader_process_that_dies_is_named(
    make_folder: Make, folder_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = opened(folder_params(make_folder(COUNTS), in_memory="never", workers=1))
    monkeypatch.setattr(streaming_module._Reader, "__getitem__", lambda self, positions: os._exit(3))
    with pytest.raises(DeviceError, match="a loader process died"):
        epoch(part)
