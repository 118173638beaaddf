"""When a run counts as failed: the paper prints "Failed" without saying what it means (Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bars.report.tree import Runs
from bars.space import NONE, SHORTCUT

if TYPE_CHECKING:
    from bars.params import ClaimsParams
    from bars.space import Genotype


@dataclass(frozen=True)
class Failure:
    """How many runs of an experiment failed, and by which criteria."""

    failed: int
    of: int
    criteria: tuple[str, ...]

    def __str__(self) -> str:
        return f"failed in {self.failed} of {self.of}: {', '.join(self.criteria)}" if self.failed else ""


def cheap_share(genotype: Genotype) -> float | None:
    """Share of shortcut and none among the edges of the network's normal cells; None where it has none."""
    normal = set(genotype.space.normal_types)
    edges = [primitive for name in genotype.used_types if name in normal for primitive in genotype.cells[name].values()]
    return sum(primitive in (SHORTCUT, NONE) for primitive in edges) / len(edges) if edges else None


def failure(runs: Runs, genotypes: Mapping[int, Genotype], claims: ClaimsParams) -> Failure:
    """Which runs failed: the search diverged, its normal cells collapsed, or the network did not learn.

    The thresholds are report.claims of params.yaml.
    """
    failed, criteria = 0, list[str]()
    for seed, metrics in runs.metrics.items():
        reasons = []
        if metrics.search_status == "diverged":
            reasons.append("search diverged")
        if seed in genotypes and (cheap_share(genotypes[seed]) or 0.0) > claims.collapse_share:
            reasons.append(f"over {claims.collapse_share:.0%} of normal edges are shortcut or none")
        classes = len(metrics.class_top1)
        if classes and metrics.top1 < claims.failed_guesses / classes:
            reasons.append(f"top-1 below {claims.failed_guesses / classes:.0%}")
        failed += bool(reasons)
        criteria += reasons
    return Failure(failed, len(runs.metrics), tuple(dict.fromkeys(criteria)))
