"""The derived network: the genotype's cells at their exact widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from bars.cost import Cost, cell_shapes, channels, genotype_cost
from bars.models.cell import Cell
from bars.models.ends import Head, Stem
from bars.models.template import Template
from bars.params import BinarizeParams, SpaceParams
from bars.space import Genotype

if TYPE_CHECKING:
    from bars.pipeline.experiments import StageView


def of_view(view: StageView, genotype: Genotype, num_classes: int, image_size: int) -> Network:
    """The derived network of a genotype, as a stage's parameters describe it."""
    return Network(view.space, view.binarize, genotype, image_size, num_classes)


def cost_of_view(view: StageView, genotype: Genotype, num_classes: int, image_size: int) -> Cost:
    """Its exact cost, by arithmetic."""
    return genotype_cost(view.space, genotype, image_size, num_classes)


class Network(nn.Module):
    """Images [N, 3, H, W] -> logits [N, num_classes]; binary everywhere between stem and head (BARS Sec. 4.1)."""

    def __init__(
        self, space: SpaceParams, binarize: BinarizeParams, genotype: Genotype, image_size: int, num_classes: int
    ) -> None:
        super().__init__()
        template = Template.of(space, binarize, track=True)
        widths = [channels(space.init_channels, s, stage.width) for s, stage in enumerate(genotype.stages)]
        self.genotype = genotype
        self.stem = Stem(space.stem, space.stem_expand, widths[0], space.nodes, track=True)
        self.shapes = cell_shapes(space, genotype, image_size)
        self.cells = nn.ModuleList()
        for shape in self.shapes:
            reduces = shape.index is None
            chosen = genotype.reduction if shape.index is None else genotype.normal(shape.stage, shape.index)
            edges = genotype.space.edges
            self.cells.append(
                Cell(edges, [(chosen[e],) for e in edges], shape.c_in, shape.c, 2 if reduces else 1, template)
            )
        norm = template.normalize(space.nodes * widths[-1]) if space.head_norm else None
        self.head = Head(widths[-1], space.nodes, num_classes, norm)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x)
        logits: Tensor = self.head(x)
        return logits
