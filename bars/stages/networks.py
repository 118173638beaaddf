"""The network that an experiment trains, and its cost, from the module that the grid names.

The module is looked up by that name, which is also in the stage's declared code: so a hand-made network does not count
the supernet's template among its code, nor a derived one the baselines.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from bars.cost import Cost
from bars.space import Genotype
from bars.stages.files import CHECKPOINT, load_state, read_state

if TYPE_CHECKING:
    from bars.data import Split
    from bars.pipeline.experiments import StageView


def build(module: str, view: StageView, genotype: Genotype | None, num_classes: int, image_size: int) -> nn.Module:
    """Images [N, 3, S, S] -> logits [N, classes]: the derived network of a genotype, or without one the hand-made."""
    network: nn.Module = importlib.import_module(module).of_view(view, genotype, num_classes, image_size)
    return network


def trained(module: str, view: StageView, genotype: Genotype | None, split: Split, checkpoint: Path) -> nn.Module:
    """The same network with the weights that its retraining left, in evaluation mode. Raises CheckpointError."""
    model = build(module, view, genotype, len(split.classes), split.image_size)
    load_state(model, read_state(checkpoint, CHECKPOINT), checkpoint)
    return model.eval()


def count(module: str, view: StageView, genotype: Genotype | None, num_classes: int, image_size: int) -> Cost:
    """Exact cost of the same network: by arithmetic on the genotype, or by hooks on a hand-made one."""
    cost: Cost = importlib.import_module(module).cost_of_view(view, genotype, num_classes, image_size)
    return cost
