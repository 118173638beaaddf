"""Quantities that claims rest on, computed from stage files, by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from bars.report import bootstrap, stats
from bars.report.distribution import EdgeProbs, Edges, normal_probs
from bars.report.stats import Interval
from bars.report.summary import joined
from bars.report.tree import Results, Runs, check_one_split
from bars.space import Genotype

T = TypeVar("T")


class NotMeasured(Exception):  # noqa: N818 (no error: the claim stays untested)
    """Why a quantity cannot be had."""


@dataclass(frozen=True)
class Measured:
    """A quantity with its interval over seeds, and what it was measured on.

    ``images``: its interval over seeds and ``n_images`` test images, where predictions were recorded.
    """

    value: Interval
    seeds: tuple[int, ...]
    dataset: str
    note: str = ""
    images: Interval | None = None
    n_images: int | None = None


class Quantities:
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
        return Measured(value, _seeds(value, left, right), a.dataset or "", _absences(a, b))

    def gain(self, one: str, other: str, *, images: bool = False) -> Measured:
        """Difference of test accuracy in points; with ``images`` also by bootstrap over the test images."""
        paired = self._pairs(one) and self._pairs(other)
        measured = self.compare("top1", one, other, partial(stats.difference, paired=paired))
        if not images:
            return measured
        a, b = (
            {seed: predictions.right for seed, predictions in self.results.predictions(name).items()}
            for name in (one, other)
        )
        if set(a) != set(self.runs(one).metrics) or set(b) != set(self.runs(other).metrics):
            return replace(measured, note=joined(measured.note, "predictions of the test images were not recorded"))
        interval = bootstrap.gain(a, b, self.claims.confidence, paired=paired)
        return replace(measured, images=interval, n_images=len(next(iter(a.values()))))

    def mean_gain(self, ones: Sequence[str], others: Sequence[str]) -> Measured:
        """Difference of two groups' mean test accuracy in points, each over the seeds that all of it have."""
        sides = [self.runs(name) for name in ones], [self.runs(name) for name in others]
        every = [runs for side in sides for runs in side]
        check_one_split(every)
        left, right = (
            {seed: 100.0 * stats.mean([runs.metrics[seed].top1 for runs in side]) for seed in shared_seeds(side)}
            for side in sides
        )
        paired = all(map(self._pairs, (*ones, *others)))
        value = stats.difference(left, right, self.claims.confidence, paired=paired)
        if value is None:
            raise NotMeasured(f"no seed with a result of each of {', '.join(others if left else ones)}")
        return Measured(value, _seeds(value, left, right), every[0].dataset or "", _absences(*every))

    def _pairs(self, name: str) -> bool:
        """Whether a seed repeats the experiment, or matches another of this seed: others draw another architecture."""
        experiment = self.runs(name).experiment
        return experiment is None or experiment.kind not in ("random", "ranked")

    def share(self, key: str, one: str, other: str) -> Measured:
        """Ratio of a count."""
        return self.compare(key, one, other, stats.ratio)

    # ------------------------------------------------------------------------------------------ other files
    def genotypes(self, name: str) -> dict[int, Genotype]:
        """Derived architectures by seed. Raises NotMeasured."""
        return self._some(name, self.results.genotypes(name), "genotype")

    def per_seed(self, name: str, values: Mapping[int, float]) -> Measured:
        """Mean of one experiment's own values."""
        value = stats.interval(list(values.values()), self.claims.confidence)
        return Measured(value, tuple(values), self._dataset(name))

    def against(self, one: str, left: Mapping[int, float], other: str, right: Mapping[int, float]) -> Measured:
        """Difference of two experiments' values, paired by seed where both have it."""
        value = stats.difference(left, right, self.claims.confidence)
        if value is None:
            raise NotMeasured(f"{other if left else one}: no value")
        return Measured(value, _seeds(value, left, right), self._dataset(one))

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


def _seeds(value: Interval, left: Mapping[int, float], right: Mapping[int, float]) -> tuple[int, ...]:
    """The seeds that a comparison rests on: shared ones of pairs, else those of either side."""
    return tuple(sorted(set(left) & set(right) if value.paired else set(left) | set(right)))


def shared_seeds(many: Sequence[Runs]) -> list[int]:
    """The seeds of which all of them have a result."""
    return sorted(set.intersection(*(set(runs.metrics) for runs in many)))


def _absences(*many: Runs) -> str:
    return "; ".join(f"{runs.name}: {runs.absence}" for runs in many if runs.absence)
