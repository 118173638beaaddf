"""Time of one batch in several runtimes, in interleaved rounds: what slows the machine down slows all of them down."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from bars.packed.runtimes import Floats, Runtime

WARM_UP, ROUND_SECONDS = 4, 0.02  # calls at most; of long ones two are enough
Key = TypeVar("Key", bound=Hashable)
Call = Callable[[], object]
Clock = Callable[[], float]


class Time(NamedTuple):
    """Milliseconds of a batch: the median over the rounds, and its quartiles."""

    median: float
    low: float
    high: float


def interleaved(runtimes: Mapping[str, Runtime], images: Floats, rounds: int) -> dict[str, Time]:
    """Time every runtime on the same images [batch, 3, S, S], once a round."""
    calls = {name: functools.partial(run, images) for name, run in runtimes.items()}
    measured = by_round(calls, rounds, ROUND_SECONDS, time.perf_counter)
    return {name: Time(*quartiles(values)) for name, values in measured.items()}


def clock_of(threads: int) -> Clock:
    """One thread's time is the processor's own: what else runs on the machine does not count. Of more: the wall's."""
    return time.process_time if threads == 1 else time.perf_counter


def by_round(calls: Mapping[Key, Call], rounds: int, seconds: float, clock: Clock) -> dict[Key, list[float]]:
    """Milliseconds of each call, one value a round: the mean of as many calls in a row as take about ``seconds``.

    Where those are several, one goes before them untimed, when threads of another may still spin and caches hold its
    data.
    """
    repeats = {key: _repeats(call, seconds, clock) for key, call in calls.items()}
    measured: dict[Key, list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            if repeats[key] > 1:
                call()
            measured[key].append(_milliseconds(call, repeats[key], clock))
    return measured


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile of two values or more."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high


def _repeats(call: Call, seconds: float, clock: Clock) -> int:
    """How often a round calls it: short calls are timed several at a time. The first calls, slow ones, warm it up."""
    took = 0.0
    for i in range(WARM_UP):
        took = _milliseconds(call, 1, clock)
        if i and took > seconds * 1e3:
            break
    return max(1, round(seconds * 1e3 / max(took, 1e-3)))


def _milliseconds(call: Call, repeats: int, clock: Clock) -> float:
    """Mean of some calls in a row."""
    start = clock()
    for _ in range(repeats):
        call()
    return 1e3 * (clock() - start) / repeats
