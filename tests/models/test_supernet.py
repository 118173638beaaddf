from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bars.binarize.layers import BinaryConv2d, is_fully_binarized
from bars.cost import genotype_cost
from bars.models.cell import Cell
from bars.models.counting import count_model
from bars.models.ends import Head
from bars.models.network import Network
from bars.models.supernet import DECISIONS, Sample, Supernet
from bars.models.template import Template
from bars.models.width import Width
from bars.params import BinarizeParams
from bars.space import Genotype, SearchSpace
from bars.strategy.distribution import Distribution
from tests.architectures import one_hot_sample, random_genotype, random_space, space_params
from tests.blocks import block
from tests.models.weights import with_weights


def built(seed: int, operations: str = "binary", **changes: object) -> tuple[Supernet, Genotype, Network, torch.Tensor]:
    """A supernet, an architecture of its space, and that network with the same weights; images."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    params = random_space(rng).model_copy(update=changes)
    size = 32 if params.stem == "imagenet" else 8
    binarize = block(BinarizeParams, weight_scale=rng.choice(["tensor", "channel", "none"]))
    supernet = Supernet(params, binarize, size, 7, operations=operations)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    genotype = random_genotype(supernet.space, rng)
    network = with_weights(Network(params, binarize, genotype, size, 7), supernet)
    return supernet, genotype, network, torch.randn(5, 3, size, size)


@pytest.mark.parametrize(
    ("seed", "strided_conv"), [*((seed, "staggered") for seed in range(20)), *((seed, "plain") for seed in range(8))]
)
def test_one_hot_supernet_equals_the_derived_network(seed: int, strided_conv: str) -> None:
    """Both ways through the supernet: slices of what was drawn, and masks and sums over everything."""
    supernet, genotype, network, images = built(seed, strided_conv=strided_conv)
    derived = network.train()(images)
    torch.testing.assert_close(supernet(images, Sample.one_hot(genotype)), derived)
    torch.testing.assert_close(supernet(images, one_hot_sample(genotype)), derived, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_with_fixed_weights_a_derived_network_computes_the_same(seed: int) -> None:
    _, _, network, images = built(seed)
    before = network.eval()(images)
    for layer in network.modules():
        if isinstance(layer, BinaryConv2d):
            layer.fix_weight()
    assert torch.equal(network(images), before)


@pytest.mark.parametrize("seed", range(4))
def test_straight_through_sample_has_the_same_output(seed: int) -> None:
    supernet, _, _, images = built(seed)
    distribution = Distribution(supernet.space, 1.0, torch.Generator().manual_seed(seed))
    sample = distribution.sample("hard", 1.0, torch.Generator().manual_seed(seed))
    assert sample.genotype is not None
    torch.testing.assert_close(supernet(images, sample), supernet(images, Sample.one_hot(sample.genotype)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("one_hot", [c for n in (1, 2, 3) for c in itertools.combinations(DECISIONS, n)])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_what_was_not_drawn_need_not_be_computed(one_hot: tuple[str, ...], stem: str) -> None:
    """Fewer operations, and the output and the weights' gradients of computing everything.

    In one layout, as in training: masked sums that are zero but for rounding pass the ReLU's gradient or do not, and
    convolutions round differently in another layout.
    """
    supernet, _, _, images = built(3, stem=stem, stages=3, cells_per_stage=2, search_depth=True, search_width=True)
    supernet = supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    distribution = Distribution(supernet.space, 1.0, torch.Generator().manual_seed(2))
    with torch.no_grad():
        sample = distribution.sample("gumbel", 1.0, torch.Generator().manual_seed(4), one_hot)
    found, flops = [], []
    for given in (sample, everything(sample)):
        supernet.zero_grad()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            supernet(images, given)
        output = supernet(images, given)
        output.square().mean().backward()
        flops.append(counter.get_total_flops())
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in supernet.named_parameters()}
        found.append({**grads, "output": output.detach()})
    assert (flops[0] < flops[1]) == (one_hot != ("width",))  # a relaxed depth mixes widths
    torch.testing.assert_close(found[0], found[1])


def everything(sample: Sample) -> Sample:
    """The same draw, computed as a relaxed one is."""
    return replace(sample, genotype=None)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("one_hot", [c for n in (1, 2, 3) for c in itertools.combinations(DECISIONS, n)])
@pytest.mark.parametrize(("norm", "operations"), [("edge", "binary"), ("node", "binary"), ("edge", "float")])
@pytest.mark.parametrize("trains", [False, True])
def test_what_is_multiplied_by_zero_is_heard_and_passes_nothing_on(
    one_hot: tuple[str, ...], norm: str, operations: str, trains: bool
) -> None:
    """Fewer convolutions, and the gradients of everything, those of weights too where they train."""
    searched = {"stages": 3, "cells_per_stage": 3, "search_depth": True, "search_width": True}
    supernet, _, _, images = built(3, operations, norm=norm, **searched)
    supernet = supernet.to(memory_format=torch.channels_last).requires_grad_(trains)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    distribution = Distribution(supernet.space, 1.0, torch.Generator().manual_seed(2))
    sample = distribution.sample("gumbel", 1.0, torch.Generator().manual_seed(4), one_hot)
    found, calls = [], []
    for given in (sample.whole(), everything(sample)):
        leaves = given.leaves("cpu")
        wanted = [*leaves.tensors(), *(p for p in supernet.parameters() if trains)]
        with Calls() as counted:
            output = supernet(images, leaves)
            grads = torch.autograd.grad(output.square().mean(), wanted, allow_unused=True)
        calls.append(counted.of["convolution_backward"])
        pairs = zip(wanted, grads, strict=True)
        found.append([output.detach(), *(torch.zeros_like(w) if g is None else g for w, g in pairs)])
    assert (calls[0] < calls[1]) == (one_hot != ("width",))
    torch.testing.assert_close(found[0], found[1])


class Calls(TorchDispatchMode):
    """How often each of torch's operations is called."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.of[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("width_mask", ["activation", "feature"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_alpha_receives_a_gradient(width_mask: str, stem: str) -> None:
    params = space_params(stem=stem)
    size = 32 if stem == "imagenet" else 16
    torch.manual_seed(0)
    supernet = Supernet(params, block(BinarizeParams), size, 10, width_mask)
    distribution = Distribution(supernet.space, 0.5, torch.Generator().manual_seed(0))
    sample = distribution.sample("gumbel", 1.0, torch.Generator().manual_seed(1))
    torch.nn.functional.cross_entropy(supernet(torch.randn(8, 3, size, size), sample), torch.arange(8)).backward()
    for name, alpha in distribution.named_parameters():
        assert alpha.grad is not None and (alpha.grad != 0).all(), name


