"""One small file per experiment, means over seeds, for ``dvc metrics show|diff``.

Usage: python workflow/scripts/metrics.py FOLDER METRICS_JSON ...
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

COUNTS = ("flops", "biops", "params")


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    top1 = [run["top1"] for run in runs]
    spread = {"top1_std": stdev(top1)} if len(top1) > 1 else {}
    return {"top1": mean(top1), **spread, "seeds": len(runs), **{key: mean(run[key] for run in runs) for key in COUNTS}}


def main(folder: str, *files: str) -> None:
    runs: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for file in files:
        metrics = json.loads(Path(file).read_text())
        runs[metrics["group"], metrics["experiment"]].append(metrics)
    shutil.rmtree(folder, ignore_errors=True)  # an experiment that is gone must not stay among the metrics
    for (group, experiment), own in runs.items():
        path = Path(folder) / group / f"{experiment}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(summary(own), indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
