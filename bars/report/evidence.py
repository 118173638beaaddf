"""Quantities that claims rest on, computed from stage files, by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bars.pipeline.records import AlphaRow
from bars.report import stats
from bars.report.results import Results, Runs, check_one_split
from bars.report.stats import Interval
from bars.space import SHORTCUT, Genotype

T = TypeVar("T")
EdgeProbs = dict[tuple[str, int, int], dict[str, float]]
Edges = Mapping[tuple[str, int, int], Mapping[str, float]]  # (cell type, source, target) -> primitive -> prob


class NotMeasured(Exception):  # noqa: N818 (no error: the claim stays untested)
    """Why a quantity cannot be had."""


@dataclass(frozen=True)
class Measured:
    """A quantity with its interval over seeds, and what it was measured on."""

    value: Interval
    seeds: tuple[int, ...]
    dataset: str
    note: str = ""


def normal_probs(rows: Iterable[AlphaRow]) -> dict[int, EdgeProbs]:
    """Op probabilities of the normal cells' edges: epoch -> (cell type, source, target) -> primitive -> prob."""
    epochs: dict[int, EdgeProbs] = {}
    for row in rows:
        if row.kind == "op" and row.group.startswith("normal"):
            edge = epochs.setdefault(row.epoch, {}).setdefault((row.group, row.source, row.target), {})
            edge[row.choice] = row.prob
    return epochs


def mean_shortcut(edges: Edges) -> float:
    """Mean probability of the shortcut over edges."""
    return stats.mean([probs.get(SHORTCUT, 0.0) for probs in edges.values()])


def mean_largest(edges: Edges) -> float:
    """Mean probability of each edge's most likely primitive; 1 = one-hot."""
    return stats.mean([max(probs.values()) for probs in edges.values()])


def mean_entropy(edges: Edges) -> float:
    """Mean entropy of the edges as a share of the largest possible; 1 = uniform, 0 = one-hot."""
    return stats.mean(
        [_entropy(probs.values()) / math.log(len(probs)) if len(probs) > 1 else 0.0 for probs in edges.values()]
    )


def _entropy(probs: Iterable[float]) -> float:
    return -math.fsum(p * math.log(p) for p in probs if p > 0)


class Evidence:
    """Quantities of a results tree; each says by ``NotMeasured`` what it lacks."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.claims = results.params.report.claims

    # ------------------------------------------------------------------------------------------ metrics
    def runs(self, name: str) -> Runs:
        """Runs with at least one result. Raises NotMeasured."""
        runs = self.results.runs(name)
        if not runs.metrics:
            raise NotMeasured(f"{name}: {runs.absence}")
        return runs

    def compare(
        self,
        key: str,
        one: str,
        other: str,
        how: Callable[[dict[int, float], dict[int, float], float], Interval | None],
    ) -> Measured:
        """A number of metrics.json of ``one`` against that of ``other``, on the same split."""
        a, b = self.runs(one), self.runs(other)
        check_one_split([a, b])
        factor = 100.0 if key == "top1" else 1.0
        left, right = ({s: factor * v for s, v in runs.values(key).items()} for runs in (a, b))
        value = how(left, right, self.claims.confidence)
        assert value is not None
        return Measured(value, _common(left, right), a.dataset or "", _absences(a, b))

    def gain(self, one: str, other: str) -> Measured:
        """Difference of test accuracy in points."""
        return self.compare("top1", one, other, stats.difference)

    def share(self, key: str, one: str, other: str) -> Measured:
        """Ratio of a count."""
        return self.compare(key, one, other, stats.ratio)

    # ------------------------------------------------------------------------------------------ other files
    def genotypes(self, name: str) -> dict[int, Genotype]:
        """Derived architectures by seed. Raises NotMeasured."""
        return self._some(name, self.results.genotypes(name), "genotype")

    def per_seed(self, name: str, values: Mapping[int, float], note: str = "") -> Measured:
        """Mean of one experiment's own values."""
        value = stats.interval(list(values.values()), self.claims.confidence)
        return Measured(value, tuple(values), self._dataset(name), note)

    def against(self, one: str, left: Mapping[int, float], other: str, right: Mapping[int, float]) -> Measured:
        """Difference of two experiments' values, paired by seed where both have it."""
        value = stats.difference(left, right, self.claims.confidence)
        if value is None:
            raise NotMeasured(f"{other if left else one}: no value")
        return Measured(value, _common(left, right), self._dataset(one))

    def probs(self, name: str) -> dict[int, dict[int, EdgeProbs]]:
        """Op probabilities of normal edges: seed -> epoch -> edge -> primitive -> prob. Raises NotMeasured."""
        found = {seed: normal_probs(rows) for seed, rows in self.results.alphas(name).items()}
        return self._some(name, {seed: epochs for seed, epochs in found.items() if epochs}, "logged alphas")

    def at_end(self, name: str, of: Callable[[Edges], float]) -> dict[int, float]:
        """A quantity of the last logged epoch, by seed."""
        return {seed: of(epochs[max(epochs)]) for seed, epochs in self.probs(name).items()}

    def derive_gap(self, name: str) -> dict[int, float]:
        """Points of validation accuracy lost from the relaxed supernet's last epoch to the chosen architecture."""
        epochs, candidates = self.results.epochs(name), self.results.candidates(name)
        gaps = {}
        for seed in sorted(set(epochs) & set(candidates)):
            chosen = next(c for c in candidates[seed] if c.chosen)
            if epochs[seed] and chosen.valid_top1 is not None and math.isfinite(epochs[seed][-1].valid_top1):
                gaps[seed] = 100 * (epochs[seed][-1].valid_top1 - chosen.valid_top1)
        return self._some(name, gaps, "validation accuracy before and after deriving")

    def _some(self, name: str, found: dict[int, T], what: str) -> dict[int, T]:
        if not found:
            raise NotMeasured(f"{name}: {self.results.runs(name).absence or 'no ' + what}")
        return found

    def _dataset(self, name: str) -> str:
        return self.results.runs(name).dataset or ""


def _common(left: Mapping[int, float], right: Mapping[int, float]) -> tuple[int, ...]:
    shared = set(left) & set(right)
    return tuple(sorted(shared if shared else set(left) | set(right)))


def _absences(*many: Runs) -> str:
    return "; ".join(f"{runs.name}: {runs.absence}" for runs in many if runs.absence)