def test_feature_masks_are_erased_before_the_sign() -> None:
    """The trap that ``width_mask: activation`` avoids: scaling features by a positive mask changes no sign."""
    params = space_params(
        cell_shortcut=False, op_shortcut=False, primitives=("binary_conv_3x3",), search_depth=False, stages=1
    )
    torch.manual_seed(0)
    images = torch.randn(8, 3, 8, 8)
    changed = {}
    for width_mask in ("feature", "activation"):
        torch.manual_seed(1)
        supernet = Supernet(params, block(BinarizeParams), 8, 10, width_mask)
        cells = supernet.stages[0]
        seen: list[torch.Tensor] = []
        cells[1].preprocess.convs[0].register_forward_hook(lambda m, i, o, seen=seen: seen.append(o))
        op = torch.ones(1, 10, 1)
        for width in ([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]):
            supernet(images, Sample(op, None, torch.tensor([width])))
        changed[width_mask] = float(((seen[0] - seen[1]).abs().mean() / seen[0].abs().mean()).detach())
    # Only BN's epsilon, against features of small variance, lets a feature mask through.
    assert changed["activation"] > 0.1 > 10 * changed["feature"]


@pytest.mark.parametrize("seed", range(10))
def test_cost_model_agrees_with_hooks_on_the_built_network(seed: int) -> None:
    supernet, genotype, network, images = built(seed)
    counted, uncounted = count_model(network, tuple(images.shape))
    assert uncounted == []
    assert tuple(counted) == tuple(genotype_cost(supernet.params, genotype, images.shape[-1], 7))


@pytest.mark.parametrize("seed", range(6))
def test_binary_convolutions_see_only_signs(seed: int) -> None:
    _, _, network, images = built(seed)
    seen: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, BinaryConv2d):
            module.register_forward_pre_hook(lambda m, args: seen.append(args[0].abs()))
    network.train()(images)
    assert bool(seen) == any(shape.index is None or shape.index >= 0 for shape in network.shapes)
    assert all((s == 1).all() for s in seen)


def test_networks_are_fully_binarized_unless_told_otherwise() -> None:
    for expand, expected in (("tile", True), ("conv1x1", True)):
        params = space_params(stem_expand=expand)
        genotype = random_genotype(SearchSpace.from_params(params), random.Random(0))
        assert is_fully_binarized(Network(params, block(BinarizeParams), genotype, 32, 10))[0] is expected


