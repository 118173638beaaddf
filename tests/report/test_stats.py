from __future__ import annotations

import math

import numpy as np
import pytest

from bars.report import stats
from bars.report.text import big, operations, percent, significant


def test_mean_and_sample_std_by_hand() -> None:
    assert stats.mean([1.0, 2.0, 6.0]) == 3.0
    assert stats.sample_std([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert stats.sample_std([1.0]) is None


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.7062), (2, 4.3027), (9, 2.2622)])
def test_student_quantiles_are_those_of_printed_tables(degrees: int, quantile: float) -> None:
    assert stats.t_quantile(0.95, degrees) == pytest.approx(quantile, abs=1e-4)


def test_interval_by_hand() -> None:
    value = stats.interval([1.0, 2.0, 3.0], 0.95)
    assert (value.mean, value.n) == (2.0, 3)
    assert value.low == pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert value.high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-4)
    assert stats.interval([5.0], 0.95).low is None


def test_shared_seeds_are_paired() -> None:
    value = stats.difference({0: 1.0, 1: 5.0, 2: 9.0}, {1: 4.0, 2: 8.0, 7: 0.0}, 0.95)
    assert value == stats.Interval(1.0, 1.0, 1.0, 2, paired=True, error=0.0, degrees=1)


def test_disjoint_seeds_get_welchs_interval() -> None:
    one, other = {0: 1.0, 1: 2.0, 2: 4.0}, {5: 0.0, 6: 1.0}
    value = stats.difference(one, other, 0.9)
    assert value is not None
    a, b = (7 / 3) / 3, 0.5 / 2  # variances of the two means
    degrees = (a + b) ** 2 / (a**2 / 2 + b**2 / 1)
    half = stats.t_quantile(0.9, degrees) * math.sqrt(a + b)
    assert not value.paired
    assert (value.low, value.high) == (pytest.approx(7 / 3 - 0.5 - half), pytest.approx(7 / 3 - 0.5 + half))


def test_seeds_that_mean_something_else_on_each_side_are_not_paired() -> None:
    one, other = {0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.0, 1: 1.0}
    apart = stats.difference(one, {5: 0.0, 6: 1.0}, 0.9)
    assert stats.difference(one, other, 0.9, paired=False) == apart != stats.difference(one, other, 0.9)


def test_a_single_seed_has_no_interval_and_an_empty_side_no_difference() -> None:
    value = stats.difference({0: 3.0}, {0: 1.0}, 0.95)
    assert value is not None
    assert (value.mean, value.low, value.n) == (2.0, None, 1)
    assert stats.difference({}, {0: 1.0}, 0.95) is None


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_what_so_many_seeds_can_show_is_shown_in_four_of_five_studies(seeds: int) -> None:
    far = stats.standard_errors(0.95, seeds - 1) / math.sqrt(seeds)
    draws = np.random.default_rng(seeds).normal(far, 1.0, (20_000, seeds))
    errors = draws.std(axis=1, ddof=1) / math.sqrt(seeds)
    shown = draws.mean(axis=1) - stats.t_quantile(0.95, seeds - 1) * errors > 0
    assert shown.mean() == pytest.approx(0.8, abs=0.01)


def test_the_pooled_spread_is_that_within_the_groups() -> None:
    """Of equal groups it is the root of their mean variance; single values say nothing."""
    groups = np.random.default_rng(0).normal([[0.0], [100.0], [-7.0]], [[1.0], [2.0], [3.0]], (3, 5))
    found = stats.pooled_std([*groups.tolist(), [4.0]])
    assert found == (pytest.approx(math.sqrt(groups.var(axis=1, ddof=1).mean())), 12)
    assert stats.pooled_std([[1.0, 3.0], [5.0, 5.0, 5.0]]) == (pytest.approx(math.sqrt(2 / 3)), 3)
    assert stats.pooled_std([[1.0], []]) is None


def test_a_detectable_distance_needs_a_spread() -> None:
    assert stats.interval([1.0], 0.95).detectable(0.95) is None
    assert stats.interval([1.0, 2.0], 0.95).detectable(0.95) == pytest.approx(0.5 * stats.standard_errors(0.95, 1))


def test_ratios_are_paired_by_seed() -> None:
    value = stats.ratio({0: 2.0, 1: 9.0}, {0: 1.0, 1: 3.0}, 0.95)
    assert value is not None
    assert (value.mean, value.paired) == (2.5, True)
    unpaired = stats.ratio({0: 2.0, 1: 4.0}, {5: 1.0, 6: 3.0}, 0.95)
    assert unpaired is not None
    assert (unpaired.mean, unpaired.paired) == (1.5, False)


def test_numbers_for_readers() -> None:
    assert operations(None) == "–"
    assert operations(22_656, 0.0) == "22.66K"
    assert operations(1_094_710_000) == "1095M"
    assert operations(3_703_000, 43_000) == "3.703 ± 0.043M"
    assert operations(278.0) == "278.0"
    assert percent(91.234, 0.5) == "91.23 ± 0.50"
    assert significant(0.0912) == "0.0912"
    assert big(6_046_617_600_000) == "6.05·10^12"
    assert big(1728) == "1,728"
