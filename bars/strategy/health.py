"""Whether a search worked: its weights learned, it met the budget, and its decisions were made, by the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bars.params import SearchParams

Verdict = dict[str, Any]
JUDGED = ("train_loss", "flips", "budget_ratio", "entropy", "gradient_entropy", "gradient_data")
SMALLEST = 1e-12  # a data gradient of zero is drowned by anything


def judge(last: Mapping[str, float], status: str, params: SearchParams, num_classes: int) -> Verdict:
    """What the last epoch's row says by ``search.health``: the values that were judged, and ``failures`` in words."""
    health, guess = params.health, math.log(num_classes)
    failures = ["the search diverged"] if status == "diverged" else []
    if last:
        if last["train_loss"] > health.loss * guess:
            failures.append(f"its supernet guessed (training loss {last['train_loss']:.2f}, a guess has {guess:.2f})")
        if params.operations == "binary" and last["flips"] < health.flips:
            failures.append(f"its weights stood still ({last['flips']:.1%} of the signs changed)")
        if params.capacity != "none" and abs(last["budget_ratio"] - 1.0) > health.budget:
            failures.append(f"its expectation missed the budget ({last['budget_ratio']:.0%} of it)")
        if last["entropy"] > health.entropy:
            failures.append(f"its decisions stayed open (entropy {last['entropy']:.2f} of 1)")
        if last["gradient_entropy"] > health.entropy_pull * last["gradient_data"]:
            pull = last["gradient_entropy"] / max(last["gradient_data"], SMALLEST)
            failures.append(f"the entropy term decided, not the data ({pull:.1f} times their gradient)")
    judged = {key: last[key] for key in JUDGED} if last else {}
    return {**judged, "guess_loss": guess, "failures": failures}
