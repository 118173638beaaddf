"""The hand-made networks of Table 2 (and a few beyond it), by family.

A new one is a builder of about ten lines, ``builder(context, *, options...)``, and its line in FAMILIES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from bars.cost import Cost
from bars.errors import ParamsError
from bars.models.baselines import bidensenet, bnas, nin, resnet18, xnor
from bars.models.baselines.family import Builder, Context, checked_options
from bars.models.counting import count_model
from bars.params import BinarizeParams, ModelParams, Slot

if TYPE_CHECKING:
    from bars.pipeline.experiments import StageView

FAMILIES: dict[str, Builder] = {
    "resnet18-xnor": xnor.resnet18_xnor,
    "resnet34-xnor": xnor.resnet34_xnor,
    "resnet18-bireal": resnet18.resnet18_bireal,
    "wrn40-xnor": xnor.wrn40_xnor,
    "nin-xnor": nin.nin_xnor,
    "resnet18-cbcn": resnet18.resnet18_cbcn,
    "resnet18-irnet": resnet18.resnet18_irnet,
    "bnas": bnas.bnas,
    "resnet18-abc": resnet18.resnet18_abc,
    "bidensenet-xnor": bidensenet.bidensenet_xnor,
    "resnet18-pcnn": resnet18.resnet18_pcnn,
    "resnet18-react": resnet18.resnet18_react,
    "resnet18-adabin": resnet18.resnet18_adabin,
    "resnet18-float": resnet18.resnet18_float,
}


def build(params: ModelParams, num_classes: int, image_size: int, slot: Slot, binarize: BinarizeParams) -> nn.Module:
    """The network that ``params`` names: images [N, 3, S, S] -> logits [N, num_classes]; any S >= 4 works.

    ``binarize`` is read by the rows that the BARS authors trained; other families bring their own quantizers.
    Raises ParamsError for an unknown family or option.
    """
    builder = FAMILIES.get(params.family)
    if builder is None:
        raise ParamsError(
            "no such family of networks", where="model.family", got=params.family, allowed=", ".join(FAMILIES)
        )
    if image_size < 4:
        raise ParamsError("images are too small", where="data.image_size", got=image_size, allowed=">= 4")
    context = Context(num_classes=num_classes, slot=slot, width=params.width, binarize=binarize)
    return builder(context, **checked_options(params.family, builder, params.options))


def of_view(view: StageView, genotype: None, num_classes: int, image_size: int) -> nn.Module:
    """The hand-made network that a stage's parameters describe."""
    return build(view.model, num_classes, image_size, view.slot, view.binarize)


def cost_of_view(view: StageView, genotype: None, num_classes: int, image_size: int) -> Cost:
    """Its exact cost, by running it once with hooks. Raises RuntimeError for an operation that cannot be counted."""
    cost, uncounted = count_model(of_view(view, None, num_classes, image_size), (1, 3, image_size, image_size))
    if uncounted:
        raise RuntimeError(f"operations that cannot be counted: {'; '.join(uncounted)}")
    return cost
