"""The loop over epochs, with its checkpoints; a continued run equals an unbroken one."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import nn

from bars.training.checkpoint import Checkpointer, restoring
from bars.training.divergence import finite
from bars.training.progress import Progress

Row = dict[str, float]


class Trainer(Protocol):
    """What the loop asks of a training. All randomness of an epoch is seeded by its number."""

    @property
    def model(self) -> nn.Module:
        """The network whose weights must stay finite."""

    def epoch(self, epoch: int, progress: Progress) -> Row:
        """One epoch, from 0; its row has it from 1."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep besides the rows."""

    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what ``state`` gave."""


class Outcome(NamedTuple):
    """The rows of all good epochs; the row of the epoch that diverged, where one did, is not among them."""

    rows: list[Row]
    diverged: Row | None


def run_epochs(
    trainer: Trainer, stage: str, epochs: int, checkpoint: Checkpointer, progress: Progress, *, keep_start: bool = False
) -> Outcome:
    """All epochs, or those that are left, until one diverges; ``keep_start``: save also before the first one."""
    rows: list[Row] = []
    saved = checkpoint.load()
    if saved is not None:
        with restoring(checkpoint):
            rows = list(saved["rows"])
            trainer.restore(saved)
    elif keep_start:
        checkpoint.save({"rows": rows, **trainer.state()})
    for epoch in range(len(rows), epochs):
        row = trainer.epoch(epoch, progress)
        if not finite(row, trainer.model):
            return Outcome(rows, row)
        rows.append(row)
        checkpoint.save({"rows": rows, **trainer.state()})
        progress.epoch(stage, epoch + 1, epochs, row)
    return Outcome(rows, None)
