"""Units in floats, which a supernet is compared with: the same template without a sign anywhere."""

from __future__ import annotations

import random
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from bars.binarize.flips import SignFlips
from bars.binarize.layers import AfterStep
from bars.models.cell_conv import CellConv2d
from bars.models.native import Native
from bars.models.supernet import Supernet
from bars.models.template import Template
from bars.models.unit import BinaryUnit, fuse, use_native
from bars.models.unit_passes import FLOAT
from bars.models.width import Width
from bars.params import BinarizeParams
from tests.architectures import one_hot_sample, random_genotype, space_params
from tests.blocks import block


def plain(
    unit: BinaryUnit, x: Tensor, edge: int, mask: Tensor | None, target: int, stride: int, shortcut: bool
) -> Tensor:
    """What one edge adds, in the operations of torch that anyone would write."""
    if unit.gain is not None and unit.bias is not None:
        gain, bias = (v.view(unit.edges, -1)[edge, : x.shape[1]].view(1, -1, 1, 1) for v in (unit.gain, unit.bias))
        x = x * gain + bias
    seen = x if mask is None else x * mask.view(1, -1, 1, 1)
    parts = []
    for i, conv in enumerate(unit.conv_list()):
        k = conv.kernel_size
        weight = conv.weight.view(unit.edges, -1, unit.c_in, k, k)[edge, : target // len(unit.convs), : x.shape[1]]
        parts.append(F.conv2d(seen[:, :, i:, i:], weight, stride=stride, padding=k // 2))
    y = torch.stack(parts, 2).flatten(1, 2)  # a0 b0 a1 b1 ...
    if shortcut:
        y = y + (x if stride == 1 else F.avg_pool2d(x, 2).repeat_interleave(2, 1))
    return y.relu()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    c=st.integers(1, 6),
    active=st.integers(1, 6),
    edges=st.integers(1, 3),
    stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([3, 5]),
    norm=st.sampled_from(["edge", "node"]),
    shortcut=st.booleans(),
    scaled=st.booleans(),
    relaxed=st.booleans(),
    together=st.booleans(),
)
def test_a_unit_in_floats_is_the_plain_formula(
    seed: int, c: int, active: int, edges: int, stride: int, kernel: int, norm: str, shortcut: bool, scaled: bool,
    relaxed: bool, together: bool,
) -> None:  # fmt: skip
    """Values, and the gradients of input, weights, affine part, scale and width mask."""
    torch.manual_seed(seed)
    template = Template.of(space_params(norm=norm), block(BinarizeParams), track=False, operations="float")
    unit = BinaryUnit(c, c * stride, kernel, template, stride=stride, shortcut=shortcut, edges=edges).double()
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    source = min(c, active)
    mask = (0.1 + torch.rand(source, dtype=torch.float64)).requires_grad_() if relaxed else None
    x = torch.randn(2, source, 4 * stride, 4 * stride, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    scale = torch.rand(edges, dtype=torch.float64, requires_grad=True) if scaled else None
    shape, found = (2, source * stride, 4, 4), []
    leaves = [leaf for leaf in (x, scale, mask, *unit.parameters()) if leaf is not None]
    for ours in (True, False):
        totals = [torch.ones(shape, dtype=torch.float64) for _ in range(edges)]
        if ours:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("bars.models.unit.TOGETHER_BELOW", 1e9 if together else 0)
                outputs = unit.add_to(totals, x, Width(source, mask), Width(source * stride), scale=scale)
        else:
            added = [plain(unit, x, e, mask, source * stride, stride, shortcut) for e in range(edges)]
            outputs = [1 + a * (1 if scale is None else scale[e]) for e, a in enumerate(added)]
        generator = torch.Generator().manual_seed(1)
        total = sum((o * torch.randn(shape, generator=generator).double()).sum() for o in outputs)
        assert isinstance(total, Tensor)
        found.append([*outputs, *torch.autograd.grad(total, leaves)])
    torch.testing.assert_close(found[0], found[1])


def test_nothing_of_a_supernet_in_floats_is_binarised() -> None:
    """No sign in front of a convolution or in its weight, no clamp, no flips."""
    torch.manual_seed(0)
    supernet = Supernet(
        space_params(norm="node", stages=2), block(BinarizeParams, weight_clip=0.01), 8, 7, operations="float"
    )
    convs = [module for module in supernet.modules() if isinstance(module, CellConv2d)]
    before = [conv.weight.clone() for conv in convs]
    AfterStep(supernet)()
    assert all(torch.equal(a, conv.weight) for a, conv in zip(before, convs, strict=True))
    assert SignFlips(supernet).measure() == (0.0, 0.0)
    seen: list[Tensor] = []
    for conv in convs:
        conv.register_forward_hook(lambda module, given, output: seen.extend(given))
    supernet(torch.randn(4, 3, 8, 8), one_hot_sample(random_genotype(supernet.space, random.Random(1))))
    assert seen and all(x.detach().abs().unique().numel() > 2 for x in seen)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_passes_for_binary_units_leave_units_in_floats_alone() -> None:
    template = Template.of(space_params(), block(BinarizeParams), track=False, operations="float")
    unit = BinaryUnit(2, 2, 3, template)
    use_native(unit, Native())
    fuse(unit)
    assert unit.kernels is FLOAT
