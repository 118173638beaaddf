"""What every cell of a network has in common."""

from __future__ import annotations

from dataclasses import dataclass

from bars.models.norm import BatchNorm
from bars.params import BinarizeParams, SpaceParams


@dataclass(frozen=True)
class Template:
    """What every cell of a network has in common; ``track`` keeps running BN statistics (derived networks only).

    ``binary``: whether its units are binarised at all; a supernet may be in floats, to compare with.
    """

    nodes: int
    op_shortcut: bool
    cell_shortcut: bool
    staggered: bool
    reduction_shortcut: str
    preprocess_shortcut: bool
    norm: str
    binarize: BinarizeParams
    track: bool
    mask_activations: bool
    binary: bool = True

    @classmethod
    def of(
        cls,
        space: SpaceParams,
        binarize: BinarizeParams,
        *,
        track: bool,
        width_mask: str = "activation",
        operations: str = "binary",
    ) -> Template:
        """The template that params.yaml describes."""
        return cls(
            nodes=space.nodes,
            op_shortcut=space.op_shortcut,
            cell_shortcut=space.cell_shortcut,
            staggered=space.strided_conv == "staggered",
            reduction_shortcut=space.reduction_shortcut,
            preprocess_shortcut=space.preprocess_shortcut,
            norm=space.norm,
            binarize=binarize,
            track=track,
            mask_activations=width_mask == "activation",
            binary=operations == "binary",
        )

    def normalize(self, channels: int) -> BatchNorm:
        """Batch normalisation without affine part; without ``track`` it always uses the batch's own statistics."""
        return BatchNorm(channels, self.track)