def test_the_template_has_its_shortcuts() -> None:
    """Each switch of the template changes the output of the same weights."""
    rng = random.Random(3)
    base = space_params()
    genotype = random_genotype(SearchSpace.from_params(base), rng)
    images = torch.randn(4, 3, 16, 16)
    outputs = []
    for changes in (
        {},
        {"op_shortcut": False},
        {"cell_shortcut": False},
        {"strided_conv": "plain"},
        {"reduction_shortcut": "avgpool"},
        {"preprocess_shortcut": True},
        {"head_norm": False},
        {"norm": "node"},
        {"stem_expand": "conv1x1"},
    ):
        torch.manual_seed(0)
        network = Network(base.model_copy(update=changes), block(BinarizeParams), genotype, 16, 10)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith("gain"):  # at its initial value 1, an affine batch norm is a plain one
                    parameter += 0.5
        outputs.append(network.train()(images))
    for i, a in enumerate(outputs):
        for b in outputs[:i]:
            assert not torch.allclose(a, b)


def test_a_strided_unit_is_two_staggered_convolutions() -> None:
    """Against the definition, written plainly: sign, two stride-2 convolutions, concatenation, shortcut, ReLU."""
    from bars.models.unit import BinaryUnit

    torch.manual_seed(0)
    unit = BinaryUnit(4, 8, 3, Template.of(space_params(), block(BinarizeParams), track=False), stride=2, shortcut=True)
    x = torch.randn(2, 4, 8, 8)
    signs = torch.where(x >= 0, 1.0, -1.0)
    halves = []
    for conv, view in zip(unit.convs, (signs, signs[:, :, 1:, 1:]), strict=True):
        w = torch.where(conv.weight >= 0, 1.0, -1.0) * conv.weight.abs().mean()
        halves.append(torch.nn.functional.conv2d(view, w, stride=2, padding=1))
    plain = torch.cat(halves, 1) + torch.cat([torch.nn.functional.avg_pool2d(x, 2)] * 2, 1)
    order = [c // 2 + (c % 2) * 4 for c in range(8)]
    torch.testing.assert_close(unit(x), plain.relu()[:, order])


def test_a_plain_strided_unit_is_one_convolution_of_as_many_operations() -> None:
    from bars.models.unit import BinaryUnit

    torch.manual_seed(0)
    units = {}
    for kind in ("staggered", "plain"):
        template = Template.of(space_params(strided_conv=kind), block(BinarizeParams), track=False)
        units[kind] = BinaryUnit(4, 8, 3, template, stride=2)
    (conv,) = units["plain"].convs
    x = torch.randn(2, 4, 8, 8)
    weight = torch.where(conv.weight >= 0, 1.0, -1.0) * conv.weight.abs().mean()
    wanted = torch.nn.functional.conv2d(torch.where(x >= 0, 1.0, -1.0), weight, stride=2, padding=1)
    torch.testing.assert_close(units["plain"](x), wanted.relu())
    assert conv.weight.numel() == sum(half.weight.numel() for half in units["staggered"].convs)


def test_the_head_norm_is_a_plain_normalisation_under_the_width_mask() -> None:
    torch.manual_seed(0)
    head = Head(4, 2, 3, torch.nn.BatchNorm2d(8, affine=False, track_running_stats=False))
    x, mask = torch.randn(5, 8, 6, 6) * 7 + 2, torch.rand(4)
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    expected = (plain * torch.cat([mask, mask])[None, :, None, None]).mean((2, 3)) @ head.weight.T + head.bias
    torch.testing.assert_close(head(x, Width(4, mask)), expected)


def test_the_preprocess_shortcut_adds_the_mean_of_the_nodes() -> None:
    torch.manual_seed(0)
    template = Template.of(space_params(preprocess_shortcut=True), block(BinarizeParams), track=False)
    edges = [(i, j) for j in range(1, 5) for i in range(j)]
    cell = Cell(edges, [("shortcut",) if e == (0, 1) else ("none",) for e in edges], 4, 4, 1, template)
    cell.shortcut_kind = "none"
    x = torch.randn(3, 16, 6, 6)
    with_it = cell(x)
    cell.preprocess_shortcut = False
    torch.testing.assert_close((with_it - cell(x))[:, :4], x.view(3, 4, 4, 6, 6).mean(1))
