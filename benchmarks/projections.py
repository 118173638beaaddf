"""What measured steps add up to: ratios between variants, and hours of a search or a retraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.variants import Size

SCHEDULES = {"gpu": (30, 60), "paper": (50, 300)}  # epochs of search and retraining, as in params.yaml
TRAIN_IMAGES = 50_000


def projections(rows: Sequence[dict[str, Any]], sizes: dict[str, Size]) -> list[dict[str, Any]]:
    """Hours of one search and one retraining at the scales of params.yaml, from the fastest variant of each step."""
    result = []
    for scale, size in sizes.items():
        search_epochs, train_epochs = SCHEDULES[scale]
        steps = TRAIN_IMAGES // 2 // size.batch
        for kinds, what in ((("weight", "alpha"), "search"), (("hard", "hard"), "search, hard (at most)")):
            ms = [_fastest(rows, f"{size}: {kind} step") for kind in kinds]
            if None not in ms:
                hours = steps * search_epochs * sum(m for m in ms if m is not None) / 3.6e6
                result.append({"scale": scale, "what": what, "hours": hours})
        ms_train = _fastest(rows, f"{sizes['paper']}: train network")
        if ms_train is not None:
            hours = TRAIN_IMAGES // size.batch * train_epochs * ms_train / 3.6e6
            result.append({"scale": scale, "what": "retrain a middling network at 72 channels", "hours": hours})
    return result


def _fastest(rows: Sequence[dict[str, Any]], what: str) -> float | None:
    own = [float(r["ms"]) for r in rows if r["what"] == what and "ms" in r and r["variant"].startswith("ours")]
    return min(own, default=None)


def ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Add to each row how many times faster it is than its plain or float counterpart."""
    for row in rows:
        for against in ("reference, eager", "float, captured", "composed, captured"):
            base = next((r for r in rows if r["what"] == row["what"] and r["variant"] == against and "ms" in r), None)
            if base is not None and "ms" in row:
                row[f"{against.split(',')[0]} / this"] = base["ms"] / row["ms"]
