"""FLOPs, BiOps and parameters by arithmetic on shapes: the only place that multiplies channels by kernels.

Counts are 2 x MACs of convolutions and linear layers, as in the paper's Table 2: binary convolutions are BiOps, the
stem and the classifier FLOPs; batch norm, ReLU and additions are not counted. Parameters include affine batch norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bars.errors import SpaceError
from bars.space import Genotype, SearchSpace, StageGenotype, kernel_size

if TYPE_CHECKING:
    from bars.params import SpaceParams


class Cost(NamedTuple):
    """Floating-point operations, binary operations (both 2 x MACs) and parameters; adds elementwise with ``plus``."""

    flops: int
    biops: int
    params: int

    def plus(self, other: Cost) -> Cost:
        """Sum of two costs."""
        return Cost(self.flops + other.flops, self.biops + other.biops, self.params + other.params)

    def equivalent(self, divisor: int = 64) -> float:
        """FLOPs + BiOps / divisor: 64 as Table 2's caption says, 32 as its column was computed."""
        return self.flops + self.biops / divisor


def channels(init_channels: int, stage: int, width: float) -> int:
    """Channels per node of ``stage`` (from 0) at a relative width: int(init * width), doubled at each reduction."""
    return int(init_channels * width) << stage


def conv(kernel: int, c_in: int, c_out: int, size_out: int) -> tuple[int, int]:
    """Operations and weights of a kernel x kernel convolution with a size_out x size_out output."""
    weights = kernel * kernel * c_in * c_out
    return 2 * weights * size_out * size_out, weights


def stage_sizes(params: SpaceParams, image_size: int) -> tuple[int, ...]:
    """Height and width of each stage's feature maps. Raises SpaceError where an image is too small or not divisible."""
    if int(params.init_channels * min(params.widths)) < 1:
        raise SpaceError(
            "the narrowest width leaves no channel",
            where="space.init_channels",
            got=f"{params.init_channels} channels at width {min(params.widths)}",
            allowed=f"at least {int(-(-1 // min(params.widths)))}",
        )
    divisor = (4 if params.stem == "imagenet" else 1) * 2 ** (params.stages - 1)
    if image_size % divisor:
        raise SpaceError(
            "the image size does not survive the network's halvings",
            where="data.image_size",
            got=image_size,
            allowed=f"multiples of {divisor} for {params.stages} stages and the {params.stem} stem",
            do="change data.image_size or space.stages",
        )
    first = image_size // (4 if params.stem == "imagenet" else 1)
    return tuple(first >> s for s in range(params.stages))


def _float_unit(kernel: int, c_in: int, c_out: int, size_out: int) -> Cost:
    """A float convolution and the affine norm behind it."""
    ops, weights = conv(kernel, c_in, c_out, size_out)
    return Cost(ops, 0, weights + 2 * c_out)


def _binary_unit(params: SpaceParams, kernel: int, c_in: int, c_out: int, size_out: int) -> Cost:
    """A binary convolution and the norm before it, which is affine where there is one per edge."""
    ops, weights = conv(kernel, c_in, c_out, size_out)
    return Cost(0, ops, weights + (2 * c_in if params.norm == "edge" else 0))


