"""The network an experiment trains, and its cost."""

from __future__ import annotations

from torch import nn

from bars.cost import Cost, genotype_cost
from bars.models.baselines import build
from bars.models.counting import count_model
from bars.models.network import Network
from bars.pipeline.experiments import StageView
from bars.space import Genotype


def build_network(view: StageView, genotype: Genotype | None, num_classes: int, image_size: int) -> nn.Module:
    """The derived network of a genotype, or without one the hand-made network."""
    if genotype is None:
        return build(view.model, num_classes, image_size, view.slot, view.binarize)
    return Network(view.space, view.binarize, genotype, image_size, num_classes)


def network_cost(view: StageView, genotype: Genotype | None, num_classes: int, image_size: int) -> Cost:
    """Exact cost of the same network: by arithmetic on the genotype, or by hooks on a hand-made network."""
    if genotype is not None:
        return genotype_cost(view.space, genotype, image_size, num_classes)
    cost, uncounted = count_model(build_network(view, None, num_classes, image_size), (1, 3, image_size, image_size))
    if uncounted:
        raise RuntimeError(f"operations that cannot be counted: {'; '.join(uncounted)}")
    return cost
