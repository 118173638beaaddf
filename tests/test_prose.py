"""What README and docs/SEARCH.md say of the landed studies stands in their records, so that no number is stale."""

from __future__ import annotations

import csv
import functools
import re
from itertools import permutations
from pathlib import Path

import pytest

from bars.pipeline.experiment import Experiment
from bars.pipeline.load import load_params
from bars.report import stats
from bars.report.tree import Results

ROOT = Path(__file__).resolve().parents[1]
STUDIES = [ROOT / "docs/results" / name for name in ("cpu-cifar10-jpeg", "cpu-cifar10-jpeg-20-epochs")]
NUMBER = r"-?\d+\.\d"
RANGE = re.compile(rf"[(,] ?({NUMBER}) to ({NUMBER})")
SPREAD = re.compile(rf"({NUMBER}) ± ({NUMBER})")
BEFORE = 220  # characters in which the mean of an interval stands


def section(file: str, first: str, last: str) -> str:
    """The prose from one heading up to another, without tables."""
    text = (ROOT / file).read_text(encoding="utf-8")
    between = text[text.index(f"\n{first}\n") : text.index(f"\n{last}\n")]
    return " ".join(line for line in between.splitlines() if not line.startswith("|"))


@functools.cache
def accuracies() -> dict[tuple[Path, str], list[tuple[Experiment, dict[int, float]]]]:
    """Top-1 in percent by seed of every network, by study and data set."""
    found: dict[tuple[Path, str], list[tuple[Experiment, dict[int, float]]]] = {}
    for study in STUDIES:
        results = Results(load_params(study / "params.yaml"), None, study / "records")
        for experiment in results.grid:
            runs = results.runs(experiment.name)
            if runs.metrics:
                by_seed = {seed: 100 * value for seed, value in runs.values("top1").items()}
                found.setdefault((study, experiment.dataset), []).append((experiment, by_seed))
    return found


def printed(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.1f}".replace("-0.0", "0.0") for value in values)


@functools.cache
def differences() -> set[tuple[str, ...]]:
    """Mean and interval of one network's accuracy minus another's, and of every claim, as printed."""
    found = set()
    for networks in accuracies().values():
        for (one, ours), (other, theirs) in permutations(networks, 2):
            chance = "random" in (one.kind, other.kind)
            gain = stats.difference(ours, theirs, 0.95, paired=not chance)
            if gain is not None and gain.low is not None and gain.high is not None:
                found.add(printed(gain.mean, gain.low, gain.high))
    for study in STUDIES:
        with (study / "claims.csv").open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                if row["low"]:
                    found.add(printed(*(float(row[key]) for key in ("value", "low", "high"))))
    return found


SECTIONS = [
    ("README.md", "## What was found so far", "## Two commands"),
    ("docs/SEARCH.md", "## In short", "## Weights that train"),
    ("docs/SEARCH.md", "### Twice the epochs", "### Hand-made networks"),
]


@pytest.mark.parametrize(("file", "first", "last"), SECTIONS)
def test_every_interval_is_one_of_the_records(file: str, first: str, last: str) -> None:
    prose = section(file, first, last)
    unknown = []
    for match in RANGE.finditer(prose):
        low, high = (value.replace("-0.0", "0.0") for value in match.groups())
        means = re.findall(NUMBER, prose[max(0, match.start() - BEFORE) : match.start()])
        turned = printed(-float(high), -float(low))
        known = any(
            (mean, low, high) in differences() or (*printed(-float(mean)), *turned) in differences() for mean in means
        )
        unknown += [] if known else [prose[max(0, match.start() - 80) : match.end()]]
    assert not unknown
    assert RANGE.search(prose)


@pytest.mark.parametrize(("file", "first", "last"), SECTIONS)
def test_every_accuracy_is_one_of_the_records(file: str, first: str, last: str) -> None:
    spreads = {
        printed(stats.mean(list(values.values())), spread)
        for networks in accuracies().values()
        for _, values in networks
        if (spread := stats.sample_std(list(values.values()))) is not None
    }
    assert {match.groups() for match in SPREAD.finditer(section(file, first, last))} <= spreads
