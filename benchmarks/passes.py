"""Search and retraining steps with native passes against the same steps with torch's, in processor time of the thread.

On a machine that does other work too, processor time says more than a clock. Where the CPU multiplies matrices of
bfloat16 (AMX) also in bfloat16; search steps in the plain formulation beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from bars.models.native import Native
from bars.training.runtime import Runtime
from benchmarks.inputs import runtime_params
from benchmarks.options import Options, Row, Tables
from benchmarks.steps import Step
from benchmarks.timing import processor_seconds, ratios, rounds, summary
from benchmarks.variants import Size, retrain_step, search_step

TODAY, NATIVE = "float32, torch's passes", "float32, native passes"
HALF, HALF_NATIVE = "bfloat16, torch's passes", "bfloat16, native passes"
REFERENCE = "reference"
# Times as fast as float32 with torch's passes: with AMX at so many channels, and without.
WITH_AMX, WITHOUT = {16: 1.8, 32: 2.3}, 1.3


def measure(options: Options) -> Tables:
    """One table per size and kind of step."""
    sizes = [Size(channels, 1, pixels, 64) for pixels in options.pixels for channels in options.channels]
    sizes = [Size(4, 1, 8, 8)] if options.quick else sizes
    fast = Runtime.resolve(runtime_params(device="cpu", threads=options.threads)).bfloat16  # as auto has it
    for size in sizes:
        for kind, steps in _kinds(size, fast or options.quick).items():
            about = f"3 x {size.cells} + 2 cells, {size.image} pixels, batch {size.batch}"
            target = WITH_AMX.get(size.channels) if fast else WITHOUT
            rows = _compare(steps, options, HALF_NATIVE if fast else NATIVE, target)
            yield f"{kind} step, {size.channels} channels, {about}", rows


def _kinds(size: Size, half: bool) -> dict[str, dict[str, Callable[[], Step]]]:
    """How each kind of step is set up in each way."""
    cpu = torch.device("cpu")
    ways = {TODAY: Runtime(cpu), NATIVE: Runtime(cpu, native=Native())}
    if half:
        ways[HALF] = Runtime(cpu, bfloat16=True)
        ways[HALF_NATIVE] = Runtime(cpu, bfloat16=True, native=Native(torch.bfloat16))
    kinds: dict[str, dict[str, Callable[[], Step]]] = {}
    for kind in ("weight", "alpha"):
        kinds[kind] = {name: partial(search_step, size, kind, way) for name, way in ways.items()}
        kinds[kind][REFERENCE] = partial(search_step, size, kind, Runtime(cpu), plain=True, channels_last=False)
    kinds["retraining"] = {name: partial(retrain_step, size, "network", way) for name, way in ways.items()}
    return kinds


def _compare(make: dict[str, Callable[[], Step]], options: Options, best: str, target: float | None) -> list[Row]:
    seconds = rounds({name: build() for name, build in make.items()}, options.rounds, warmup=1, clock=processor_seconds)
    times = ratios(seconds, TODAY)
    rows: list[Row] = [
        {"variant": name, **summary(own), "times as fast": times[name], "target": target if name == best else None}
        for name, own in seconds.items()
    ]
    if REFERENCE in seconds:
        against = ratios(seconds, REFERENCE)
        rows = [{**row, "times the reference": against[str(row["variant"])]} for row in rows]
    return rows
