"""When a loss, a logit or a weight is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from bars.errors import DivergenceError
from bars.training.checkpoint import Checkpointer


def finite(row: Mapping[str, float], model: nn.Module) -> bool:
    """Whether every value of an epoch's row is a finite number, and every weight that the epoch left behind."""
    weights = [parameter.detach() for parameter in model.parameters()]
    return all(map(math.isfinite, row.values())) and math.isfinite(torch.nn.utils.get_total_norm(weights))


def diverged(
    what: str, row: Mapping[str, float], epochs: int, remedy: str, checkpoint: Checkpointer
) -> DivergenceError:
    """The error of the epoch that ``row`` is of, which says where the last good state is and what to try."""
    epoch, place = int(row["epoch"]), getattr(checkpoint, "path", None)
    kept = f"the state after epoch {epoch - 1} is kept" + (f" in {place}" if place else "")
    losses = (f"{name.replace('_', ' ')} {row[name]}" for name in ("train_loss", "valid_loss") if name in row)
    return DivergenceError(
        f"{what} diverged: a loss or a weight is not a finite number",
        where=f"epoch {epoch} of {epochs}",
        got=", ".join(losses),
        do=f"{remedy}; "
        + (f"{kept}: the same parameters would diverge from there again" if epoch > 1 else "start again"),
    )
