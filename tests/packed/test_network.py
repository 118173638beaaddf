"""The door: a model file in three lines, what it says, and that packed, plain and trained network agree."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bars.packed
from bars.errors import DataError, PackedError
from bars.packed import runtimes
from bars.packed.convert import binary_convs, pack, unpack
from bars.packed.file import read, read_plain
from bars.packed.timing import interleaved

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
EITHER = pytest.mark.parametrize("name", ["network.bars", "network.onnx"])


@EITHER
def test_three_lines_predict(exported: Path, name: str, pixels: Pixels, small: nn.Module, card: dict[str, Any]) -> None:
    network = bars.packed.load(exported / name)
    probabilities = network.predict(pixels)
    assert (network.classes, network.cost, network.genotype) == (card["classes"], card["cost"], card["genotype"])
    assert probabilities.shape == (70, 3)
    mean, std = (torch.tensor(card["input"][key]).view(3, 1, 1) for key in ("mean", "std"))
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        expected = small(images).softmax(1).numpy()
    flipped = np.abs(probabilities - expected).max(1) > 1e-4  # a sign that flips at a tie moves logits by far more
    assert flipped.sum() <= 1, f"{flipped.sum()} of {len(flipped)} images differ"


def test_the_folder_means_its_packed_network(exported: Path) -> None:
    assert bars.packed.load(exported).packed


def test_one_image_is_as_it_is_among_many(exported: Path, pixels: Pixels) -> None:
    network = bars.packed.load(exported)
    assert np.allclose(network.predict(pixels[3]), network.predict(pixels)[3:4], atol=1e-6)
    assert network.predict(pixels[:0]).shape == (0, 3)


def test_every_binary_weight_is_one_bit(exported: Path, small: nn.Module) -> None:
    _, packed = read(exported / "network.bars")
    convs = list(binary_convs(packed))
    assert [conv.signs.shape for conv in convs] == [(12, 12, 3, 3)] * 3
    for conv, layer in zip(convs, small.convs, strict=True):  # type: ignore[arg-type]
        assert np.array_equal(conv.signs, layer.weight_signs().numpy())
    bits = sum(tensor.ByteSize() for tensor in packed.graph.initializer if tensor.data_type == onnx.TensorProto.UINT8)
    assert bits < 3 * (12 * 12 * 9 / 8 + 20)


def test_the_float_twin_has_the_weights_it_had(exported: Path, pixels: Pixels) -> None:
    card, plain = read_plain(exported / "network.onnx")
    twin = unpack(pack(plain))
    images = bars.packed.load(exported).normalised(pixels)
    ours, theirs = (runtimes.onnxruntime(model, 70, 1)(images) for model in (twin, plain))
    assert np.allclose(ours, theirs, atol=1e-4)


def test_a_network_without_signs_is_not_packed(tmp_path: Path) -> None:
    from bars.packed.from_torch import to_onnx

    to_onnx(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).eval(), 8, tmp_path / "float.onnx")
    with pytest.raises(PackedError, match="no convolution of this network can be packed"):
        pack(onnx.load(tmp_path / "float.onnx"))


@pytest.mark.parametrize("shape", [(2, 9, 9, 3), (2, 3, 8, 8), (8, 8)])
def test_other_images_are_refused(exported: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no images for this network"):
        bars.packed.load(exported).predict(np.zeros(shape, np.uint8))


def test_numbers_for_pixels_are_refused(exported: Path) -> None:
    with pytest.raises(DataError, match="float64"):
        bars.packed.load(exported).predict(np.zeros((1, 8, 8, 3)))


def test_an_unusual_machine_runs_the_float_network_and_says_so(
    exported: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = bars.packed.load(exported).predict(pixels)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with caplog.at_level(logging.WARNING):
        network = bars.packed.load(exported)
        assert np.allclose(network.predict(pixels), expected, atol=1e-4)
    assert len(caplog.records) == 1
    assert "riscv64: the float network is used" in caplog.text


def test_a_missing_package_is_named(exported: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(PackedError, match=r"pip install 'bars-nas\[packed\]'"):
        bars.packed.load(exported).predict(pixels)


def test_times_are_of_each_runtime_in_turn() -> None:
    called: list[str] = []
    fast, slow = (lambda x, n=name: (called.append(n), x)[1] for name in ("fast", "slow"))
    found = interleaved({"fast": fast, "slow": slow}, np.zeros(1, np.float32), rounds=3)
    assert all(0 < time.low <= time.median <= time.high for time in found.values())
    rounds = [name for i, name in enumerate(called) if i == 0 or called[i - 1] != name]
    assert rounds == ["fast", "slow"] * 4
