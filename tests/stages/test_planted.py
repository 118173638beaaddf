"""The search finds what was planted, and does not when its weights cannot move."""

from __future__ import annotations

from functools import cache

import pytest

from tests.stages.planted import far_pattern, found, mean_colour

SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
FROZEN = {"weight_lr": 1e-12, "weight_lr_end": 1e-12}


LEAST = {"top1": 0.75, "conv": 0.8, "depth": 0.9, "width": 0.9}


def missed(search: dict[str, float]) -> set[str]:
    """What of the planted optimum a search did not find."""
    return {key for key, least in LEAST.items() if search[key] <= least}


@cache
def planted(seed: int) -> dict[str, float]:
    return found(far_pattern, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_convolutions_depth_and_width_win_where_only_they_see_the_pattern(seed: int) -> None:
    """Of 0.33, 0.5 and 0.58 at the start; measured 0.85 to 0.91, 0.95 to 0.99 and 0.99."""
    assert missed(planted(seed)) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_they_do_not_where_pooled_colours_tell_the_classes_apart(seed: int) -> None:
    """The same search, the same seed; measured 0.13 to 0.27 and 0.13 to 0.63. Width costs nothing here, and helps."""
    search = found(mean_colour, seed)
    assert search["top1"] > 0.95
    assert search["conv"] < planted(seed)["conv"] - 0.4
    assert search["depth"] < planted(seed)["depth"] - 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_whose_weights_stand_still_does_not_find_them(seed: int) -> None:
    """Measured: accuracy 0.46 to 0.49, convolutions 0.28 to 0.69; the rest by chance."""
    assert missed(found(far_pattern, seed, **FROZEN)) >= {"top1", "conv"}
