"""What a family of networks is told, and how its options are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model
from torch import nn

from bars.cost import RESIDUAL_CHANNELS, scaled_channels, stage_channels
from bars.errors import ParamsError
from bars.models.blocks import Activation, Baseline, GlobalPool, StemKind, make_stem, no_activation, stack
from bars.params import BinarizeParams, Slot

Block = Callable[[int, int, int], nn.Module]  # c_in, c_out, stride
Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class Context:
    """Where a network is built: classes, slot, multiplier of its channels, and the binarisation of BARS's own rows."""

    num_classes: int
    slot: Slot
    width: float
    binarize: BinarizeParams

    def channels(self, count: int, multiple: int = 4) -> int:
        """``count`` times the width, rounded to a multiple that every quantizer accepts; exact at width 1."""
        return scaled_channels(count, self.width, multiple)

    def stem(
        self, kind: StemKind | None, imagenet: StemKind, channels: int, activation: Activation = no_activation
    ) -> nn.Module:
        """The stem that was asked for, else that of the slot."""
        return make_stem(kind or ("cifar" if self.slot == "cifar10" else imagenet), channels, activation)

    def resnet(
        self,
        block: Block,
        blocks: Sequence[int],
        *,
        stem: StemKind | None,
        imagenet_stem: StemKind,
        activation: Activation = no_activation,
        channels: Sequence[int] = RESIDUAL_CHANNELS,
        tail: Callable[[int], Sequence[nn.Module]] = lambda channels: (),
        head: Callable[[int, int], nn.Module] = nn.Linear,
    ) -> Baseline:
        """Stem, stages of blocks, ``tail``, average pooling, and a linear classifier (or another ``head``)."""
        widths = stage_channels(channels, self.width)
        layers = stack(block, widths[0], widths, blocks)
        return Baseline(
            self.stem(stem, imagenet_stem, widths[0], activation),
            nn.Sequential(*layers, *tail(widths[-1]), GlobalPool()),
            head(widths[-1], self.num_classes),
        )


def checked_options(family: str, builder: Builder, options: dict[str, Any]) -> dict[str, Any]:
    """``options`` as the keyword-only arguments of a builder. Raises ParamsError for unknown names or values."""
    hints = get_type_hints(builder, include_extras=True)
    arguments = [a for a in inspect.signature(builder).parameters.values() if a.kind is a.KEYWORD_ONLY]
    fields: dict[str, Any] = {a.name: (hints[a.name], a.default) for a in arguments}
    model = create_model("Options", __config__=ConfigDict(extra="forbid", strict=True), **fields)
    try:
        return dict(model(**options))
    except ValidationError as error:
        first = error.errors()[0]
        allowed = "; ".join(f"{a.name}: {a.annotation} (default {a.default})" for a in arguments)
        raise ParamsError(
            f"unknown or wrong option of {family}: {first['msg']}",
            where="model.options." + ".".join(map(str, first["loc"])),
            got=first["input"],
            allowed=allowed or "no options",
        ) from error
