"""The derived network: the genotype's cells at their exact widths."""

from __future__ import annotations

from torch import Tensor, nn

from bars.cost import cell_shapes, channels
from bars.models.cell import Cell
from bars.models.ends import Head, Stem
from bars.models.primitives import Template
from bars.params import BinarizeParams, SpaceParams
from bars.space import Genotype


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
        self.head = Head(widths[-1], space.nodes, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x)
        logits: Tensor = self.head(x)
        return logits
