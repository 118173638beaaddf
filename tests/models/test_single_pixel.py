"""Convolutions of cells on maps of one pixel, in bfloat16: the second of a staggered pair, on a map of two by two."""

from __future__ import annotations

import pytest
import torch

from bars.models.cell_conv import CellConv2d
from bars.models.template import Template
from bars.params import BinarizeParams
from tests.architectures import space_params
from tests.binarize.test_convolution import spoil
from tests.blocks import block


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_single_pixel_are_those_of_float32(stride: int) -> None:
    torch.manual_seed(0)
    template = Template.of(space_params(), block(BinarizeParams), track=False)
    layer = CellConv2d(16, 16, 3, stride, template, in_blocks=2, out_blocks=1, edges=2)
    weight = torch.randn(2, 16, 32, 3, 3)
    x, grad = torch.randn(64, 64, 1, 1).sign(), torch.randn(64, 32, 1, 1)
    wanted = layer(x, weight), *layer.gradients(grad, x, weight, True)
    half = [t.bfloat16() for t in (grad, x, weight)]
    for _ in range(10):
        spoil()
        found = layer(half[1], half[2]), *layer.gradients(*half, True)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.float(), other, rtol=0.02, atol=0.4)
