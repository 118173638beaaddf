from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from bars.data import Batch, Part, Split, load_source, make_split, open_part
from bars.data import part as part_module
from bars.data import sources as sources_module
from bars.data.part import MemoryPart, _groups
from bars.errors import DataError
from bars.params import DataParams
from tests.blocks import block

Make = Callable[..., Path]
Params = Callable[..., DataParams]


def opened(part: str = "train", **values: Any) -> Part:
    params = block(DataParams, **{"source": "digits", "image_size": 8, **values})
    return open_part(params, Split.from_json(make_split(params), params), part)  # type: ignore[arg-type]


def epoch(part: Part, batch_size: int = 64, **values: Any) -> list[Batch]:
    options = {"device": "cpu", "augment": True, "seed": 0, "epoch": 0, "drop_last": False, **values}
    return list(part.batches(batch_size, **options))


def whole(batches: list[Batch]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x[0], y[0]) and torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True)
    )


def test_what_a_part_says_of_itself() -> None:
    part = opened("valid", classes=4, image_size=16, label="four digits")
    assert (part.name, part.label, part.num_classes, part.image_size) == ("valid", "four digits", 4, 16)
    assert part.size == len(make_split(block(DataParams, source="digits", classes=4, image_size=16))["valid"])
    assert part.steps(10, True) == part.size // 10 and part.steps(10, False) == -(-part.size // 10)


def test_fixed_order_gives_back_the_pixels_of_the_split() -> None:
    params = block(DataParams, source="digits", image_size=8, crop_padding=2, flip=True)
    split = Split.from_json(make_split(params), params)
    source = load_source(params)
    parts = {"train": split.train, "valid": split.valid, "train+valid": split.train + split.valid, "test": split.test}
    for name, indices in parts.items():
        part = open_part(params, split, name)  # type: ignore[arg-type]
        images, labels = whole(epoch(part, augment=False))
        dataset = source.test if name == "test" else source.train
        mean, std = torch.tensor(part.channel_mean), torch.tensor(part.channel_std)
        pixels = (images.permute(0, 2, 3, 1) * std + mean) * 255
        assert (pixels.permute(0, 3, 1, 2) - dataset.load(indices, 8)).abs().max() < 1e-3
        assert torch.equal(labels, dataset.labels[list(indices)])


