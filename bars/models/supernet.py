"""The supernet: every architecture of the space in one network with shared weights (BARS Sec. 3.2, 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from bars.cost import channels
from bars.models.cell import Cell, OpChoice
from bars.models.ends import Head, Stem
from bars.models.native import Native
from bars.models.sums import add_scaled
from bars.models.template import Template
from bars.models.width import Width
from bars.params import BinarizeParams, SpaceParams
from bars.space import Genotype, SearchSpace

DECISIONS = ("op", "depth", "width")


@dataclass(frozen=True)
class Sample:
    """A draw of an architecture: relaxed, one-hot, or some of its decisions one-hot.

    op [types, edges, primitives], depth [stages, cells + 1] and width [stages, widths] sum to 1 over the last axis;
    depth or width is None where it is not searched. Of the decisions ``drawn`` only what ``genotype`` chose is
    computed; their tensors, if any, are then straight-through ones that carry the gradient. Where ``heard``, all is
    computed, and what was not drawn passes no gradient on: it is multiplied by zero.
    """

    op: Tensor | None
    depth: Tensor | None
    width: Tensor | None
    genotype: Genotype | None = None
    drawn: Sequence[str] = DECISIONS
    heard: bool = False

    @classmethod
    def one_hot(cls, genotype: Genotype) -> Sample:
        """The architecture itself, without gradient."""
        return cls(None, None, None, genotype)

    @property
    def complete(self) -> bool:
        """Whether it is one architecture, nothing of it relaxed."""
        return self.genotype is not None and set(self.drawn) == set(DECISIONS) and not self.heard

    def chosen(self, decision: str) -> Genotype | None:
        """The architecture whose choice of ``decision`` alone is computed, or None where all choices are.

        A relaxed depth mixes the widths at which a cell may end its stage, so there all channels are computed.
        """
        mixed = decision == "width" and self.depth is not None and "depth" not in self.drawn
        return self.genotype if decision in self.drawn and not mixed and not self.heard else None

    def passing(self, decision: str) -> Genotype | None:
        """The architecture whose choice of ``decision`` alone passes gradients on, or None where all choices do."""
        return self.genotype if decision in self.drawn and self.heard else None

    def whole(self) -> Sample:
        """The same draw with everything computed, so that what was not drawn has its gradient too."""
        return replace(self, heard=True)

    def without_gradient(self) -> Sample:
        """The same where nobody asks for its gradient: what is drawn is one-hot, so its tensors multiply by one."""
        drawn = () if self.genotype is None or self.heard else self.drawn
        op, depth, width = (None if d in drawn else getattr(self, d) for d in DECISIONS)
        return replace(self, op=op, depth=depth, width=width)

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors that are there: of ops, depths, widths."""
        return tuple(t for t in (self.op, self.depth, self.width) if t is not None)

    def leaves(self, device: torch.device | str) -> Sample:
        """The same values on a device as leaves that want a gradient."""
        moved = self.to(device)
        fresh = [None if t is None else t.detach().requires_grad_() for t in (moved.op, moved.depth, moved.width)]
        return replace(self, op=fresh[0], depth=fresh[1], width=fresh[2])

    def to(self, device: torch.device | str) -> Sample:
        """The sample on another device."""
        move = [None if t is None else t.to(device, non_blocking=True) for t in (self.op, self.depth, self.width)]
        return replace(self, op=move[0], depth=move[1], width=move[2])


