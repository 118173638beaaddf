"""Rows of alphas.parquet: the logits of every decision at one epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bars.space import SearchSpace


def alpha_rows(space: SearchSpace, epoch: int, logits: list[Tensor | None]) -> Iterator[dict[str, Any]]:
    """One row per choice of every decision, with its logit and its softmax in float64."""
    op, depth, width = logits
    assert op is not None
    decisions: list[tuple[str, str, int, int, tuple[Any, ...], Tensor]] = [
        ("op", name, source, target, space.primitives, op[t, i])
        for t, name in enumerate(space.all_types)
        for i, (source, target) in enumerate(space.edges)
    ]
    for s in range(space.stages):
        if depth is not None:
            decisions.append(("depth", f"stage-{s + 1}", -1, -1, space.depths, depth[s]))
        if width is not None:
            decisions.append(("width", f"stage-{s + 1}", -1, -1, space.width_choices, width[s]))
    for kind, group, source, target, choices, values in decisions:
        probs = torch.softmax(values.double(), -1).tolist()
        for choice, logit, prob in zip(choices, values.tolist(), probs, strict=True):
            yield {
                "epoch": epoch,
                "kind": kind,
                "group": group,
                "source": source,
                "target": target,
                "choice": str(choice),
                "logit": logit,
                "prob": prob,
            }