def test_batches_are_float32_channels_last_and_normalised() -> None:
    part = opened("train", image_size=12)
    for images, labels in epoch(part, 50, augment=False):
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        assert images.shape[1:] == (3, 12, 12)
        assert images.is_contiguous(memory_format=torch.channels_last)
    images, _ = whole(epoch(part, augment=False))
    assert images.double().mean((0, 2, 3)).abs().max() < 1e-5
    assert (images.double().std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("drop_last", [True, False])
def test_every_image_once_an_epoch(drop_last: bool) -> None:
    part = opened("valid", max_train=250)
    fixed, _ = whole(epoch(part, augment=False))
    batches = epoch(part, 32, drop_last=drop_last)
    sizes = [len(labels) for _, labels in batches]
    assert len(sizes) == (part.size // 32 if drop_last else -(-part.size // 32))
    assert set(sizes) == {32} if drop_last else (sum(sizes) == part.size and max(sizes) - min(sizes) <= 1)
    images, _ = whole(batches)
    known = {image.numpy().tobytes() for image in fixed}
    seen = [image.numpy().tobytes() for image in images]
    assert set(seen) <= known and len(set(seen)) == len(seen)


def test_shuffle_and_augmentation_can_be_had_apart() -> None:
    part = opened("train", flip=True)
    fixed, fixed_labels = whole(epoch(part, augment=False))
    flipped, labels = whole(epoch(part, augment=True, shuffle=False))
    assert torch.equal(labels, fixed_labels) and not torch.equal(flipped, fixed)
    shuffled, _ = whole(epoch(part, augment=False, shuffle=True))
    assert not torch.equal(shuffled, fixed)
    assert torch.equal(shuffled.sum((1, 2, 3)).sort().values, fixed.sum((1, 2, 3)).sort().values)


@pytest.mark.parametrize("options", [{"crop_padding": 1, "flip": True}, {"resized_crop": 0.3, "flip": True}, {}])
def test_an_epoch_depends_on_seed_and_epoch_only(options: dict[str, Any]) -> None:
    part, again = opened("train", **options), opened("train", **options)
    torch.manual_seed(5)
    first = epoch(part, seed=1, epoch=3)
    epoch(part, seed=9, epoch=9)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    assert same(first, epoch(again, seed=1, epoch=3))
    assert torch.equal(state, torch.get_rng_state())
    assert not same(first, epoch(part, seed=1, epoch=4))
    assert not same(first, epoch(part, seed=2, epoch=3))


@pytest.mark.parametrize("options", [{"crop_padding": 1, "flip": True}, {"resized_crop": 0.3, "flip": True}])
def test_how_many_batches_are_gathered_at_once_changes_nothing(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = opened("train", **options)
    together = epoch(part, 50)
    monkeypatch.setitem(part_module._GATHER_BYTES, "cpu", 1)
    assert same(together, epoch(part, 50))


def test_groups_hold_whole_batches() -> None:
    assert list(_groups([4, 4, 4, 2], 9)) == [[4, 4], [4, 2]]
    assert list(_groups([4, 4], 1)) == [[4], [4]]


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("augment", [True, False])
def test_processes_share_the_very_batches_of_one(world_size: int, drop_last: bool, augment: bool) -> None:
    part = opened("train", max_train=150, crop_padding=1, flip=True)
    alone = epoch(part, 24, drop_last=drop_last, augment=augment)
    ranks = [
        epoch(part, 24, drop_last=drop_last, augment=augment, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for shares, (images, labels) in zip(zip(*ranks, strict=True), alone, strict=True):
        assert torch.equal(torch.cat([share[0] for share in shares]), images)
        assert torch.equal(torch.cat([share[1] for share in shares]), labels)
        sizes = [len(share[1]) for share in shares]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("options", [{}, {"resized_crop": 0.3}])
def test_an_empty_slice_has_the_right_shape(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(part_module._GATHER_BYTES, "cpu", 1)
    part = opened("test", max_test=10, **options)
    shares = [epoch(part, 2, rank=rank, world_size=4)[-1] for rank in range(4)]
    assert sorted(len(labels) for _, labels in shares) == [0, 0, 1, 1]
    assert all(images.shape[1:] == (3, 8, 8) for images, _ in shares)


def test_a_batch_may_be_changed_in_place() -> None:
    part = opened("train")
    first = [(images.clone(), labels.clone()) for images, labels in epoch(part)]
    for images, labels in epoch(part):
        images.zero_()
        labels.zero_()
    assert same(first, epoch(part))


def test_not_one_full_batch_is_an_error_at_the_call() -> None:
    part = opened("train", max_train=40)
    with pytest.raises(DataError, match="not one full batch") as caught:
        part.batches(64, device="cpu", augment=True, seed=0, epoch=0, drop_last=True)
    assert "20 images, batches of 64" in str(caught.value)
    with pytest.raises(ValueError, match="rank"):
        part.batches(4, device="cpu", augment=True, seed=0, epoch=0, drop_last=True, rank=1)


# --------------------------------------------------------------------------------------------------- test part
def test_test_images_of_digits_are_opened_for_the_test_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    params = block(DataParams, source="digits", image_size=8)
    split = Split.from_json(make_split(params), params)

    def refuse(source: object) -> None:
        raise AssertionError("the test part was opened")

    monkeypatch.setattr(sources_module.Source, "test", property(refuse))
    for name in ("train", "valid", "train+valid"):
        open_part(params, split, name)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        open_part(params, split, "test")


def test_a_folder_of_test_images_may_be_absent_for_other_parts(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": {"cat": 4, "dog": 4}, "val": {"cat": 2, "dog": 2}})
    params = folder_params(root)
    split = Split.from_json(make_split(params), params)
    (root / "val").rename(root / "away")
    for name in ("train", "valid", "train+valid"):
        assert len(whole(epoch(open_part(params, split, name)))[1]) > 0  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no test folder"):
        open_part(params, split, "test")


def test_no_image_is_left_over_alone() -> None:
    part = opened("test", max_test=17)
    assert [len(labels) for _, labels in epoch(part, 8, drop_last=False)] == [5, 6, 6]


def test_only_files_of_the_part_are_opened(
    make_folder: Make, folder_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split looks once at every file; after that each part opens its own, and evaluate alone those of test."""
    root = make_folder({"train": {"cat": 4, "dog": 4}, "val": {"cat": 2, "dog": 2}})
    params = folder_params(root)
    split = Split.from_json(make_split(params), params)
    seen: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **kwargs: (seen.append(str(path)), original(path, **kwargs))[1])
    open_part(params, split, "train+valid")
    assert len(seen) == 8 and all("/train/" in path for path in seen)
    seen.clear()
    open_part(params, split, "test")
    assert len(seen) == 4 and all("/val/" in path for path in seen)


def test_a_folder_is_held_in_memory_when_it_fits(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": {"cat": 8, "dog": 8}, "val": {"cat": 2, "dog": 2}})
    gib = 3 * 12 * 12 * 8 / 2**30
    params = folder_params(root)
    split = Split.from_json(make_split(params), params)
    for values, held in (
        ({}, True),
        ({"in_memory": "never"}, False),
        ({"memory_limit_gb": gib}, True),
        ({"memory_limit_gb": gib * 0.99}, False),
        ({"memory_limit_gb": gib * 0.99, "in_memory": "always"}, True),
    ):
        part = open_part(folder_params(root, **values), split, "train")
        assert isinstance(part, MemoryPart) is held


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("options", [{"crop_padding": 1, "flip": True}, {"resized_crop": 0.3, "flip": True}])
def test_a_gpu_sees_the_same_images(options: dict[str, Any]) -> None:
    part = opened("train", **options)
    for (images, labels), (on_gpu, labels_on_gpu) in zip(epoch(part), epoch(part, device="cuda"), strict=True):
        assert on_gpu.is_cuda and on_gpu.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(labels, labels_on_gpu.cpu())
        assert (images - on_gpu.cpu()).abs().max() < 1e-3
