"""Values that change over the epochs: temperature, entropy weight, learning rate."""

from __future__ import annotations

import math

from bars.params import Ramp


def ramp(value: Ramp, epoch: int, epochs: int) -> float:
    """The ramp at ``epoch`` of ``epochs`` (from 0): start at the first, end at the last."""
    if value.shape == "constant":
        return value.start
    share = epoch / (epochs - 1) if epochs > 1 else 1.0
    if value.shape == "exponential":
        return float(value.start * (value.end / value.start) ** share)
    return value.start + (value.end - value.start) * share


def cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end; ``share`` in [0, 1]."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * share))
