"""Probabilities of the primitives of normal cells over a search, and what sums them up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bars.pipeline.records import AlphaRow
from bars.report import stats
from bars.space import SHORTCUT

EdgeProbs = dict[tuple[str, int, int], dict[str, float]]
Edges = Mapping[tuple[str, int, int], Mapping[str, float]]  # (cell type, source, target) -> primitive -> prob


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
