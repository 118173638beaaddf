"""The bootstrap over seeds and images: equal to scipy's where that applies, and right about made-up studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bars.report import bootstrap


def test_one_pair_of_networks_is_scipys_bootstrap_over_images() -> None:
    draws = np.random.default_rng(0)
    one, other = draws.random(400) < 0.8, draws.random(400) < 0.7
    value = bootstrap.gain({3: one}, {3: other}, 0.9)
    gains = 100.0 * one - 100.0 * other
    wanted = stats.bootstrap((gains,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=1)
    assert value.mean == pytest.approx(gains.mean())
    assert value.low == pytest.approx(wanted.confidence_interval.low, abs=0.4)
    assert value.high == pytest.approx(wanted.confidence_interval.high, abs=0.4)
    assert (value.n, value.paired) == (1, True)


def test_the_images_of_both_networks_stay_paired() -> None:
    hard = np.random.default_rng(0).random(1000) < 0.5  # hard images are wrong in both: the gain is sure
    better = hard.copy()
    better[:20] = True
    value = bootstrap.gain({0: better}, {0: hard}, 0.95)
    unpaired = 2 * 1.96 * 100 * (2 * 0.25 / 1000) ** 0.5
    assert value.high - value.low < unpaired / 3


def study(draws: np.random.Generator, seeds: int, images: int) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Two methods of equal accuracy: seeds differ by 2 points, images in their difficulty for each of the methods."""
    sides = []
    for _ in range(2):
        taste = draws.normal(0, 0.3, images)
        sides.append({s: draws.random(images) < 0.7 + taste + draws.normal(0, 0.02) for s in range(seeds)})
    return sides[0], sides[1]


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_hold_the_truth_about_as_often_as_they_say(paired: bool) -> None:
    draws, held = np.random.default_rng(1), 0
    for _ in range(100):
        one, other = study(draws, 5, 300)
        value = bootstrap.gain(one, other if paired else {s + 9: v for s, v in other.items()}, 0.9)
        assert value.paired is paired
        held += value.low <= 0 <= value.high
    assert (
        80 <= held <= 98
    )  # 90, and four standard deviations of a count of 100 below; few seeds make it a little loose


def test_seeds_that_mean_something_else_on_each_side_are_not_paired() -> None:
    one, other = study(np.random.default_rng(2), 4, 200)
    apart = bootstrap.gain(one, {s + 9: v for s, v in other.items()}, 0.9)
    assert bootstrap.gain(one, other, 0.9, paired=False) == apart != bootstrap.gain(one, other, 0.9)


def test_networks_that_saw_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="dimension|shape|broadcast"):
        bootstrap.gain({0: np.ones(5, bool)}, {0: np.ones(6, bool)}, 0.95)
