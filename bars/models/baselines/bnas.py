"""BNAS (Kim et al., ECCV 2020): DARTS-style cells with the architectures that its authors published."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from bars.binarize.activations import SignActivation
from bars.binarize.weights import ScaledSign, WeightGradient
from bars.models.baselines.family import Context
from bars.models.blocks import GlobalPool, StemKind, binary, even
from bars.models.cell import DropPath

Node = tuple[tuple[str, int], tuple[str, int]]  # two (operation, input); inputs 0 and 1 are the two previous cells


class Architecture(NamedTuple):
    """Two cells and how many of them; reductions stand at one and two thirds."""

    channels: int
    cells: int
    normal: tuple[Node, ...]
    reduce: tuple[Node, ...]
    strided_norm_affine: bool  # of the preprocess after a reduction; which one is told by the published counts


BNAS_A = Architecture(
    channels=36,
    cells=20,
    normal=(
        (("none", 1), ("dilated3", 0)),
        (("binary3", 1), ("none", 2)),
        (("none", 2), ("none", 3)),
        (("none", 3), ("none", 4)),
    ),
    reduce=(
        (("max_pool", 0), ("none", 1)),
        (("max_pool", 0), ("none", 2)),
        (("none", 3), ("none", 2)),
        (("none", 3), ("none", 4)),
    ),
    strided_norm_affine=False,
)
BNAS_D = Architecture(
    channels=64,
    cells=12,
    normal=(
        (("binary3", 1), ("dilated3", 0)),
        (("binary3", 1), ("binary3", 2)),
        (("binary3", 2), ("dilated3", 1)),
        (("dilated3", 1), ("binary3", 0)),
    ),
    reduce=(
        (("max_pool", 0), ("max_pool", 1)),
        (("max_pool", 0), ("binary3", 2)),
        (("max_pool", 0), ("dilated3", 3)),
        (("max_pool", 0), ("dilated3", 4)),
    ),
    strided_norm_affine=True,
)
# A for CIFAR-10; D and the larger F of the same cells for ImageNet.
ARCHITECTURES = {"A": BNAS_A, "D": BNAS_D, "F": BNAS_D._replace(channels=68, cells=15)}


def unit(c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1, affine: bool = True) -> nn.Module:
    """BN, sign, binary convolution, ReLU."""
    conv = binary(lambda k: ScaledSign("channel", center=True), lambda c: SignActivation(1.0))
    layer = conv(c_in, c_out, kernel, stride=stride, dilation=dilation)
    return nn.Sequential(nn.BatchNorm2d(c_in, affine=affine), layer, nn.ReLU())


def operation(name: str, c: int, stride: int) -> nn.Module:
    """An edge's operation, C channels in and out; drop-path acts on those with weights and on pooling alike."""
    if name == "max_pool":
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), DropPath())
    return nn.Sequential(unit(c, c, 3, stride, 2 if name == "dilated3" else 1), DropPath())


