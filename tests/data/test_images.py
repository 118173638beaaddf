from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps, features
from torch.nn import functional

from bars.data.images import SUFFIXES, decode, fit, read_images, resize
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


# --------------------------------------------------------------------------------------------------- as people see them
RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (32, 1))
GREY16 = RAMP.astype(np.uint16) * 257


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Any:
    image.save(tmp_path / name, **options)
    return np.asarray(decode(tmp_path / name))


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.jp2"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, name: str) -> None:
    assert np.array_equal(saved(tmp_path, Image.fromarray(GREY16), name)[..., 0], RAMP)


def test_sixteen_bits_of_a_pgm(tmp_path: Path) -> None:
    (tmp_path / "grey.pgm").write_bytes(b"P5\n32 32\n65535\n" + GREY16.astype(">u2").tobytes())
    assert np.array_equal(np.asarray(decode(tmp_path / "grey.pgm"))[..., 2], RAMP)


def test_floats_from_0_to_1_are_scaled(tmp_path: Path) -> None:
    assert np.array_equal(saved(tmp_path, Image.fromarray((RAMP / 255).astype(np.float32)), "f.tif")[..., 1], RAMP)


@pytest.mark.parametrize(
    "values",
    [
        (RAMP * 1.0).astype(np.float32),
        np.full((4, 4), np.nan, np.float32),
        np.full((4, 4), -0.5, np.float32),
        RAMP.astype(np.int32) * 100_000,
    ],
)
def test_values_of_an_unknown_range_are_refused_by_name(tmp_path: Path, values: Any) -> None:
    with pytest.raises(DataError, match=r"odd\.tif") as caught:
        saved(tmp_path, Image.fromarray(values), "odd.tif")
    assert "0 (black) to" in str(caught.value)


@pytest.mark.parametrize("name", ["clear.png", "clear.webp", "clear.tif"])
def test_hidden_colours_stay_hidden(tmp_path: Path, name: str) -> None:
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    red.paste((255, 0, 0, 255), (4, 0, 8, 8))
    red.paste((0, 0, 0, 128), (0, 0, 4, 4))
    pixels = saved(tmp_path, red, name, **({"lossless": True} if "webp" in name else {}))
    assert pixels[7, 0].tolist() == [255, 255, 255] and pixels[0, 7].tolist() == [255, 0, 0]
    assert pixels[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("name", ["p.gif", "p.png"])
def test_the_transparent_colour_of_a_palette_is_background(tmp_path: Path, name: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    assert saved(tmp_path, image, name, transparency=0).tolist() == [[[255, 255, 255], [0, 0, 200]]]


@pytest.mark.parametrize(("mode", "clear"), [("L", 7), ("RGB", (7, 7, 7)), ("I;16", 1799)])
def test_a_colour_that_stands_for_nothing_is_background(tmp_path: Path, mode: str, clear: Any) -> None:
    grey = np.array([[7, 100]], np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert saved(tmp_path, image, "key.png", transparency=clear).tolist() == [[[255] * 3, [100] * 3]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = noise(8, 6)
    pixels = saved(tmp_path, image, "turned.png", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "turned.png"))
    assert np.array_equal(pixels, np.asarray(expected)) and expected.size == ((8, 6) if orientation < 5 else (6, 8))


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0garbage", b"no exif"])
def test_spoiled_exif_does_not_spoil_the_image(tmp_path: Path, exif: bytes) -> None:
    assert saved(tmp_path, noise(8, 6), "a.png", exif=exif).shape == (6, 8, 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colour_spaces_of_jpeg(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (8, 8), (200, 30, 60)).convert(mode)
    assert np.abs(saved(tmp_path, image, "a.jpg", quality=95)[4, 4].astype(int) - [200, 30, 60]).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pixels = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    assert np.abs(pixels[1, 1].astype(int) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_that_is_listed_is_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    grey = Image.new("RGB", (16, 16), (90, 90, 90)).convert("1" if suffix == ".pbm" else "RGB")
    assert saved(tmp_path, grey, f"a{suffix}", format="JPEG" if suffix == ".jpe" else None).shape == (16, 16, 3)
