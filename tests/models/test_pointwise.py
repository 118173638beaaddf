"""A strided 1x1 convolution takes every second pixel, and its gradient stays within its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bars.binarize.activations import SignActivation
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign
from bars.models.blocks import Pointwise

DEBUG = Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
STEPS = """
import torch
from bars.models.blocks import strided
torch.manual_seed(0)
for c_in, c_out in ((2, 8), (4, 4), (4, 8), (3, 2)):
    down = strided(c_in, c_out, 2)
    for _ in range(20):
        x = torch.randn(8, c_in, 8, 8).to(memory_format=torch.channels_last)
        down(x).square().sum().backward()
"""


def test_it_is_the_strided_convolution() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 9, 7, 7)
    conv = Pointwise(9, 5, 2)
    torch.testing.assert_close(conv(x), torch.nn.functional.conv2d(x, conv.weight, stride=2))
    binary = BinaryConv2d(9, 5, 1, stride=2, weight_quantizer=ScaledSign(), activation_quantizer=SignActivation(1.0))
    wanted = torch.nn.functional.conv2d(torch.where(x >= 0, 1.0, -1.0), ScaledSign()(binary.weight), stride=2)
    torch.testing.assert_close(binary(x), wanted)


@pytest.mark.skipif(not DEBUG.exists(), reason="no debugging allocator")
def test_few_channels_leave_the_heap_whole() -> None:
    checked = {**os.environ, "LD_PRELOAD": str(DEBUG), "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", STEPS], env=checked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
