from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from bars.models.baselines import build
from bars.models.cell import Cell
from bars.models.network import Network
from bars.models.supernet import Sample, Supernet
from bars.models.template import Template
from bars.models.unit import BinaryUnit
from bars.params import BinarizeParams, ModelParams
from bars.strategy.distribution import Distribution
from benchmarks.inputs import middle_genotype
from benchmarks.reference import ReferenceCell, ReferenceUnit, reference_of
from tests.architectures import random_space, space_params
from tests.blocks import block

pytestmark = pytest.mark.usefixtures("float64")


def perturbed(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


def unit_gradients(ours: BinaryUnit, row: int, plain: ReferenceUnit) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for conv, weight in zip(ours.conv_list(), plain.weights, strict=True):
        assert conv.weight.grad is not None and weight.grad is not None
        yield conv.weight.grad.view(ours.edges, *weight.shape)[row], weight.grad
    if ours.gain is not None and ours.bias is not None:
        assert ours.gain.grad is not None and ours.bias.grad is not None
        yield ours.gain.grad.view(ours.edges, -1)[row], plain.norm.weight.grad
        yield ours.bias.grad.view(ours.edges, -1)[row], plain.norm.bias.grad


def cell_gradients(ours: Cell, plain: ReferenceCell) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield from unit_gradients(ours.preprocess, 0, plain.preprocess)
    for node in range(ours.nodes):
        for name, unit in ours.units_of(node).items():
            for row, edge in enumerate(ours.edges_of(node, name)):
                yield from unit_gradients(unit, row, plain.units[f"{edge}-{name}"])


@pytest.mark.parametrize("seed", range(12))
def test_supernet_has_the_reference_output(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    space = random_space(rng).model_copy(update={"preprocess_shortcut": False, "head_norm": False})  # ours alone
    size = 32 if space.stem == "imagenet" else 8
    binarize = block(BinarizeParams, weight_scale=rng.choice(["tensor", "channel", "none"]))
    supernet = Supernet(space, binarize, size, 7, rng.choice(["activation", "feature"]))
    perturbed(supernet)
    sample = Distribution(supernet.space, 0.5).sample("gumbel", 1.0, torch.Generator().manual_seed(seed))
    images = torch.randn(5, 3, size, size)
    torch.testing.assert_close(supernet(images, sample), reference_of(supernet)(images, sample), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("norm", ["edge", "node"])
@pytest.mark.parametrize("weight_scale", ["tensor", "channel", "none"])
def test_gradients_are_those_of_the_reference(
    together: bool, norm: str, weight_scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no sum of signs is zero (odd channels, one stage): there, rounding decides the gradient of a ReLU."""
    monkeypatch.setattr("bars.models.unit.TOGETHER_BELOW", 1e9 if together else 0)
    torch.manual_seed(0)
    space = space_params(stages=1, cells_per_stage=2, init_channels=5, nodes=3, widths=(0.6, 1.0), norm=norm)
    supernet = Supernet(space, block(BinarizeParams, weight_scale=weight_scale), 8, 10)
    perturbed(supernet)
    plain = reference_of(supernet)
    drawn = Distribution(supernet.space, 0.5).sample("gumbel", 1.0, torch.Generator().manual_seed(1))
    images, labels = torch.randn(12, 3, 8, 8), torch.randint(0, 10, (12,))
    sample_gradients = []
    for model in (supernet, plain):
        leaves = [t.detach().requires_grad_() for t in (drawn.op, drawn.depth, drawn.width) if t is not None]
        F.cross_entropy(model(images, Sample(*leaves)), labels).backward()
        sample_gradients.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*sample_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    for cell, reference in zip(supernet.stages[0], plain.stages[0], strict=True):
        pairs = list(cell_gradients(cell, reference))
        assert len(pairs) == 7 * (3 if norm == "edge" else 1)  # the preprocess and six edges
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("edges", [1, 3])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("strided_conv", ["staggered", "plain"])
def test_gradients_of_strided_units(edges: int, scaled: bool, strided_conv: str) -> None:
    torch.manual_seed(0)
    template = Template.of(space_params(strided_conv=strided_conv), block(BinarizeParams), track=False)
    unit = BinaryUnit(3, 6, 3, template, stride=2, shortcut=True, edges=edges)
    perturbed(unit)
    plain = [ReferenceUnit(unit, row, "composed", track=False) for row in range(edges)]
    scale = torch.rand(edges) if scaled else torch.ones(edges)
    x = torch.randn(4, 3, 6, 6)
    weight = torch.randn(edges, 4, 6, 3, 3)
    found = []
    for ours in (True, False):
        leaf, factors = x.clone().requires_grad_(), scale.clone().requires_grad_()
        if ours:
            totals = [torch.zeros(4, 6, 3, 3).contiguous(memory_format=torch.channels_last) for _ in range(edges)]
            normed = F.batch_norm(leaf, None, None, training=True)
            outputs = unit.add_to(totals, normed, None, None, scale=factors if scaled else None)
        else:
            outputs = [factors[row] * plain[row](leaf) for row in range(edges)]
        sum((out * w).sum() for out, w in zip(outputs, weight, strict=True)).backward()
        found.append([torch.stack(outputs), leaf.grad, factors.grad if scaled else scale])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
    for row in range(edges):
        for ours, theirs in unit_gradients(unit, row, plain[row]):
            torch.testing.assert_close(ours, theirs)


def test_a_derived_network_has_the_reference_output() -> None:
    torch.manual_seed(0)
    space = space_params()
    network = Network(space, block(BinarizeParams), middle_genotype(space), 8, 10).train()
    perturbed(network)
    images = torch.randn(6, 3, 8, 8)
    plain = reference_of(network)
    torch.testing.assert_close(network(images), plain(images))
    torch.testing.assert_close(network.eval()(images), plain.eval()(images))
    assert not torch.allclose(network(images), reference_of(network, "float")(images))


def test_a_baseline_has_the_reference_output() -> None:
    torch.manual_seed(0)
    network = build(ModelParams(family="resnet18-xnor", width=0.125), 10, 8, "cifar10", block(BinarizeParams)).train()
    images = torch.randn(6, 3, 8, 8)
    torch.testing.assert_close(network(images), reference_of(network)(images))
