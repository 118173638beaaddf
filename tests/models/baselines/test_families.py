"""Every family: binary where it says so, trainable everywhere, at small images and widths, with checked options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bars.binarize.layers import AfterStep, AuxiliaryLoss, BinaryConv2d, is_fully_binarized, set_progress
from bars.errors import ParamsError
from bars.models.baselines import FAMILIES, build
from bars.models.cell import DropPath
from bars.params import BinarizeParams, ModelParams, Slot
from tests.blocks import block

SLOTS: tuple[tuple[Slot, int], ...] = (("cifar10", 8), ("imagenet", 32))
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in FAMILIES),
    ("resnet18-xnor", {"downsample": "binary", "weight_scale": "channel"}),
    ("resnet18-xnor", {"layout": "plain"}),
    ("resnet18-xnor", {"layout": "plain", "downsample": "binary"}),
    ("resnet18-cbcn", {"wide": False}),
    ("resnet18-abc", {"weight_bases": 3, "activation_bases": 5}),
    ("resnet18-pcnn", {"projections": 2}),
    ("bidensenet-xnor", {"depth": 28, "stem": "imagenet"}),
    ("bnas", {"cells": 4}),
]
IDS = [family + "".join(f"-{k}-{v}" for k, v in options.items()) for family, options in VARIANTS]


def tiny(
    family: str, options: dict[str, Any], slot: Slot = "cifar10", size: int = 8, width: float = 0.125
) -> nn.Module:
    torch.manual_seed(0)
    params = ModelParams(family=family, options=options, width=width)
    return build(params, 5, size, slot, block(BinarizeParams))


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=IDS)
@pytest.mark.parametrize(("slot", "size"), SLOTS)
def test_one_step_gives_every_parameter_a_finite_gradient(
    family: str, options: dict[str, Any], slot: Slot, size: int
) -> None:
    model = tiny(family, options, slot, size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_progress(model, 0.0)
    logits = model(torch.randn(8, 3, size, size).to(memory_format=torch.channels_last))
    assert logits.shape == (8, 5)
    loss = F.cross_entropy(logits, torch.arange(8) % 5)
    extra = AuxiliaryLoss(model)()
    (loss if extra is None else loss + extra).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()) != _cannot_learn(family, options, slot, name), name
    AfterStep(model)()


def _cannot_learn(family: str, options: dict[str, Any], slot: Slot, name: str) -> bool:
    """BNAS-A's two reduction cells read one of their two inputs only."""
    idle = {
        None: ("cells.6.preprocess1.", "cells.13.preprocess1."),
        4: ("cells.1.preprocess1.", "cells.2.preprocess1."),
    }
    return family == "bnas" and slot == "cifar10" and name.startswith(idle[options.get("cells")])


