"""Search steps against the plain formulation: the same mathematics, outputs equal to rounding (tests/benchmarks)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.memory import peak_mib
from benchmarks.options import Options, Row, Tables
from benchmarks.steps import How
from benchmarks.timing import ratios, rounds, summary
from benchmarks.variants import Size, Step, search_step

REFERENCE, OURS, HARD = "reference", "ours", "ours, hard sampling"
# spec: times as fast as the reference, at least; and share of its memory, at most. Hard sampling is another estimator.
TARGETS = {
    ("cpu", "weight", OURS): (1.4, 0.8),
    ("cpu", "alpha", OURS): (1.6, 0.8),
    ("cpu", "weight", HARD): (4.0, 0.5),
    ("cuda", "weight", OURS): (4.0, 0.8),
    ("cuda", "alpha", OURS): (4.0, 0.8),
}


def measure(options: Options) -> Tables:
    """One table per size and kind of step."""
    sizes = [Size(4, 1, 8, 8)] if options.quick else [Size(8, 3, 32, 64), Size(16, 3, 32, 64), Size(32, 3, 32, 16)]
    tables: dict[str, list[Row]] = {}
    for size in sizes:
        for kind in ("weight", "alpha"):
            cells = f"3 x {size.cells} + 2 cells, {size.image} pixels, batch {size.batch}"
            tables[f"{kind} step, {size.channels} channels, {cells}"] = _compare(size, kind, options)
    return tables


def _compare(size: Size, kind: str, options: Options) -> list[Row]:
    cuda = options.device.type == "cuda"
    best = How(bfloat16=cuda, capture=cuda)
    eager = How(bfloat16=cuda)
    make: dict[str, Callable[[], Step]] = {
        REFERENCE: partial(search_step, size, kind, options.device, eager, plain=True),
        OURS: partial(search_step, size, kind, options.device, best),
        HARD: partial(search_step, size, kind, options.device, eager, sampling="hard"),
    }
    seconds = rounds({name: build() for name, build in make.items()}, options.rounds, options.device)
    memory = {name: peak_mib(build, options.device, options.threads) for name, build in make.items()}
    times, rows = ratios(seconds, REFERENCE), []
    for name in make:
        row: dict[str, Any] = {"variant": name, **summary(seconds[name])}
        row["images/s"] = size.batch / row["median_ms"] * 1e3
        row["times as fast"] = times[name]
        row["peak MiB"], row["of its memory"] = memory[name], memory[name] / memory[REFERENCE]
        fast, small = TARGETS.get((options.device.type, kind, name), (None, None))
        row["target"] = "" if fast is None else f">= {fast}, <= {small}"
        rows.append(row)
    return rows
