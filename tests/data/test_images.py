from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from bars.data.images import decode, fit, read_images, resize
from bars.errors import DataError


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_fit_leaves_a_square_of_the_right_size_alone() -> None:
    image = noise(9, 9)
    assert np.array_equal(fit(image, 9), np.asarray(image))


@pytest.mark.parametrize(("width", "height", "left", "top"), [(15, 8, 3, 0), (8, 13, 0, 2)])
def test_fit_cuts_the_middle_when_the_shorter_side_fits(width: int, height: int, left: int, top: int) -> None:
    image = noise(width, height)
    assert np.array_equal(fit(image, 8), np.asarray(image)[top : top + 8, left : left + 8])


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 100), (5, 7)])
def test_fit_is_the_antialiased_resize_of_the_middle_square(width: int, height: int) -> None:
    image, size = noise(width, height), 16
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    square = torch.from_numpy(np.asarray(image)[top : top + short, left : left + short].copy()).permute(2, 0, 1)[None]
    expected = functional.interpolate(square.float(), size=(size, size), mode="bilinear", antialias=True)[0]
    difference = np.abs(fit(image, size).astype(float) - expected.permute(1, 2, 0).numpy())
    # Pillow mixes in a little of what lies beside the square; inside, only rounding differs.
    assert difference[2:-2, 2:-2].max() <= 1.01


def test_a_narrow_strip_needs_no_memory_of_its_length() -> None:
    assert fit(Image.new("RGB", (2, 60_000)), 64).shape == (64, 64, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    noise(10, 10).convert(mode).save(path)
    assert read_images([path], 10).shape == (1, 3, 10, 10)


def test_many_files_are_read_in_order(tmp_path: Path) -> None:
    paths = []
    for i in range(300):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (4, 4), (i % 256, i // 256, 7)).save(paths[-1])
    images = read_images(paths, 4)
    assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
    expected = torch.tensor([[i % 256, i // 256, 7] for i in range(300)], dtype=torch.uint8)
    assert torch.equal(images, expected[:, :, None, None].expand(-1, -1, 4, 4))


@pytest.mark.parametrize("damage", ["truncated", "no image", "empty", "missing"])
def test_an_unreadable_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "broken.jpg"
    noise(64, 64).save(path)
    content = {"truncated": path.read_bytes()[:-400], "no image": b"<html>", "empty": b"", "missing": b""}[damage]
    path.write_bytes(content)
    if damage == "missing":
        path.unlink()
    with pytest.raises(DataError, match="broken.jpg") as caught:
        decode(path)
    assert "replace the file" in str(caught.value)


def test_several_unreadable_files_are_named_together(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for i, path in enumerate(paths):
        if i < 12:
            path.write_bytes(b"no image")
        else:
            noise(4, 4).save(path)
    with pytest.raises(DataError, match="12 images of 20") as caught:
        read_images(paths, 4)
    assert str(paths[0]) in str(caught.value) and "7 more" in str(caught.value)


@pytest.mark.parametrize(("source", "size"), [(8, 8), (8, 32), (32, 16), (32, 7)])
def test_resize_of_arrays(source: int, size: int) -> None:
    images = torch.randint(0, 256, (5, 3, source, source), dtype=torch.uint8)
    result = resize(images, size)
    assert result.shape == (5, 3, size, size) and result.dtype == torch.uint8
    for before, after in zip(images, result, strict=True):
        single = functional.interpolate(before[None].float(), (size, size), mode="bilinear", antialias=True)
        assert (single[0] - after).abs().max() <= 0.501


def test_resize_by_halves_is_close_to_the_mean_of_blocks() -> None:
    flat = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    assert torch.equal(resize(flat, 4), torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))
