"""Interleaved and widened channels are the same numbers without the exporter's detours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bars.models.staggered import interleave, pooled_twice
from bars.models.width import fit_channels

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from bars.packed import runtimes  # noqa: E402
from bars.packed.channels import straightened  # noqa: E402
from bars.packed.from_torch import to_onnx  # noqa: E402


class Reduces(nn.Module):
    """What a strided cell does to channels, and the shortcut of one that is wider than the cell before it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(12, 6, 3, 2, 1) for _ in range(2))
        self.stem = nn.Conv2d(3, 12, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        y = interleave(self.convs[0](x), self.convs[1](x[:, :, 1:, 1:]))
        return torch.relu(torch.cat([y, y], 1) + pooled_twice(x)) + fit_channels(y, 4, 6)


def test_no_number_changes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    to_onnx(Reduces().eval(), 8, tmp_path / "given.onnx")
    given = onnx.load(tmp_path / "given.onnx")
    found = straightened(given)
    kinds = {now.op_type for now in found.graph.node}
    assert not kinds & {"Transpose", "ScatterND", "Range"}
    for batch in (1, 3):
        images = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), dtype=np.float32)
        before, after = (runtimes.onnxruntime(model, batch, 1)(images) for model in (given, found))
        assert np.array_equal(before, after)
