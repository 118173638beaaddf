"""Measured times against counted operations: rank correlations, and the divisor of BiOps that fits best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bars.errors import RecordError
from bars.pipeline import latency
from bars.pipeline.latency_record import PACKED, TWIN, Latency, NetworkLatency, Spread
from bars.report.layout import Value
from bars.report.tree import Results, Runs

if TYPE_CHECKING:
    import numpy.typing as npt

SINGLE = 1  # images at a time
CONVENTIONS = (64, 32)  # divisors of the paper: of its caption, and of its column
COMPARABLE = 3  # networks of which something can be said: two fit any divisor
FEWEST = 5  # networks whose resampling says something: of three there is one draw with three different ones
LEAST, MOST = 1.0, 4096.0  # between which a divisor is looked for
_STEPS = 12 * 16 + 1
_RESAMPLES = 1000


@dataclass(frozen=True)
class Timed:
    """A network with its counted operations (2 x MACs), accuracy and milliseconds per image.

    ``packed``: whether the time is that of its packed form; else of its floats, in the same runtime.
    """

    experiment: str
    seed: int
    slot: str
    packed: bool
    flops: int
    biops: int
    top1: float
    ms: Spread

    def equivalent(self, divisor: float) -> float:
        """FLOPs + BiOps / divisor."""
        return self.flops + self.biops / divisor


def timed(results: Results, batch: int = SINGLE) -> list[Timed]:
    """The networks of a scale that were timed. Raises RecordError where there are none."""
    found = []
    for runs, own in of_grid(results):
        times = None if own is None else own.at(batch)
        ms = None if times is None else times.ms_per_image.get(PACKED) or times.ms_per_image.get(TWIN)
        if own is not None and times is not None and ms is not None:
            metrics = runs.metrics[own.seed]
            counts = (metrics.flops, metrics.biops, metrics.top1)
            found.append(Timed(own.experiment, own.seed, own.slot, PACKED in times.ms_per_image, *counts, ms))
    if not found:
        raise RecordError(
            "nothing to put into figS2: no network was timed",
            where=str(results.folder / results.scale),
            do="time some first: snakemake --cores 2 latency",
        )
    return found


def of_grid(results: Results) -> list[tuple[Runs, NetworkLatency | None]]:
    """The networks that the grid wants timed, and the times of those that were."""
    names = [experiment.name for experiment, _ in latency.timed(results.grid)]
    return [(results.runs(name), results.times(name)) for name in names]


@dataclass(frozen=True)
class Fit:
    """How well FLOPs + BiOps / ``divisor`` predicts time: rank correlations, and the factor by which times are missed.

    The factor is that of a time proportional to the operations, root mean square on a log scale. ``low`` and ``high``:
    percentile bootstrap over networks of a divisor that was fitted; None for fewer than FEWEST.
    """

    divisor: float
    n: int
    spearman: float
    kendall: float
    missed_by: float
    low: float | None = None
    high: float | None = None


def convention(networks: Sequence[Timed], divisor: float) -> Fit:
    """What a given divisor predicts."""
    from scipy import stats

    operations, times = [one.equivalent(divisor) for one in networks], [one.ms.median for one in networks]
    rho, tau = stats.spearmanr(operations, times).statistic, stats.kendalltau(operations, times).statistic
    return Fit(divisor, len(networks), float(rho), float(tau), float(np.exp(_residual(networks, divisor))))


def best(networks: Sequence[Timed], confidence: float) -> Fit:
    """The divisor with the least squares on a log scale, within LEAST to MOST."""
    from scipy.optimize import minimize_scalar

    grid = np.geomspace(LEAST, MOST, _STEPS)
    errors = np.log([one.ms.median for one in networks]) - np.log([[o.equivalent(d) for o in networks] for d in grid])
    start = int(np.argmin(errors.std(1)))
    around = np.log(grid[[max(0, start - 1), min(_STEPS - 1, start + 1)]])
    found = minimize_scalar(lambda log: _residual(networks, float(np.exp(log))), bounds=tuple(around), method="bounded")
    fit = convention(networks, float(np.exp(found.x)))
    low, high = _bootstrap(grid, errors, confidence) if len(networks) >= FEWEST else (None, None)
    return Fit(fit.divisor, fit.n, fit.spearman, fit.kendall, fit.missed_by, low, high)


def _residual(networks: Sequence[Timed], divisor: float) -> float:
    """Standard deviation of log(time / operations): the constant between both is free."""
    return float(np.std([np.log(one.ms.median / one.equivalent(divisor)) for one in networks]))


def _bootstrap(
    grid: npt.NDArray[np.float64], errors: npt.NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Percentiles of the divisor over networks drawn anew; ``errors`` [divisors, networks]."""
    n = errors.shape[1]
    draws = [draw for draw in np.random.default_rng(0).integers(0, n, (_RESAMPLES, n)) if len(set(draw.tolist())) > 2]
    chosen = np.array([grid[np.argmin(errors[:, draw].std(1))] for draw in draws])  # two networks fit any divisor
    low, high = np.quantile(chosen, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


# ------------------------------------------------------------------------------------------------------ for tables
_TIMES = ("packed_ms", "packed_speedup", "openvino_float_ms", "onnxruntime_float_ms", "torch_ms")
KEYS = (
    *(f"{key}{end}" for key in _TIMES for end in ("", "_low", "_high")),
    *("packed_bytes", "float_bytes", "packed_images", "packed_same_class", "latency_seed"),
)


def cells(results: Results, runs: Runs) -> dict[str, Value]:
    """What a table says of the time of a network; empty cells where it was not taken."""
    row: dict[str, Value] = dict.fromkeys(KEYS)
    own = results.times(runs.name)
    if own is None:
        return row
    row |= {"latency_seed": own.seed, "packed_bytes": own.packed_bytes, "float_bytes": own.float_bytes}
    if own.packed_check is not None:
        row |= {"packed_images": own.packed_check.images, "packed_same_class": own.packed_check.same}
    if (times := own.at(SINGLE)) is not None:
        for name, spread in times.ms_per_image.items():
            row |= _spread(f"{name.replace(' ', '_')}_ms", spread)
        row |= _spread("packed_speedup", times.speedup) if times.speedup else {}
    return row


def _spread(key: str, value: Spread) -> dict[str, Value]:
    return {key: value.median, f"{key}_low": value.low, f"{key}_high": value.high}


def not_packed(results: Results, runs: Runs) -> str:
    """Why a network that was timed is not packed, or not in every runtime; empty where it is."""
    own = results.times(runs.name)
    reason = own.reason if own else ""
    return f"not packed: {reason}" if own is not None and own.packed_bytes is None else reason


def measured_on(record: Latency) -> str:
    """Machine, libraries and how it was measured, in words."""
    machine = record.machine
    libraries = ", ".join(f"{name} {machine[name]}" for name in ("openvino", "onnxruntime", "torch") if name in machine)
    load = "" if record.load is None else f", load average {record.load:.1f} before"
    return (
        f"{machine.get('cpu', 'unknown processor')} ({machine.get('instructions', 'unknown')}), "
        f"{record.threads} thread(s), {record.clock} time{load}, {record.rounds} rounds; {libraries}"
    )
