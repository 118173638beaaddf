"""How the search step grows with channels, cells and image size, beside what the cost model counts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bars.cost import max_biops
from bars.training.runtime import Runtime
from benchmarks.inputs import space_of
from benchmarks.options import Options, Row, Tables
from benchmarks.timing import rounds
from benchmarks.variants import Size, search_step

BASE = Size(16, 2, 16, 64)
AXES: dict[str, tuple[int, ...]] = {"channels": (8, 16, 24, 32, 48), "cells": (1, 2, 3, 4), "image": (8, 16, 24, 32)}
QUICK = {"channels": (4, 8), "cells": (1, 2)}


def measure(options: Options) -> Tables:
    """Weight and alpha step together, one axis at a time; the exponents are fits over the whole axis."""
    fits: list[Row] = []
    for axis, values in (QUICK if options.quick else AXES).items():
        base = Size(4, 1, 8, 4) if options.quick else BASE
        sizes = [replace(base, **{axis: value}) for value in values]
        steps = {
            f"{size} {kind} {size.image}": search_step(size, kind, Runtime(options.device))
            for size in sizes
            for kind in ("weight", "alpha")
        }
        medians = [statistics.median(own) for own in rounds(steps, options.rounds, options.device).values()]
        seconds = [weight + alpha for weight, alpha in zip(medians[::2], medians[1::2], strict=True)]
        counted = [max_biops(space_of(size.channels, size.cells), size.image) * size.batch for size in sizes]
        rows: list[Row] = [
            {axis: value, "ms": second * 1e3, "G binary operations counted": count / 1e9}
            for value, second, count in zip(values, seconds, counted, strict=True)
        ]
        yield f"{axis}, others at {base}, {base.image} pixels, batch {base.batch}", rows
        fits.append(
            {
                "axis": axis,
                "time ~ x^": exponent(values, seconds),
                "operations ~ x^": exponent(values, counted),
                "time, last two": exponent(values[-2:], seconds[-2:]),
                "operations, last two": exponent(values[-2:], counted[-2:]),
            }
        )
    yield "exponents", fits


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y over log x, by least squares."""
    log_x, log_y = [math.log(v) for v in x], [math.log(v) for v in y]
    return statistics.linear_regression(log_x, log_y).slope
