"""Class-stratified choices from a seed and a class's name alone, so that a subset of the classes is split alike."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence


def shuffled(items: Iterable[int], *key: object) -> list[int]:
    """The items in an order fixed by the key; Python's generator, whose sequence does not change with versions."""
    order = list(items)
    random.Random("/".join(map(str, key))).shuffle(order)
    return order


def group_by_class(labels: Sequence[int], classes: int) -> list[list[int]]:
    """Indices of each class, ascending."""
    groups: list[list[int]] = [[] for _ in range(classes)]
    for index, label in enumerate(labels):
        groups[label].append(index)
    return groups


def quotas(counts: Sequence[int], total: int | None) -> list[int]:
    """How many of each class to keep so that at most ``total`` are kept, as evenly as the classes allow.

    A class with fewer than its share gives what it has and the others share the rest; odd ones go to the first.
    """
    if total is None or total >= sum(counts):
        return list(counts)
    kept = [0] * len(counts)
    left, open_classes = total, [c for c, count in enumerate(counts) if count]
    while left > 0:
        share = left // len(open_classes)
        if share == 0:
            for c in open_classes[:left]:
                kept[c] += 1
            break
        for c in open_classes:
            more = min(share, counts[c] - kept[c])
            kept[c] += more
            left -= more
        open_classes = [c for c in open_classes if kept[c] < counts[c]]
    return kept


def share(count: int, fraction: float) -> int:
    """``count * fraction`` to the nearest integer, halves up."""
    return math.floor(count * fraction + 0.5)


def smallest_count(fraction: float) -> int:
    """The fewest images that leave at least one on each side of ``fraction``."""
    count = 2
    while not 1 <= share(count, fraction) <= count - 1:
        count += 1
    return count