def stem_cost(params: SpaceParams, image_size: int, c: int) -> Cost:
    """The stem: 3 -> c channels, and optionally the authors' float 1x1 to 4c."""
    if params.stem == "imagenet":
        half, size = max(1, c // 2), image_size // 4
        cost = _float_unit(3, 3, half, image_size // 2).plus(_float_unit(3, half, c, size))
    else:
        cost, size = _float_unit(3, 3, c, image_size), image_size
    return cost.plus(_float_unit(1, c, params.nodes * c, size)) if params.stem_expand == "conv1x1" else cost


def head_cost(nodes: int, c: int, num_classes: int) -> Cost:
    """The linear classifier on nodes * c pooled features, with bias."""
    return Cost(2 * nodes * c * num_classes, 0, nodes * c * num_classes + num_classes)


def normal_cell_cost(params: SpaceParams, edges: Mapping[tuple[int, int], str], size: int, c_in: int, c: int) -> Cost:
    """A normal cell whose input has c_in channels per node and which works at c channels per node."""
    cost = _binary_unit(params, 1, params.nodes * c_in, c, size)
    for primitive in edges.values():
        if (kernel := kernel_size(primitive)) is not None:
            cost = cost.plus(_binary_unit(params, kernel, c, c, size))
    return cost


def reduction_cell_cost(
    params: SpaceParams, edges: Mapping[tuple[int, int], str], size: int, c_in: int, c_out: int
) -> Cost:
    """A reduction cell from size x size to half of it, at c_out channels per node; node 0's edges have stride 2."""
    cost = _binary_unit(params, 1, params.nodes * c_in, c_out // 2, size)
    for (source, _), primitive in edges.items():
        if (kernel := kernel_size(primitive)) is not None:
            c = c_out // 2 if source == 0 else c_out
            cost = cost.plus(_binary_unit(params, kernel, c, c_out, size // 2))
    if params.cell_shortcut and params.reduction_shortcut == "binary_conv":
        cost = cost.plus(_binary_unit(params, 3, params.nodes * c_in, params.nodes * c_out, size // 2))
    return cost


@dataclass(frozen=True)
class CellShape:
    """One cell of a built network: its place, spatial size of its input, and channels per node in and out."""

    stage: int
    index: int | None  # position in the stage from 0; None: the reduction cell behind it
    size: int
    c_in: int
    c: int


def cell_shapes(params: SpaceParams, genotype: Genotype, image_size: int) -> tuple[CellShape, ...]:
    """Every cell of the derived network in order.

    The last kept cell of a stage already works at half the next stage's channels, so that the reduction cell exactly
    doubles them (BARS Sec. 4.1.1, authors' "use next stage width").
    """
    sizes = stage_sizes(params, image_size)
    width = [channels(params.init_channels, s, g.width) for s, g in enumerate(genotype.stages)]
    cells: list[CellShape] = []
    for s, (size, stage) in enumerate(zip(sizes, genotype.stages, strict=True)):
        last = s == params.stages - 1
        exit_channels = width[s] if last else width[s + 1] // 2
        c_in = width[s]
        for k in range(stage.depth):
            c = exit_channels if k == stage.depth - 1 else width[s]
            cells.append(CellShape(s, k, size, c_in, c))
            c_in = c
        if not last:
            cells.append(CellShape(s, None, size, c_in, width[s + 1]))
    return tuple(cells)


def genotype_cost(params: SpaceParams, genotype: Genotype, image_size: int, num_classes: int) -> Cost:
    """Exact cost of the derived network: stem, every kept cell, reduction cells with their shortcuts, classifier."""
    first = channels(params.init_channels, 0, genotype.stages[0].width)
    cost = stem_cost(params, image_size, first)
    for cell in cell_shapes(params, genotype, image_size):
        if cell.index is None:
            cost = cost.plus(reduction_cell_cost(params, genotype.reduction, cell.size, cell.c_in, cell.c))
        else:
            edges = genotype.normal(cell.stage, cell.index)
            cost = cost.plus(normal_cell_cost(params, edges, cell.size, cell.c_in, cell.c))
    last = channels(params.init_channels, params.stages - 1, genotype.stages[-1].width)
    return cost.plus(head_cost(params.nodes, last, num_classes))


# Basic blocks per stage of the residual networks that a budget may be a multiple of, by their family's name.
RESIDUAL_BLOCKS = {"resnet18-xnor": (2, 2, 2, 2), "resnet34-xnor": (3, 4, 6, 3)}
RESIDUAL_CHANNELS = (64, 128, 256, 512)


def scaled_channels(count: int, width: float, multiple: int = 4) -> int:
    """``count`` channels times ``width``, rounded to a multiple that every quantizer accepts; exact at width 1."""
    return count if width == 1.0 else max(multiple, round(count * width / multiple) * multiple)


def stage_channels(channels: Sequence[int], width: float) -> list[int]:
    """Channels of each stage: the first one scaled, the others in their ratio to it (strided pairs double)."""
    first = scaled_channels(channels[0], width)
    return [first * count // channels[0] for count in channels]


def residual_biops(family: str, width: float, image_size: int, imagenet_stem: bool, binary_downsample: bool) -> int:
    """BiOps of a ResNet (XNOR): two binary 3x3 convolutions a block, and a third where the downsampling is binary."""
    size = -(-image_size // 4) if imagenet_stem else image_size
    widths = stage_channels(RESIDUAL_CHANNELS, width)
    c_in, total = widths[0], 0
    for stage, (c, blocks) in enumerate(zip(widths, RESIDUAL_BLOCKS[family], strict=True)):
        halved = stage > 0
        size = -(-size // 2) if halved else size
        total += conv(3, c_in, c, size)[0] * (2 if halved and binary_downsample else 1)
        total += (2 * blocks - 1) * conv(3, c, c, size)[0]
        c_in = c
    return total


def uniform_genotype(space: SearchSpace, primitive: str, depth: int, width: float) -> Genotype:
    """The architecture with one primitive on every edge and one depth and width for every stage."""
    cells = {name: dict.fromkeys(space.edges, primitive) for name in space.all_types}
    return Genotype(space, (StageGenotype(depth, width),) * space.stages, cells)


def max_biops(params: SpaceParams, image_size: int, num_classes: int = 1) -> int:
    """BiOps of the largest architecture with 3x3 convolutions only: the base of fractional budgets."""
    space = SearchSpace.from_params(params)
    primitive = "binary_conv_3x3" if "binary_conv_3x3" in space.primitives else space.primitives[0]
    return genotype_cost(
        params, uniform_genotype(space, primitive, space.cells_per_stage, 1.0), image_size, num_classes
    ).biops


def min_biops(params: SpaceParams, image_size: int, num_classes: int = 1) -> int:
    """BiOps of the smallest architecture of the space: least depth and width, cheapest primitive everywhere."""
    space = SearchSpace.from_params(params)
    primitive = min(space.primitives, key=lambda p: kernel_size(p) or 0)
    genotype = uniform_genotype(space, primitive, space.depths[0], space.width_choices[0])
    return genotype_cost(params, genotype, image_size, num_classes).biops


class ExpectedBiops:
    """E[BiOps] under independent choices, differentiable and exact: at one-hot probabilities it is ``genotype_cost``.

    Works on any array type (numpy, torch): ``as_array`` turns nested lists into it. The authors' code leaves reduction
    cells, preprocessing and shortcuts out and softmaxes widths twice; here everything is counted once.
    """

    def __init__(self, params: SpaceParams, image_size: int, as_array: Callable[[Any], Any]) -> None:
        space = SearchSpace.from_params(params)
        init, nodes = params.init_channels, params.nodes
        types = {name: i for i, name in enumerate(space.all_types)}
        own = [[channels(init, s, w) for w in space.width_choices] for s in range(space.stages)]
        self._kernels = as_array([float(2 * (kernel_size(p) or 0) ** 2) for p in space.primitives])
        self._channels = as_array(own)
        self._areas = [float(size**2) for size in stage_sizes(params, image_size)]
        self._type_of = [
            [types[space.cell_type(s, k)] for k in range(space.cells_per_stage)] for s in range(space.stages)
        ]
        self._from_input = [i for i, (source, _) in enumerate(space.edges) if source == 0]
        self._stages = space.stages
        self._preprocess = 2.0 * nodes
        convolves = params.cell_shortcut and params.reduction_shortcut == "binary_conv"
        self._shortcut = 2.0 * 9 * nodes * nodes if convolves else 0.0

    def __call__(self, op: Any, depth: Any, width: Any) -> Any:
        """E[BiOps] for probs of ops [types, edges, primitives], depths [stages, n+1] and widths [stages, widths]."""
        per_edge = (op * self._kernels).sum(-1)  # [types, edges]: 2 k^2, expected
        per_cell = per_edge.sum(-1)
        first = (width * self._channels).sum(-1)  # [stages]: E[c]
        second = (width * self._channels**2).sum(-1)  # [stages]: E[c^2]
        total = 0.0
        for s in range(self._stages):
            last = s == self._stages - 1
            exit_second = second[s] if last else second[s + 1] / 4
            joint = second[s] if last else first[s] * first[s + 1] / 2  # E[c_in * c] of the last kept cell
            below = depth[s, 0]  # P(depth <= k), updated
            for k, type_index in enumerate(self._type_of[s]):
                ends, convs = depth[s, k + 1], per_cell[type_index]
                goes_on = 1.0 - below - ends
                inner = goes_on * (self._preprocess + convs) * second[s]
                # Also a later last cell reads an input at the stage's own width.
                final = ends * (self._preprocess * joint + convs * exit_second)
                total = total + self._areas[s] * (inner + final)
                below = below + ends
            if not last:
                total = total + self._reduction(s, depth[s, 0], first, second, per_edge[-1])
        return total

    def _reduction(self, s: int, skipped: Any, first: Any, second: Any, edges: Any) -> Any:
        """The reduction cell behind stage s; ``skipped`` = P(depth 0), when its input has the stage's own width."""
        out_second = second[s + 1]  # E[c_out^2]; its preprocessed input has c_out / 2
        in_times_out = skipped * first[s] * first[s + 1] + (1.0 - skipped) * out_second / 2
        from_input = sum(edges[i] for i in self._from_input)
        inside = edges.sum() - from_input
        at_input = self._preprocess * in_times_out / 2
        at_output = from_input * out_second / 2 + inside * out_second + self._shortcut * in_times_out
        return self._areas[s] * (at_input + at_output / 4)
