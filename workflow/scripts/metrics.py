"""Collect the metrics.json of all runs into one small file, means over seeds, for ``dvc metrics show|diff``.

Usage: python workflow/scripts/metrics.py OUTPUT METRICS_JSON ...
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

COUNTS = ("flops", "biops", "params")


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    top1 = [run["top1"] for run in runs]
    spread = {"top1_std": stdev(top1)} if len(top1) > 1 else {}
    return {"seeds": len(runs), "top1": mean(top1), **spread, **{key: mean(run[key] for run in runs) for key in COUNTS}}


def main(output: str, *files: str) -> None:
    runs: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for file in files:
        metrics = json.loads(Path(file).read_text())
        runs[metrics["group"], metrics["experiment"]].append(metrics)
    groups: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for group, experiment in sorted(runs):
        groups[group][experiment] = summary(runs[group, experiment])
    temporary = Path(f"{output}.part")
    temporary.write_text(json.dumps(groups, indent=2) + "\n")
    temporary.replace(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
