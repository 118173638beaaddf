"""bars cost --time: a prediction from recorded runs, and what it says of itself."""

from __future__ import annotations

import pytest

from bars.commands.times import Run, _miss, _seconds


def run(work: float, seconds: float) -> Run:
    return Run("retrain", "smoke", "cpu", work, seconds, 600.0, None)


def test_a_line_is_found_again() -> None:
    runs = [run(work, 5.0 + 2.0 * work) for work in (1.0, 10.0, 100.0)]
    assert _seconds(runs, 1000.0) == pytest.approx(2005.0)
    assert _miss(runs[:2], runs[2]) == pytest.approx(1.0)


def test_one_run_gives_a_rate() -> None:
    assert _seconds([run(10.0, 20.0)], 30.0) == pytest.approx(60.0)


@pytest.mark.parametrize("seconds", [(9.0, 3.0), (1.0, 300.0)])
def test_neither_start_nor_rate_is_negative(seconds: tuple[float, float]) -> None:
    runs = [run(1.0, seconds[0]), run(10.0, seconds[1])]
    assert 0.0 < _seconds(runs, 0.01) <= _seconds(runs, 1e6)


def test_a_miss_is_a_factor_in_either_direction() -> None:
    assert _miss([run(10.0, 20.0)], run(10.0, 40.0)) == _miss([run(10.0, 40.0)], run(10.0, 20.0)) == 2.0
