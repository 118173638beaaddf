"""Search steps against the plain formulation: the same mathematics, outputs equal to rounding (tests/benchmarks)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bars.training.runtime import Runtime
from benchmarks.inputs import experiment, runtime_params
from benchmarks.memory import peak_mib
from benchmarks.options import Options, Row, Tables
from benchmarks.steps import Step
from benchmarks.timing import ratios, rounds, summary
from benchmarks.variants import Size, search_step

REFERENCE, LAST, OURS = "reference", "reference, channels-last", "ours"
DRAWN, HARD = "ours, as params.yaml draws", "ours, hard sampling"  # other estimators
NATIVE, HALF = "ours, native passes", "ours, native passes in bfloat16"  # the latter where a CPU has AMX
# Times as fast as the reference, at least; and share of its memory, at most.
TARGETS = {
    ("cpu", "weight", OURS): (1.4, 0.8),
    ("cpu", "alpha", OURS): (1.6, 0.8),
    ("cpu", "weight", HARD): (4.0, 0.5),
    ("cpu", "weight", HALF): (3.5, 0.8),
    ("cpu", "alpha", HALF): (3.5, 0.8),
    ("cuda", "weight", OURS): (4.0, 0.8),
    ("cuda", "alpha", OURS): (4.0, 0.8),
}


def measure(options: Options) -> Tables:
    """One table per size and kind of step; the middle size also with one batch norm per node (space.norm: node)."""
    small, middle, large = Size(8, 3, 32, 64), Size(16, 3, 32, 64), Size(32, 3, 32, 16)
    cases = [(small, "edge"), (middle, "edge"), (large, "edge"), (middle, "node")]
    if options.quick:
        cases = [(Size(4, 1, 8, 8), "edge")]
    for size, norm in cases:
        for kind in ("weight", "alpha"):
            about = f"3 x {size.cells} + 2 cells, {size.image} pixels, batch {size.batch}, norm: {norm}"
            yield f"{kind} step, {size.channels} channels, {about}", _compare(size, kind, norm, options)


def _compare(size: Size, kind: str, norm: str, options: Options) -> list[Row]:
    cuda = options.device.type == "cuda"
    step = partial(search_step, size, kind, norm=norm)
    eager, best = (Runtime(options.device, bfloat16=cuda, capture=capture) for capture in (False, cuda))
    drawn = experiment().search.straight_through
    make: dict[str, Callable[[], Step]] = {
        REFERENCE: partial(step, runtime=eager, plain=True, channels_last=False),
        LAST: partial(step, runtime=eager, plain=True),
        OURS: partial(step, runtime=best),  # all relaxed
        DRAWN: partial(step, runtime=best, one_hot=drawn),
        HARD: partial(step, runtime=eager, sampling="hard"),
    }
    if not cuda:
        here = Runtime.resolve(runtime_params(device="cpu", threads=options.threads, passes="native"))
        native = HALF if here.bfloat16 else NATIVE
        make[native] = partial(step, runtime=here)
        make[f"{native}, as params.yaml draws"] = partial(step, runtime=here, one_hot=drawn)
    seconds = rounds({name: build() for name, build in make.items()}, options.rounds, options.device)
    memory = {name: peak_mib(build, options.device, options.threads) for name, build in make.items()}
    times, rows = ratios(seconds, REFERENCE), list[Row]()
    for name in make:
        row: dict[str, Any] = {"variant": name, **summary(seconds[name])}
        row["images/s"] = size.batch / row["median_ms"] * 1e3
        row["times as fast"] = times[name]
        row["peak MiB"], row["of its memory"] = memory[name], memory[name] / memory[REFERENCE]
        fast, small = TARGETS.get((options.device.type, kind, name), (None, None))
        row["target"] = "" if fast is None else f">= {fast}, <= {small}"
        rows.append(row)
    return rows
