"""A small trained-like network as ``bars export`` writes it: random weights, running statistics of random images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bars.binarize.activations import SignActivation
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign

SIZE, CLASSES = 8, ["cat", "dog", "ship"]


class Small(nn.Module):
    """Stem, three binary units (one strided on a staggered input), concatenation, shortcut, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12))
        self.norms = nn.ModuleList(nn.BatchNorm2d(12) for _ in range(3))
        self.convs = nn.ModuleList(
            BinaryConv2d(
                *(12, 12, 3),
                stride=stride,
                padding=1,
                weight_quantizer=ScaledSign("channel"),
                activation_quantizer=SignActivation(),
            )
            for stride in (1, 1, 2)
        )
        self.head = nn.Linear(12, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images)
        for norm, conv in zip(self.norms[:2], self.convs[:2], strict=True):
            x = torch.relu(conv(norm(x)) + x)
        x = self.convs[2](self.norms[2](x)[:, :, 1:, 1:])
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="session")
def small() -> nn.Module:
    """The network with statistics that fit its features."""
    torch.manual_seed(0)
    model = Small()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(32, 3, SIZE, SIZE))
    return model.eval()


@pytest.fixture(scope="session")
def card() -> dict[str, Any]:
    return {
        "classes": CLASSES,
        "image_size": SIZE,
        "input": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]},
        "cost": {"flops": 1, "biops": 2, "params": 3},
        "genotype": {"stages": []},
    }


@pytest.fixture(scope="session")
def exported(small: nn.Module, card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with network.onnx and network.bars."""
    onnx = pytest.importorskip("onnx")
    from bars.packed import file
    from bars.packed.convert import pack
    from bars.packed.from_torch import to_onnx

    folder = tmp_path_factory.mktemp("exported")
    to_onnx(small, SIZE, folder / "network.onnx")
    file.embed(folder / "network.onnx", card)
    file.write(folder / "network.bars", pack(onnx.load(folder / "network.onnx")), card)
    return folder


@pytest.fixture
def pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
