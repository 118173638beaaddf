"""How well the supernet's score, and simpler predictors, rank architectures: rank correlations with their intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bars.errors import RecordError
from bars.pipeline.records import Candidate
from bars.report.artifacts import FULL, RANKED
from bars.report.stats import mean
from bars.report.tree import Results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
SUPERNETS = "supernet, mean over its seeds"
BY_TOP1 = "supernet, by its top-1"


@dataclass(frozen=True)
class Ranked:
    """One architecture of the ranking: its accuracy after retraining, and what each predictor says of it."""

    seed: int
    top1: float
    predictions: Mapping[str, float]  # larger is better


def ranked(results: Results) -> list[Ranked]:
    """The architectures that were retrained, by seed. Raises RecordError where there are fewer than three."""
    runs, candidates = results.runs(RANKED), results.candidates(RANKED)
    found = [
        Ranked(seed, metrics.top1, _predictions(candidates[seed]))
        for seed, metrics in sorted(runs.metrics.items())
        if seed in candidates
    ]
    if len(found) < 3:
        raise RecordError(
            "nothing to put into the ranking: too few architectures",
            where=str(results.folder / results.scale),
            got=f"{len(found)}: {runs.absence or 'all that the grid declares'}",
            allowed="at least 3",
            do="run them first: snakemake --cores 2 results/ranking.csv",
        )
    return found


def _predictions(rows: Sequence[Candidate]) -> dict[str, float]:
    losses = {row.index: row.valid_loss for row in rows if row.valid_loss is not None}
    first = rows[0]
    found = {f"supernet, seed {seed}": -loss for seed, loss in losses.items()} if len(losses) > 1 else {}
    found[SUPERNETS if len(losses) > 1 else "supernet"] = -math.fsum(losses.values()) / len(losses)
    correct = [row.valid_top1 for row in rows if row.valid_top1 is not None]
    found |= {BY_TOP1: mean(correct)} if correct else {}
    found |= {"BiOps": float(first.biops), "parameters": float(first.params)}
    for name, value in (("gradient norm", first.gradient_norm), ("NASWOT", first.naswot)):
        if value is not None and math.isfinite(value):
            found[name] = value
    return found


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with the percentile interval of a bootstrap over architectures."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Skill:
    """What one predictor is worth: rank correlations, and the accuracy of the best of ``k`` draws by its word."""

    predictor: str
    n: int
    tau: Correlation
    rho: Correlation
    k: int
    best_of_k: float
    one_draw: float


def skills(results: Results, architectures: Sequence[Ranked]) -> list[Skill]:
    """One row per predictor that speaks of every architecture; k is that of BARS-B's derive, at most all of them."""
    experiment, confidence = results.experiment(FULL), results.params.report.claims.confidence
    k = experiment.derive.samples if experiment is not None and experiment.has("derive") else 1
    k = min(k, len(architectures))
    names = [n for n in architectures[0].predictions if all(n in a.predictions for a in architectures)]
    top1 = [a.top1 for a in architectures]
    found = []
    for name in names:
        predicted = [a.predictions[name] for a in architectures]
        tau, rho = (_correlation(features, predicted, top1, confidence) for features in (orders, ranks))
        best = expected_best(predicted, top1, k)
        found.append(Skill(name, len(top1), tau, rho, k, best, mean(top1)))
    return found


def expected_best(predicted: Sequence[float], top1: Sequence[float], k: int) -> float:
    """Expected accuracy of that one of k architectures, drawn without repetition, of which the predictor says most.

    The one that is ranked i-th (from 0) is it in C(n - 1 - i, k - 1) of C(n, k) draws.
    """
    order = sorted(range(len(top1)), key=lambda i: -predicted[i])
    n = len(order)
    return math.fsum(math.comb(n - 1 - i, k - 1) / math.comb(n, k) * top1[row] for i, row in enumerate(order))


def _correlation(
    features: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    predicted: Sequence[float],
    top1: Sequence[float],
    confidence: float,
) -> Correlation:
    """Pearson's correlation of what ``features`` makes of each side, all resamples in one call."""
    import numpy as np
    from scipy import stats

    def statistic(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(stats.pearsonr(features(a), features(b), axis=axis).statistic)

    sides = np.array(predicted, np.float64), np.array(top1, np.float64)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # a resample of one architecture, n times
        value = float(statistic(*sides))
        interval = stats.bootstrap(
            sides,
            lambda a, b, axis: np.nan_to_num(statistic(a, b, axis)),
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method="percentile",
            paired=True,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
    # a processor's order of summation shows in the last digits, and tables are compared byte for byte
    return Correlation(*(round(number, 12) for number in (value, float(interval.low), float(interval.high))))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average ranks over the last axis, of which Pearson's correlation is Spearman's rho."""
    import numpy as np
    from scipy import stats

    return np.asarray(stats.rankdata(values, axis=-1))


def orders(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signs of all differences over the last axis, of which Pearson's correlation is Kendall's tau-b."""
    import numpy as np

    return np.sign(values[..., :, None] - values[..., None, :]).reshape(*values.shape[:-1], -1)
