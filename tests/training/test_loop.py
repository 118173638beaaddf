"""The loop over epochs: what it keeps, where it goes on, and what it does with an epoch that diverged."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from bars.errors import CheckpointError
from bars.training.loop import Outcome, Row, run_epochs
from bars.training.progress import Progress, Silent


class Counting:
    """A training whose only state is the sum of the epochs it saw; it diverges at ``bad``."""

    def __init__(self, bad: int | None = None) -> None:
        self.model = nn.Linear(1, 1)
        self.total, self.bad = 0, bad

    def epoch(self, epoch: int, progress: Progress) -> Row:
        self.total += epoch
        return {"epoch": epoch + 1, "train_loss": math.nan if epoch == self.bad else float(self.total)}

    def state(self) -> dict[str, Any]:
        return {"total": self.total}

    def restore(self, saved: dict[str, Any]) -> None:
        self.total = saved["total"]


class Kept:
    """Every state that was saved."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)

    def load(self) -> dict[str, Any] | None:
        return copy.deepcopy(self.states[-1]) if self.states else None

    def save(self, state: dict[str, Any]) -> None:
        self.states.append(copy.deepcopy(state))


def run(trainer: Counting, kept: Kept, epochs: int = 4, **options: bool) -> Outcome:
    return run_epochs(trainer, "search", epochs, kept, Silent(), **options)


def test_a_state_is_kept_after_each_epoch_and_before_the_first_where_asked() -> None:
    for keep_start in (False, True):
        kept = Kept()
        assert run(Counting(), kept, keep_start=keep_start).diverged is None
        assert [len(state["rows"]) for state in kept.states] == [*([0] if keep_start else []), 1, 2, 3, 4]


def test_it_goes_on_from_any_kept_state() -> None:
    kept = Kept()
    whole = run(Counting(), kept)
    for state in kept.states:
        assert run(Counting(), Kept(state), keep_start=True) == whole


def test_an_epoch_that_diverged_is_handed_back_and_not_kept() -> None:
    kept = Kept()
    outcome = run(Counting(bad=2), kept)
    assert len(outcome.rows) == len(kept.states) == 2
    assert outcome.diverged is not None
    assert outcome.diverged["epoch"] == 3


def test_weights_that_are_not_numbers_are_a_divergence_too() -> None:
    trainer = Counting()
    with torch.no_grad():
        trainer.model.weight.fill_(math.inf)
    assert run(trainer, Kept()).diverged is not None


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(CheckpointError, match="of another run"):
        run(Counting(), Kept({"rows": []}))
