from __future__ import annotations

import itertools
import random

import pytest

from bars.data.stratify import group_by_class, quotas, share, shuffled, smallest_count


@pytest.mark.parametrize("counts", [[5, 5, 5], [1, 9, 3], [0, 4, 4], [2, 2, 100], [7]])
def test_quotas_are_the_most_even_choice(counts: list[int]) -> None:
    for total in range(sum(counts) + 3):
        kept = quotas(counts, total)
        assert sum(kept) == min(total, sum(counts))
        assert all(0 <= k <= c for k, c in zip(kept, counts, strict=True))
        # Most even: whoever has fewer than another by two or more has given everything.
        for a, b in itertools.permutations(range(len(counts)), 2):
            assert kept[a] + 1 >= kept[b] or kept[a] == counts[a]
    assert quotas(counts, None) == counts


def test_shuffled_is_a_permutation_that_depends_on_every_part_of_the_key() -> None:
    items = list(range(50))
    orders = [shuffled(items, *key) for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", "c")]]
    assert all(sorted(order) == items for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert shuffled(items, 0, "a") == orders[0]


def test_shuffled_stays_the_same_over_versions() -> None:
    # Splits that were published must be found again: Python's shuffle, seeded with a text, is part of the format.
    expected = list(range(6))
    random.Random("0/train/cat").shuffle(expected)
    assert shuffled(range(6), 0, "train", "cat") == expected


def test_share_and_smallest_count_agree() -> None:
    assert [share(n, 0.5) for n in range(6)] == [0, 1, 1, 2, 2, 3]
    for fraction in (0.01, 0.1, 0.5, 0.9, 0.99):
        n = smallest_count(fraction)
        assert 1 <= share(n, fraction) <= n - 1
        assert n == 2 or not 1 <= share(n - 1, fraction) <= n - 2


def test_group_by_class_keeps_empty_classes() -> None:
    assert group_by_class([1, 0, 1, 3], 4) == [[1], [0, 2], [], [3]]