class Convolutions(TorchFunctionMode):
    """Keeps what the convolutions inside a BinaryConv2d were given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inside = False
        self.seen: list[tuple[Tensor, Tensor]] = []
        for module in model.modules():
            if isinstance(module, BinaryConv2d):
                module.register_forward_pre_hook(lambda *_: setattr(self, "inside", True))
                module.register_forward_hook(lambda *_: setattr(self, "inside", False))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.conv2d and self.inside:
            self.seen.append((args[0].detach(), args[1].detach()))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=IDS)
def test_binary_convolutions_see_binary_values_only(family: str, options: dict[str, Any]) -> None:
    model = tiny(family, options).eval()  # in training NiN drops signs to zero
    with Convolutions(model) as convolutions, torch.no_grad():
        model(torch.randn(4, 3, 8, 8))
    binary = [m for m in model.modules() if isinstance(m, BinaryConv2d)]
    assert len(convolutions.seen) == len(binary)
    assert bool(binary) == (family != "resnet18-float")
    m, n = options.get("weight_bases", 1), options.get("activation_bases", 1)
    for signs, weight in convolutions.seen:
        if family in ("resnet18-abc", "resnet18-adabin"):
            assert len(signs.unique()) <= 2**n
        else:
            assert set(signs.unique().tolist()) <= {-1.0, 1.0}
        for channel in weight:
            levels = len(channel.unique()) if family == "resnet18-adabin" else len(channel.abs().unique())
            assert levels <= (2 if family == "resnet18-adabin" else 2 ** (m - 1))


# Table 2, "FP component"; the last ones are not in it.
FLOAT_PARTS = {
    "resnet18-xnor": "FP Downsample",
    "resnet34-xnor": "FP Downsample",
    "resnet18-bireal": "FP Downsample",
    "wrn40-xnor": "FP Downsample",
    "nin-xnor": "",
    "resnet18-cbcn": "FP Downsample",
    "resnet18-irnet": "FP Downsample",
    "bnas": "FP Cell Shortcut",
    "resnet18-abc": "",
    "bidensenet-xnor": "FP Downsample",
    "resnet18-pcnn": "FP Downsample",
    "resnet18-react": "FP Downsample",
    "resnet18-adabin": "FP Downsample",
    "resnet18-float": "FP Convolution, FP Downsample",
}


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=IDS)
def test_with_fixed_weights_a_network_computes_the_same_and_has_no_quantizer(
    family: str, options: dict[str, Any]
) -> None:
    model, images = tiny(family, options).eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        before = model(images)
        layers = [layer for layer in model.modules() if isinstance(layer, BinaryConv2d)]
        for layer in layers:
            layer.fix_weight()
        assert torch.equal(model(images), before)
    assert not any(layer.has_binary_weight for layer in layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_float_parts_are_those_of_the_table(family: str) -> None:
    assert is_fully_binarized(tiny(family, {})) == (not FLOAT_PARTS[family], FLOAT_PARTS[family])


def test_binary_downsampling_makes_the_xnor_network_fully_binary() -> None:
    assert is_fully_binarized(tiny("resnet18-xnor", {"downsample": "binary"}, "imagenet", 32)) == (True, "")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("slot", "sizes"), [("cifar10", (8, 9, 14, 32)), ("imagenet", (8, 32, 36, 57))])
def test_any_image_size_works(family: str, slot: Slot, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        with torch.device("meta"):
            model = tiny(family, {}, slot, size)
        assert model(torch.empty(2, 3, size, size, device="meta")).shape == (2, 5)


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=IDS)
def test_any_width_works(family: str, options: dict[str, Any]) -> None:
    for width in (0.05, 0.17, 0.3, 0.61):
        with torch.device("meta"):
            model = tiny(family, options, width=width)
        assert model(torch.empty(2, 3, 8, 8, device="meta")).shape == (2, 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_width_scales_parameters_about_quadratically(family: str) -> None:
    def count(width: float) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in tiny(family, {}, width=width).parameters())

    assert 2.5 < count(1.0) / count(0.5) < 4.5
    assert count(0.01) > 0


def test_progress_sharpens_irnet_and_changes_its_gradient_but_not_its_output() -> None:
    model = tiny("resnet18-irnet", {})
    x = torch.randn(8, 3, 8, 8)
    outputs, gradients = [], []
    for p in (0.0, 0.9):
        set_progress(model, p)
        model.zero_grad()
        logits = model(x)
        logits.square().sum().backward()
        outputs.append(logits.detach())
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    assert torch.equal(*outputs)
    assert not torch.allclose(*gradients)


def test_pcnn_loss_enters_and_pulls_weights_to_their_levels() -> None:
    model = tiny("resnet18-pcnn", {"penalty": 1.0})
    before = AuxiliaryLoss(model)()
    assert before is not None and float(before.detach()) > 0
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    after = AuxiliaryLoss(model)()
    assert after is not None and float(after.detach()) < float(before.detach())
    assert AuxiliaryLoss(tiny("resnet18-bireal", {}))() is None


def test_latent_weights_stay_in_the_window() -> None:
    model = tiny("resnet18-xnor", {})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(100.0)
    AfterStep(model)()
    latent = [m.weight for m in model.modules() if isinstance(m, BinaryConv2d)]
    assert all(float(w.detach().abs().max()) <= 1.0 for w in latent)


def test_nin_norms_keep_a_positive_scale() -> None:
    model = tiny("nin-xnor", {})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.fill_(-1.0)
    AfterStep(model)()
    inner = [m.weight for m in model.body.modules() if isinstance(m, nn.BatchNorm2d)][:-1]
    assert all(float(w.detach().min()) == pytest.approx(0.01) for w in inner)


def test_drop_path_reaches_the_cells_of_bnas() -> None:
    model = tiny("bnas", {})
    assert any(isinstance(m, DropPath) for m in model.modules())


@pytest.mark.parametrize(
    ("options", "strides"),
    [
        ({}, [1] * 6 + [2] + [1] * 6 + [2] + [1] * 6),
        ({"cells": 8}, [1, 1, 2, 1, 1, 2, 1, 1]),
        ({"cells": 3}, [1, 2, 2]),
    ],
)
def test_reductions_of_bnas_stand_at_its_thirds(options: dict[str, Any], strides: list[int]) -> None:
    model: Any = tiny("bnas", options)
    assert [cell.stride for cell in model.cells] == strides


def test_xnor_rows_take_the_binarisation_of_params() -> None:
    binarize = block(BinarizeParams, weight_scale="channel", activation_clip=0.7, weight_clip=0.9)
    for layout in ("bars", "plain"):
        model = build(
            ModelParams(family="resnet18-xnor", options={"layout": layout}, width=0.125), 5, 8, "cifar10", binarize
        )
        layer = next(m for m in model.modules() if isinstance(m, BinaryConv2d))
        assert (layer.weight_quantizer.scaling, layer.weight_quantizer.clip) == ("channel", 0.9)


def test_a_built_network_computes_the_same_after_saving_and_loading() -> None:
    first, second = tiny("resnet18-irnet", {}), tiny("resnet18-irnet", {})
    set_progress(first, 0.7)
    first(torch.randn(8, 3, 8, 8))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(first.eval()(x), second.eval()(x))


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("resnet50-xnor", {}, "resnet18-xnor"),
        ("resnet18-xnor", {"downsample": "fp"}, "downsample"),
        ("resnet18-xnor", {"downsampel": "float"}, "downsample"),
        ("bidensenet-xnor", {"depth": 44}, "depth"),
        ("resnet18-abc", {"activation_bases": 2}, "activation_bases"),
        ("resnet18-abc", {"weight_bases": 0}, "weight_bases"),
        ("resnet18-bireal", {"stem": "vgg"}, "conv7"),
        ("nin-xnor", {"dropout": 1.0}, "dropout"),
        ("resnet18-pcnn", {"projections": 3}, "projections"),
        ("resnet18-irnet", {"t_min": 0.0}, "t_min"),
        ("resnet18-xnor", {"layout": 1}, "layout"),
        ("bnas", {"cells": 2}, "cells"),
    ],
)
def test_wrong_families_and_options_are_named(family: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        tiny(family, options)
