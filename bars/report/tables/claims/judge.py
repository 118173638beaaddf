"""What a claim is, and its verdict: a rule held against the interval of a quantity, never against a mean alone.

* A gain of c points is supported when its interval lies above 0 and reaches c, not supported when it lies below c or
  below 0, and within noise when it holds 0.
* A share of at most r is supported when its interval lies below r (with ratio_tolerance), not supported when above.
* Fewer than min_seeds runs: not tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bars.params import ClaimsParams
from bars.report.layout import Value
from bars.report.stats import Interval
from bars.report.summary import joined
from bars.report.tables.claims.quantities import Measured, NotMeasured, Quantities

SUPPORTED, NOT_SUPPORTED, NOISE, NOT_TESTED = "supported", "not supported", "within noise", "not tested"
VERDICTS = (SUPPORTED, NOT_SUPPORTED, NOISE, NOT_TESTED)
Rule = Callable[[Interval, ClaimsParams], tuple[str, str]]


# ------------------------------------------------------------------------------------------------------ rules
def gains(points: float = 0.0) -> Rule:
    """The quantity is positive and, by its interval, may be as large as claimed."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        low, high = value.bounds
        if high < 0:
            return NOT_SUPPORTED, "the interval lies below 0"
        if low <= 0:
            return NOISE, "the interval holds 0"
        if high < points:
            return NOT_SUPPORTED, f"above 0, but the interval ends below the {points:g} that are claimed"
        return SUPPORTED, "the interval lies above 0" + (f" and reaches {points:g}" if points else "")

    return rule


def at_most(limit: float, *, tolerant: bool = True) -> Rule:
    """The quantity stays below a limit (widened by ratio_tolerance)."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        bound = limit * (1 + claims.ratio_tolerance) if tolerant else limit
        low, high = value.bounds
        if high <= bound:
            return SUPPORTED, f"the interval lies below {bound:.3g}"
        if low > bound:
            return NOT_SUPPORTED, f"the interval lies above {bound:.3g}"
        return NOISE, f"the interval holds {bound:.3g}"

    return rule


def at_least(limit: float) -> Rule:
    """The quantity stays above a limit."""

    def rule(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        low, high = value.bounds
        if low >= limit:
            return SUPPORTED, f"the interval lies above {limit:.3g}"
        if high < limit:
            return NOT_SUPPORTED, f"the interval lies below {limit:.3g}"
        return NOISE, f"the interval holds {limit:.3g}"

    return rule


def always(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
    """A yes-or-no property (1 or 0 per run): every run has it. More than chance only if all agree."""
    if value.mean == 1:
        return SUPPORTED, f"holds in all {value.n}"
    if value.mean == 0:
        return NOT_SUPPORTED, f"holds in none of {value.n}"
    return NOISE, f"holds in {value.mean:.0%} of {value.n}"


def beats_all(value: Interval, claims: ClaimsParams) -> tuple[str, str]:
    """Every baseline surely beaten supports; one that surely is not refutes. ``low`` and ``high`` are those shares."""
    low, high = value.bounds
    if low >= 1:
        return SUPPORTED, ""
    return (NOT_SUPPORTED, "") if high < 1 else (NOISE, "")


# ------------------------------------------------------------------------------------------------------ a claim
@dataclass(frozen=True)
class Claim:
    """What the paper says, in our words, and how it is tested here. ``why_not``: no experiment of the grid tests it."""

    id: str
    claim: str
    where: str
    quantity: str
    unit: str = ""
    printed: str = ""
    measure: Callable[[Quantities], Measured] | None = None
    rule: Rule = always
    why_not: str = ""

    @property
    def by_interval(self) -> bool:
        """Whether its verdict may come about by chance: not a count of runs that have a property."""
        return self.rule not in (always, beats_all)

    def row(self, quantities: Quantities) -> dict[str, Value]:
        """The claim judged on a results tree."""
        about: dict[str, Value] = {
            "id": self.id,
            "claim": self.claim,
            "where": self.where,
            "quantity": self.quantity,
            "unit": self.unit,
            "printed": self.printed,
            "scale": quantities.results.scale,
            "confidence": quantities.claims.confidence,
        }
        try:
            if self.measure is None:
                raise NotMeasured(self.why_not)
            measured = self.measure(quantities)
        except NotMeasured as reason:
            return {**about, "verdict": NOT_TESTED, "why": str(reason)}
        verdict, why = self._verdict(measured.value, quantities.claims)
        return {
            **about,
            **_numbers(measured),
            "detectable": measured.value.detectable(quantities.claims.confidence) if self.by_interval else None,
            "verdict": verdict,
            "images_verdict": self._verdict(measured.images, quantities.claims)[0] if measured.images else None,
            "why": joined(why, measured.note),
        }

    def _verdict(self, value: Interval, claims: ClaimsParams) -> tuple[str, str]:
        if value.n < claims.min_seeds:
            return NOT_TESTED, f"{value.n} of the {claims.min_seeds} seeds needed"
        return self.rule(value, claims)


def _numbers(measured: Measured) -> dict[str, Value]:
    value, images = measured.value, measured.images
    return {
        "value": value.mean,
        "low": value.low,
        "high": value.high,
        "n": value.n,
        "paired": value.paired,
        "images_low": images.low if images else None,
        "images_high": images.high if images else None,
        "n_images": measured.n_images,
        "seeds": " ".join(str(seed) for seed in measured.seeds),
        "data_set": measured.dataset,
    }
