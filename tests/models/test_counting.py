"""The hook-based counter: every count of Table 2's hand-made networks, and what it says about what it cannot count."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bars.binarize.activations import ABCActivation, SignActivation
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import Bases, ScaledSign
from bars.cost import Cost
from bars.models.baselines import build
from bars.models.counting import count_model
from bars.params import BinarizeParams, ModelParams, Slot
from tests.blocks import block

SIZES: dict[Slot, tuple[int, int]] = {"cifar10": (32, 10), "imagenet": (224, 1000)}


def full_size(slot: Slot, family: str, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    size, classes = SIZES[slot]
    with torch.device("meta"):
        return build(ModelParams(family=family, options=dict(options)), classes, size, slot, block(BinarizeParams))


@functools.cache
def cost(slot: Slot, family: str, **options: Any) -> Cost:
    size, _ = SIZES[slot]
    counted, uncounted = count_model(full_size(slot, family, tuple(options.items())), (1, 3, size, size))
    assert uncounted == []
    return counted


# Millions of 2 x MACs and of parameters, as computed for the specification on the meta device by another program.
EXPECTED: list[tuple[Slot, str, dict[str, Any], float, float, float]] = [
    ("cifar10", "resnet18-xnor", {}, 16.13, 1094.71, 11.173),
    ("cifar10", "resnet18-xnor", {"layout": "plain"}, 16.13, 1094.71, 11.173),
    ("cifar10", "resnet18-bireal", {}, 16.13, 1094.71, 11.174),
    ("cifar10", "resnet34-xnor", {}, 16.13, 2302.67, 21.281),
    ("cifar10", "wrn40-xnor", {}, 11.93, 2642.41, 8.978),
    ("cifar10", "nin-xnor", {}, 29.74, 415.24, 0.970),
    ("cifar10", "resnet18-cbcn", {}, 16.13, 1094.71, 2.938),
    ("cifar10", "resnet18-cbcn", {"wide": False}, 20.32, 509.61, 0.775),
    ("cifar10", "resnet18-irnet", {}, 16.13, 1094.71, 11.175),
    ("cifar10", "bnas", {}, 175.85, 1393.46, 5.578),
    ("cifar10", "resnet18-float", {}, 16.13 + 1094.72, 0.0, 11.174),
    ("imagenet", "resnet18-abc", {}, 138.31, 3391.09, 11.699),
    ("imagenet", "resnet18-xnor", {"downsample": "binary"}, 138.31, 3699.38, 13.074),
    ("imagenet", "resnet18-xnor", {"downsample": "float"}, 176.84, 3352.56, 11.699),
    ("imagenet", "bidensenet-xnor", {"depth": 45}, 488.21, 12861.11, 13.890),
    ("imagenet", "bidensenet-xnor", {"depth": 37}, 399.48, 9013.62, 8.702),
    ("imagenet", "bidensenet-xnor", {"depth": 28}, 404.97, 7174.77, 5.131),
    ("imagenet", "resnet18-bireal", {}, 275.59, 3352.56, 11.690),
    ("imagenet", "resnet18-bireal", {"stem": "imagenet"}, 176.84, 3352.56, 11.699),
    ("imagenet", "resnet18-pcnn", {}, 275.59, 3352.56, 11.693),
    ("imagenet", "resnet18-react", {}, 275.59, 3352.56, 11.704),
    ("imagenet", "bnas", {}, 608.17, 5863.77, 28.408),
]


@pytest.mark.parametrize(("slot", "family", "options", "flops", "biops", "params"), EXPECTED)
def test_counts_at_full_size(
    slot: Slot, family: str, options: dict[str, Any], flops: float, biops: float, params: float
) -> None:
    counted = cost(slot, family, **options)
    assert counted.flops / 1e6 == pytest.approx(flops, abs=0.0051)
    assert counted.biops / 1e6 == pytest.approx(biops, abs=0.0051)
    assert counted.params / 1e6 == pytest.approx(params, abs=0.00051)


def test_table_2_prints_these_counts_cut_to_integers() -> None:
    resnet18 = cost("cifar10", "resnet18-xnor")
    assert (resnet18.flops // 10**6, resnet18.biops // 10**6, resnet18.params // 10**4) == (16, 1094, 1117)
    assert cost("cifar10", "resnet34-xnor").biops // 10**6 == 2302
    bnas = cost("cifar10", "bnas")
    assert (bnas.flops // 10**6, bnas.biops // 10**6, bnas.params // 10**4) == (175, 1393, 557)
    binary = cost("imagenet", "resnet18-xnor", downsample="binary")
    assert (binary.flops // 10**6, binary.biops // 10**6) == (138, 3699)
    network = full_size("imagenet", "resnet18-xnor", (("downsample", "binary"),))
    ends = sum(p.numel() for part in (network.stem, network.head) for p in part.parameters())
    assert (binary.params - ends) // 10**4 == 1254  # this row leaves stem and classifier out


def test_bnas_parameters_equal_the_published_logs() -> None:
    assert cost("cifar10", "bnas").params == 5_578_252
    assert cost("imagenet", "bnas", architecture="F").params == 39_781_442


def test_bnas_d_misprint_is_the_float_shortcuts_among_the_binary_operations() -> None:
    counted = cost("imagenet", "bnas")
    shortcuts = 2 * 4 * (256 * 512 * 14**2 + 512 * 1024 * 7**2)
    classifier = 2 * 1024 * 1000
    assert (counted.flops - shortcuts - classifier) // 10**6 == 195
    assert (counted.biops + shortcuts) // 10**6 == 6274


def test_resnet18_by_hand() -> None:
    body = sum(
        2 * 9 * c * size**2 * (3 * c + (c if c == 64 else c // 2))
        for c, size in ((64, 32), (128, 16), (256, 8), (512, 4))
    )
    float_part = 2 * 27 * 64 * 32**2 + sum(2 * c * c // 2 * s**2 for c, s in ((128, 16), (256, 8), (512, 4))) + 5120 * 2
    assert cost("cifar10", "resnet18-xnor")[:2] == (float_part, body)


@pytest.mark.parametrize(
    "family", ["resnet18-xnor", "wrn40-xnor", "nin-xnor", "bnas", "bidensenet-xnor", "resnet18-pcnn"]
)
def test_torch_counts_as_many_operations_in_total(family: str) -> None:
    network = full_size("cifar10", family, ())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    counted = cost("cifar10", family)
    assert counter.get_total_flops() == counted.flops + counted.biops


def test_abc_layers_cost_one_convolution_per_pair_of_bases() -> None:
    single, many = (
        cost("imagenet", "resnet18-abc"),
        cost("imagenet", "resnet18-abc", weight_bases=3, activation_bases=5),
    )
    assert many.biops == 15 * single.biops
    assert many.flops == single.flops


def binary_layer(**kwargs: Any) -> BinaryConv2d:
    defaults = {"weight_quantizer": ScaledSign(), "activation_quantizer": SignActivation()}
    return BinaryConv2d(8, 12, 3, **(defaults | kwargs))


def test_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),
        binary_layer(groups=4, padding=1),
        nn.Conv2d(12, 8, (1, 3), padding=(0, 1), bias=False),
        binary_layer(stride=2, padding=1, bias=True, weight_quantizer=Bases(2), activation_quantizer=ABCActivation(3)),
        nn.Flatten(),
        nn.Linear(12 * 16, 10),
    )
    counted, uncounted = count_model(model, (7, 3, 16, 16))
    assert uncounted == []
    assert counted.flops == 2 * (75 * 8 * 64 + 3 * 12 * 8 * 64 + 192 * 10)
    assert counted.biops == 2 * (9 * 2 * 12 * 64 + 6 * 9 * 8 * 12 * 16)
    assert counted.params == sum(p.numel() for p in model.parameters())


def test_an_unquantised_side_makes_float_operations() -> None:
    counted, _ = count_model(binary_layer(padding=1, activation_quantizer=nn.Identity()), (1, 8, 4, 4))
    assert (counted.flops, counted.biops) == (2 * 9 * 8 * 12 * 16, 0)


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(4, 4))
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", x, self.matrix)


def test_what_is_not_counted_is_reported() -> None:
    _, uncounted = count_model(nn.Sequential(Mixing(), nn.BatchNorm2d(4), nn.PReLU(4)), (1, 4, 2, 2))
    assert uncounted == ["0 (Mixing): unknown kind", "0.unused (Conv2d): never ran"]


def test_counting_leaves_the_model_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    count_model(model, (2, 3, 4, 4))
    assert model.training and not model[0]._forward_hooks
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
