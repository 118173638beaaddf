"""How much of a network's binary weights has moved: what the literature on binary networks calls flips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bars.binarize.layers import BinaryConv2d


class SignFlips:
    """Shares of a model's binary weights whose sign differs from the start, and from the last measurement."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = [m for m in model.modules() if isinstance(m, BinaryConv2d) and m.has_binary_weight]
        self._start = self._signs()
        self._last = self._start

    def restart(self) -> None:
        """After weights were put back from a checkpoint: what is there now is what was measured last."""
        self._last = self._signs()

    def measure(self) -> tuple[float, float]:
        """(flips, flip rate): shares in [0, 1] against the start and against the last call; zeros without weights."""
        now = self._signs()
        flips, rate = (self._differing(now, before) for before in (self._start, self._last))
        self._last = now
        return flips, rate

    @torch.no_grad()
    def _signs(self) -> list[Tensor]:
        return [layer.weight_signs() for layer in self._layers]

    @staticmethod
    def _differing(now: list[Tensor], before: list[Tensor]) -> float:
        count = sum(signs.numel() for signs in now)
        return sum(int((a != b).sum()) for a, b in zip(now, before, strict=True)) / count if count else 0.0
