"""The combinatorial search space: what is chosen, among what, and how many architectures that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bars.errors import SpaceError

if TYPE_CHECKING:
    from bars.params import SpaceParams

Edge = tuple[int, int]  # (source node, target node); node 0 is the cell's preprocessed input

NONE = "none"
SHORTCUT = "shortcut"
_KERNELS = {"binary_conv_3x3": 3, "binary_conv_5x5": 5}
REDUCTION = "reduction"


def kernel_size(primitive: str) -> int | None:
    """Kernel size of a binary convolution; ``None`` for a primitive without weights."""
    return _KERNELS.get(primitive)


@dataclass(frozen=True)
class SearchSpace:
    """Macro level: depth and width of each stage. Micro level: a primitive for each edge of each cell type."""

    stages: int
    cells_per_stage: int
    nodes: int
    widths: tuple[float, ...]
    primitives: tuple[str, ...]
    cell_types: str  # "stage" | "shared" | "cell"
    search_depth: bool = True
    search_width: bool = True

    def __post_init__(self) -> None:
        if list(self.widths) != sorted(set(self.widths)) or not self.widths or self.widths[0] <= 0:
            raise SpaceError(
                "widths must be positive and increasing",
                where="space.widths",
                got=list(self.widths),
                allowed="0 < w <= 1",
            )
        if self.widths[-1] != 1.0:
            raise SpaceError(
                "the width choices must end with 1.0, the supernet's own width",
                where="space.widths",
                got=list(self.widths),
                do="add 1.0; to make every network smaller, lower space.init_channels",
            )
        if not self.primitives or len(set(self.primitives)) != len(self.primitives):
            raise SpaceError(
                "primitives must be distinct, and at least one", where="space.primitives", got=list(self.primitives)
            )

    @classmethod
    def from_params(cls, params: SpaceParams) -> SearchSpace:
        """The combinatorial part of ``space`` in params.yaml."""
        return cls(
            stages=params.stages,
            cells_per_stage=params.cells_per_stage,
            nodes=params.nodes,
            widths=tuple(params.widths),
            primitives=tuple(params.primitives),
            cell_types=params.cell_types,
            search_depth=params.search_depth,
            search_width=params.search_width,
        )

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Dense edges of a cell, ordered by target, then source: nodes*(nodes+1)/2 of them (BARS Sec. 4.1.2)."""
        return tuple((source, target) for target in range(1, self.nodes + 1) for source in range(target))

    def cell_type(self, stage: int, cell: int) -> str:
        """Name of the cell type that normal cell ``cell`` of ``stage`` (both from 0) is an instance of."""
        if self.cell_types == "shared":
            return "normal"
        if self.cell_types == "stage":
            return f"normal-{stage + 1}"
        return f"normal-{stage + 1}-{cell + 1}"

    @property
    def normal_types(self) -> tuple[str, ...]:
        """Names of the normal cell types, in order of first use."""
        names = (self.cell_type(s, k) for s in range(self.stages) for k in range(self.cells_per_stage))
        return tuple(dict.fromkeys(names))

    @property
    def all_types(self) -> tuple[str, ...]:
        """Normal cell types, then the one reduction type when there is more than one stage."""
        return self.normal_types + ((REDUCTION,) if self.stages > 1 else ())

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of cells a stage may have."""
        return tuple(range(self.cells_per_stage + 1)) if self.search_depth else (self.cells_per_stage,)

    @property
    def width_choices(self) -> tuple[float, ...]:
        """Relative widths a stage may have."""
        return self.widths if self.search_width else (1.0,)

    def size(self) -> int:
        """Exact number of architectures: |ops|^(edges * types) * |depths|^stages * |widths|^stages."""
        micro = len(self.primitives) ** (len(self.edges) * len(self.all_types))
        return int(micro * (len(self.depths) * len(self.width_choices)) ** self.stages)

    def signature(self) -> dict[str, Any]:
        """What a genotype must agree with to be of this space."""
        return {
            "stages": self.stages,
            "cells_per_stage": self.cells_per_stage,
            "nodes": self.nodes,
            "widths": list(self.widths),
            "primitives": list(self.primitives),
            "cell_types": self.cell_types,
        }
