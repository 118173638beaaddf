"""Time of one batch in several runtimes, in interleaved rounds: what slows the machine down slows all of them down."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

from bars.packed.runtimes import Floats, Runtime

WARM_UP, ROUND_SECONDS = 3, 0.02


class Time(NamedTuple):
    """Milliseconds of a batch: the median over the rounds, and its quartiles."""

    median: float
    low: float
    high: float


def interleaved(runtimes: Mapping[str, Runtime], images: Floats, rounds: int) -> dict[str, Time]:
    """Time every runtime on the same images [batch, 3, S, S], once a round, a round in about ROUND_SECONDS or more."""
    repeats = {name: _repeats(run, images) for name, run in runtimes.items()}
    measured: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(rounds):
        for name, run in runtimes.items():
            measured[name].append(_milliseconds(run, images, repeats[name]))
    return {name: _summary(values) for name, values in measured.items()}


def _repeats(run: Runtime, images: Floats) -> int:
    """How often a round calls it: short calls are timed several at a time."""
    for _ in range(WARM_UP):
        run(images)
    return max(1, round(ROUND_SECONDS * 1e3 / _milliseconds(run, images, 1)))


def _milliseconds(run: Runtime, images: Floats, repeats: int) -> float:
    """Mean of some calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        run(images)
    return 1e3 * (time.perf_counter() - start) / repeats


def _summary(values: list[float]) -> Time:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Time(median, low, high)
