"""Means, sample standard deviations and t-intervals over seeds, and what so many seeds can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; the values must not be empty."""
    return math.fsum(values) / len(values)


def sample_std(values: Sequence[float]) -> float | None:
    """Standard deviation with n - 1; None below two values, and exactly 0 where all are the same."""
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return 0.0
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def pooled_std(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation within groups, and its degrees of freedom; None where no group has two values."""
    squares, degrees = 0.0, 0
    for values in groups:
        if len(values) > 1:
            squares += math.fsum((v - mean(values)) ** 2 for v in values)
            degrees += len(values) - 1
    return (math.sqrt(squares / degrees), degrees) if degrees else None


def t_quantile(confidence: float, degrees: float) -> float:
    """Half width of a two-sided Student interval in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + confidence / 2))


@dataclass(frozen=True)
class Interval:
    """A mean with its t-interval; ``low`` and ``high`` are None below two values. ``n`` counts what was averaged.

    ``error`` and ``degrees``: its standard error and degrees of freedom, where it is a t-interval.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    paired: bool = False
    error: float | None = None
    degrees: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high; infinite where one value alone gives none."""
        return (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)

    def detectable(self, confidence: float) -> float | None:
        """The true distance from a limit that is shown in ``POWER`` of such studies, were the spread the one seen."""
        if self.error is None or self.degrees is None:
            return None
        return self.error * standard_errors(confidence, self.degrees)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.4g} (n={self.n})"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}] (n={self.n})"


POWER = 0.8


def standard_errors(confidence: float, degrees: float) -> float:
    """How many standard errors a true difference must have to be shown with ``POWER``, by the noncentral t."""
    from scipy.special import nctdtrinc

    return float(nctdtrinc(degrees, 1 - POWER, t_quantile(confidence, degrees)))


def _student(centre: float, error: float, degrees: float, confidence: float, n: int, paired: bool) -> Interval:
    half = t_quantile(confidence, degrees) * error
    return Interval(centre, centre - half, centre + half, n, paired, error, degrees)


def interval(values: Sequence[float], confidence: float, *, paired: bool = False) -> Interval:
    """Mean and t-interval of independent values."""
    centre, std, n = mean(values), sample_std(values), len(values)
    if std is None:
        return Interval(centre, None, None, n, paired)
    return _student(centre, std / math.sqrt(n), n - 1, confidence, n, paired)


def pairs(one: Mapping[int, object], other: Mapping[int, object]) -> list[int]:
    """The seeds by which two experiments are compared in pairs; empty where too few are shared."""
    shared = sorted(set(one) & set(other))
    return shared if len(shared) >= 2 or (shared and min(len(one), len(other)) < 2) else []


def difference(
    one: Mapping[int, float], other: Mapping[int, float], confidence: float, *, paired: bool = True
) -> Interval | None:
    """Mean of ``one`` - ``other`` over seeds: paired where two are shared, else Welch's; None if a side is empty.

    ``paired=False``: a seed says something else on either side, so that sharing one means nothing.
    """
    if paired and (shared := pairs(one, other)):
        return interval([one[s] - other[s] for s in shared], confidence, paired=True)
    if not one or not other:
        return None
    a, b = list(one.values()), list(other.values())
    centre, n = mean(a) - mean(b), min(len(a), len(b))
    std_a, std_b = sample_std(a), sample_std(b)
    if std_a is None or std_b is None:
        return Interval(centre, None, None, n)
    var_a, var_b = std_a**2 / len(a), std_b**2 / len(b)
    if var_a + var_b == 0:
        return Interval(centre, centre, centre, n)
    degrees = (var_a + var_b) ** 2 / (var_a**2 / (len(a) - 1) + var_b**2 / (len(b) - 1))
    return _student(centre, math.sqrt(var_a + var_b), degrees, confidence, n, False)


def ratio(one: Mapping[int, float], other: Mapping[int, float], confidence: float) -> Interval | None:
    """Mean of ``one`` / ``other`` over seeds: paired where seeds are shared, else each over the other's mean."""
    if shared := pairs(one, other):
        return interval([one[s] / other[s] for s in shared], confidence, paired=True)
    if not one or not other:
        return None
    base = mean(list(other.values()))
    return interval([v / base for v in one.values()], confidence)