class Supernet(nn.Module):
    """Images [N, 3, H, W] and a Sample -> logits. At a one-hot sample it equals the derived network, output for output.

    BN always uses the batch's statistics: those of a mixture belong to no architecture.
    """

    stem_masks: Tensor
    native: Native | None = None

    def __init__(
        self,
        space: SpaceParams,
        binarize: BinarizeParams,
        image_size: int,
        num_classes: int,
        width_mask: str = "activation",
        operations: str = "binary",
    ) -> None:
        super().__init__()
        self.params, self.space = space, SearchSpace.from_params(space)
        template = Template.of(space, binarize, track=False, width_mask=width_mask, operations=operations)
        full = [space.init_channels << s for s in range(space.stages)]
        edges, candidates = self.space.edges, [self.space.primitives] * len(self.space.edges)
        self.stem = Stem(space.stem, space.stem_expand, full[0], space.nodes, track=False)
        self.stages = nn.ModuleList(
            nn.ModuleList(Cell(edges, candidates, c, c, 1, template) for _ in range(space.cells_per_stage))
            for c in full
        )
        self.reductions = nn.ModuleList(Cell(edges, candidates, c, 2 * c, 2, template) for c in full[:-1])
        norm = template.normalize(space.nodes * full[-1]) if space.head_norm else None
        self.head = Head(full[-1], space.nodes, num_classes, norm)
        self.type_index = {name: i for i, name in enumerate(self.space.all_types)}
        for s, c in enumerate(full):
            counts = [channels(space.init_channels, s, w) for w in self.space.width_choices]
            rows = torch.tensor([[float(j < count) for j in range(c)] for count in counts])
            self.register_buffer(f"masks_{s}", rows, persistent=False)
        # Of the channels between the two convolutions of the ImageNet stem, half as many.
        halves = [max(1, channels(space.init_channels, 0, w) // 2) for w in self.space.width_choices]
        rows = torch.tensor([[float(j < half) for j in range(max(1, full[0] // 2))] for half in halves])
        self.register_buffer("stem_masks", rows, persistent=False)

    def forward(self, images: Tensor, sample: Sample) -> Tensor:
        own = [self._width(s, s, sample) for s in range(self.space.stages)]
        x = self.stem(images, own[0], self._inner_stem_mask(sample))
        stage = self._relaxed_stage if sample.chosen("depth") is None else self._drawn_stage
        for s in range(self.space.stages):
            last = s == self.space.stages - 1
            leaving = own[s] if last else self._width(s, s + 1, sample)
            x, width = stage(x, s, own[s], leaving, sample)
            if not last:
                x = self.reductions[s](x, width, own[s + 1], self._choice(sample, "reduction"))
        logits: Tensor = self.head(x, width)
        return logits

    def _drawn_stage(self, x: Tensor, s: int, own: Width, leaving: Width, sample: Sample) -> tuple[Tensor, Width]:
        """The cells that were drawn; the last of them works at the next stage's width."""
        genotype = sample.chosen("depth")
        assert genotype is not None
        depth, width = genotype.stages[s].depth, own
        for k in range(depth):
            target = leaving if k == depth - 1 else own
            x = self._cells(s)[k](x, width, target, self._choice(sample, self.space.cell_type(s, k)))
            width = target
        return x if sample.depth is None else x * sample.depth[s, depth].to(x.dtype), width

    def _relaxed_stage(self, x: Tensor, s: int, own: Width, leaving: Width, sample: Sample) -> tuple[Tensor, Width]:
        """Chain of cells and their aggregation node (BARS Eq. 3).

        A cell that ends its stage works at the next stage's width. Whether it does is P(depth = k | depth >= k) of the
        draw, so its mask mixes the two widths in that proportion; at a one-hot depth that is exact.
        """
        depth = None if sample.depth is None else sample.depth[s]
        total = None if depth is None else _added(torch.zeros_like(x), x, depth[0], self.native)
        mask = None if depth is None or own.mask is None else depth[0] * own.mask
        width = own
        source = own
        passing = None if depth is None else sample.passing("depth")
        # The cells behind the drawn end are multiplied by zero: nobody asks for gradients within them.
        end = self.space.cells_per_stage if passing is None else passing.stages[s].depth
        unheard = replace(sample, heard=False).without_gradient()
        for k, cell in enumerate(self._cells(s)):
            if depth is None:
                width = leaving if k == self.space.cells_per_stage - 1 else own
            else:
                width = _between(own, leaving, depth[k + 1] / depth[k + 1 :].sum().clamp_min(1e-12))
            with torch.set_grad_enabled(torch.is_grad_enabled() and k < end):
                choice = self._choice(sample if k < end else unheard, self.space.cell_type(s, k))
                x = cell(x, source, width, choice)
            source = width
            if depth is not None and total is not None:
                total = _added(total, x, depth[k + 1], self.native)
                mask = None if mask is None or width.mask is None else mask + depth[k + 1] * width.mask
        if depth is None or total is None:
            return x, width
        return total, Width(own.channels, mask)

    def _cells(self, stage: int) -> nn.ModuleList:
        return cast(nn.ModuleList, self.stages[stage])

    def _width(self, stage: int, chooser: int, sample: Sample) -> Width:
        """Channels of ``stage`` under the width that stage ``chooser`` drew: a slice, or a mask (BARS Eq. 4)."""
        rows: Tensor = getattr(self, f"masks_{stage}")
        genotype = sample.chosen("width")
        count = rows.shape[1]
        if genotype is not None:
            count = channels(self.params.init_channels, stage, genotype.stages[chooser].width)
        return Width(count, None if sample.width is None else _mixed(sample.width[chooser], rows)[:count])

    def _inner_stem_mask(self, sample: Sample) -> Tensor | None:
        if self.params.stem != "imagenet":
            return None
        genotype = sample.chosen("width")
        if genotype is not None:
            row: Tensor = self.stem_masks[self.space.width_choices.index(genotype.stages[0].width)]
            return row
        return None if sample.width is None else _mixed(sample.width[0], self.stem_masks)

    def _choice(self, sample: Sample, cell_type: str) -> OpChoice:
        weight = None if sample.op is None else sample.op[self.type_index[cell_type]]
        return OpChoice(weight, *(self._index(of, cell_type) for of in (sample.chosen("op"), sample.passing("op"))))

    def _index(self, genotype: Genotype | None, cell_type: str) -> list[int] | None:
        if genotype is None:
            return None
        names = genotype.cells[cell_type]
        return [self.space.primitives.index(names[edge]) for edge in self.space.edges]


def _added(total: Tensor, x: Tensor, share: Tensor, native: Native | None) -> Tensor:
    """The total, to which x is added in place, times its share."""
    return add_scaled([total], x, [share.to(x.dtype)], native)[0]


def _mixed(shares: Tensor, masks: Tensor) -> Tensor:
    """Masks [choices, channels] in these shares, [channels], in float32 under autocast too."""
    with torch.autocast(shares.device.type, enabled=False):
        return shares @ masks


def _between(own: Width, leaving: Width, share: Tensor) -> Width:
    if own.mask is None or leaving.mask is None:
        return own
    return Width(own.channels, torch.lerp(own.mask, leaving.mask, share.to(own.mask.dtype)))