class CellShortcut(nn.Module):
    """Shortcut across a reduction cell: BN and a float 2x2 convolution with stride 2 and bias."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.cell_shortcut = nn.Sequential(nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c_out, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cell_shortcut(even(x))
        return y


class BnasCell(nn.Module):
    """The outputs of the two previous cells -> [N, 4 c, H/stride, W/stride]; nodes are summed in pairs, then joined."""

    def __init__(
        self, plan: Architecture, c_before: int, c_previous: int, c: int, *, reduces: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        nodes = plan.reduce if reduces else plan.normal
        self.c, self.stride = c, 2 if reduces else 1
        if after_reduction:
            self.preprocess0 = unit(c_before, c, 3, stride=2, affine=plan.strided_norm_affine)
        else:
            self.preprocess0 = unit(c_before, c, 1)
        self.preprocess1 = unit(c_previous, c, 1)
        self.edges = [[(name, source) for name, source in node if name != "none"] for node in nodes]
        self.operations = nn.ModuleList(
            operation(name, c, self.stride if source < 2 else 1) for node in self.edges for name, source in node
        )
        read = {source for node in self.edges for _, source in node}
        self.idle = [source for source in (0, 1) if source not in read]
        self.shortcut: nn.Module | None = None
        if c_previous == 4 * c or reduces:
            self.shortcut = CellShortcut(c_previous, 4 * c) if reduces else nn.Identity()

    def forward(self, before: Tensor, previous: Tensor) -> Tensor:
        states = [self.preprocess0(before), self.preprocess1(previous)]
        n, _, height, width = states[1].shape
        size = (-(-height // self.stride), -(-width // self.stride))
        operations = iter(self.operations)
        for node in self.edges:
            terms = [next(operations)(states[source]) for _, source in node]
            states.append(sum(terms[1:], terms[0]) if terms else states[0].new_zeros(n, self.c, *size))
        out = torch.cat(states[2:], 1)
        if self.shortcut is not None:
            out = out + self.shortcut(previous)
        for source in self.idle:
            # BNAS-A's reduction cells read only one input. The other's weights are part of the published counts; they
            # stay in the graph, with gradient zero, so that distributed training waits for nobody.
            out = out + 0.0 * states[source].mean()
        return out


class BnasNet(nn.Module):
    """Stem, cells of which each reads the two before it, average pooling, classifier."""

    def __init__(self, stem: nn.Module, stem2: nn.Module | None, cells: nn.ModuleList, head: nn.Module) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"first": stem} if stem2 is None else {"first": stem, "second": stem2})
        self.cells, self.pool, self.head = cells, GlobalPool(), head

    def forward(self, images: Tensor) -> Tensor:
        before = self.stem["first"](images)
        previous = self.stem["second"](before) if "second" in self.stem else before
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        logits: Tensor = self.head(self.pool(previous))
        return logits


def bnas(
    ctx: Context,
    *,
    architecture: Literal["A", "D", "F"] | None = None,
    cells: Annotated[int, Field(ge=3)] | None = None,
    stem: StemKind | None = None,
    weight_gradient: WeightGradient = "exact",
) -> nn.Module:
    """BNAS, by default A in the cifar10 slot and D in the imagenet slot; cells binary but for the reductions' shortcut.

    ``cells``: fewer than the published ones, for a small scale.

    ``weight_gradient: port`` is that of its code, without which its weights stand still under its own SGD.

    The published code leaves the last two convolutions of the last cell with full-precision weights, by an index that
    forgets the two float shortcuts; that is not repeated here.
    """
    plan = ARCHITECTURES[architecture or ("A" if ctx.slot == "cifar10" else "D")]
    plan = plan._replace(cells=cells or plan.cells)
    reductions = (plan.cells // 3, 2 * plan.cells // 3)
    c = ctx.channels(plan.channels, multiple=2)
    first, second, c_before, c_previous = _stems(ctx, stem, c)
    built = nn.ModuleList()
    after_reduction = second is not None
    for i in range(plan.cells):
        reduces = i in reductions
        c = 2 * c if reduces else c
        built.append(BnasCell(plan, c_before, c_previous, c, reduces=reduces, after_reduction=after_reduction))
        c_before, c_previous, after_reduction = c_previous, 4 * c, reduces
    network = BnasNet(first, second, built, nn.Linear(4 * c, ctx.num_classes))
    for module in network.modules():
        if isinstance(module, ScaledSign):
            module.gradient = weight_gradient
    return network


def _stems(ctx: Context, kind: StemKind | None, c: int) -> tuple[nn.Module, nn.Module | None, int, int]:
    """First and second stem and their channels."""
    if ctx.slot == "cifar10" and kind is None:
        first = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.ReLU())
        return first, None, 3 * c, 3 * c
    norm = nn.BatchNorm2d(c)
    second = nn.Sequential(nn.ReLU(), nn.Conv2d(c, c, 3, 2, 1, bias=False), norm)
    return ctx.stem(kind, "imagenet", c), second, c, c
