"""A gain in accuracy by the test images as well: both seeds and images are drawn anew, over and over.

scipy.stats.bootstrap draws along one axis only; here are two, crossed, since every network sees the same test images.
A draw takes one set of images for all networks (so they stay paired), and n - 1 of n seeds, by which the variance of a
mean over few seeds comes out right on average and not (n - 1) / n of it. With one seed only the images are drawn: the
interval then speaks of these two networks and not of their methods.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bars.report.stats import Interval, pairs

DRAWS = 4000
Right = NDArray[np.bool_]  # which test images a network classified correctly [N]


def gain(one: Mapping[int, Right], other: Mapping[int, Right], confidence: float, *, paired: bool = True) -> Interval:
    """Points of accuracy of ``one`` over ``other``, both by seed; seeds are paired where a t-interval would pair them.

    Raises ValueError where a side is empty or the networks saw different numbers of images.
    """
    draws = np.random.default_rng(0)
    if paired and (shared := pairs(one, other)):
        gains = _stack(one, shared).astype(np.int8) - _stack(other, shared)
        drawn = _mean_over_seeds(_redraw_images(gains, draws), draws)
        return _interval(float(gains.mean()), drawn, confidence, len(shared), paired=True)
    left, right = _stack(one, sorted(one)), _stack(other, sorted(other))
    means = _redraw_images(np.concatenate([left, right]), draws)
    drawn = _mean_over_seeds(means[:, : len(left)], draws) - _mean_over_seeds(means[:, len(left) :], draws)
    return _interval(float(left.mean() - right.mean()), drawn, confidence, min(len(left), len(right)), paired=False)


def _stack(rights: Mapping[int, Right], seeds: list[int]) -> NDArray[np.int8]:
    """Seeds by images [S, N]."""
    return np.stack([rights[seed] for seed in seeds]).astype(np.int8)


def _redraw_images(values: NDArray[np.int8], draws: np.random.Generator) -> NDArray[np.float64]:
    """Means over redrawn images: [S, N] -> [DRAWS, S]. Images that all networks take alike are drawn as one kind."""
    kinds, counts = np.unique(values, axis=1, return_counts=True)
    images = values.shape[1]
    return np.asarray(draws.multinomial(images, counts / images, size=DRAWS) @ kinds.T / images)


def _mean_over_seeds(means: NDArray[np.float64], draws: np.random.Generator) -> NDArray[np.float64]:
    """Means over redrawn seeds: [DRAWS, S] -> [DRAWS]."""
    seeds = means.shape[1]
    chosen = draws.integers(0, seeds, size=(DRAWS, max(seeds - 1, 1)))
    return np.asarray(np.take_along_axis(means, chosen, axis=1).mean(axis=1))


def _interval(centre: float, drawn: NDArray[np.float64], confidence: float, n: int, *, paired: bool) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(100 * centre, 100 * float(low), 100 * float(high), n, paired)
