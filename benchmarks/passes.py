"""Search and retraining steps with native passes against the same steps with torch's, in processor time of the thread.

On a machine that does other work too, processor time says more than a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bars.models.native import Native
from bars.training.runtime import Runtime
from benchmarks.options import Options, Row, Tables
from benchmarks.steps import Step
from benchmarks.timing import processor_seconds, ratios, rounds, summary
from benchmarks.variants import Size, retrain_step, search_step

TORCH, NATIVE = "torch's passes", "native passes"
TARGET = 1.3


def measure(options: Options) -> Tables:
    """One table per size and kind of step."""
    sizes = [Size(channels, 1, pixels, 64) for pixels in options.pixels for channels in options.channels]
    sizes = [Size(4, 1, 8, 8)] if options.quick else sizes
    kinds: dict[str, Callable[[Size, Runtime], Step]] = {
        "weight": lambda size, runtime: search_step(size, "weight", runtime),
        "alpha": lambda size, runtime: search_step(size, "alpha", runtime),
        "retraining": lambda size, runtime: retrain_step(size, "network", runtime),
    }
    tables: dict[str, list[Row]] = {}
    for size in sizes:
        for kind, make in kinds.items():
            about = f"3 x {size.cells} + 2 cells, {size.image} pixels, batch {size.batch}"
            tables[f"{kind} step, {size.channels} channels, {about}"] = _compare(partial(make, size), options)
    return tables


def _compare(make: Callable[[Runtime], Step], options: Options) -> list[Row]:
    plain = Runtime(options.device)
    steps = {TORCH: make(plain), NATIVE: make(replace(plain, native=Native()))}
    seconds = rounds(steps, options.rounds, warmup=1, clock=processor_seconds)
    times = ratios(seconds, TORCH)
    return [
        {"variant": name, **summary(own), "times as fast": times[name], "target": TARGET if name == NATIVE else ""}
        for name, own in seconds.items()
    ]
