"""What README and docs/SEARCH.md say of the landed studies stands in their records, so that no number is stale."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
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
    """The text from one heading up to another."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return text[text.index(f"\n{first}\n") : text.index(f"\n{last}\n")].replace("\n", " ")


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


def twice_the_epochs() -> Iterator[tuple[dict[int, float], dict[int, float]]]:
    """Top-1 of the same networks by seed in the one study and in the other."""
    for (study, dataset), networks in accuracies().items():
        if study == STUDIES[0]:
            longer = {experiment.name: top1 for experiment, top1 in accuracies()[STUDIES[1], dataset]}
            for experiment, top1 in networks:
                shared = sorted(top1.keys() & longer.get(experiment.name, {}))
                if len(shared) > 1:
                    fewer, more = ({seed: side[seed] for seed in shared} for side in (top1, longer[experiment.name]))
                    yield fewer, more


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
    for fewer, more in twice_the_epochs():
        gain = stats.interval([more[seed] - fewer[seed] for seed in fewer], 0.95, paired=True)
        assert gain.low is not None and gain.high is not None
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
    ("docs/SEARCH.md", "### Widened instead of searched", "### In floats"),
    ("docs/SEARCH.md", "### Twice the epochs", "## A planted optimum"),
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
    known = [top1 for networks in accuracies().values() for _, top1 in networks]
    known += [top1 for sides in twice_the_epochs() for top1 in sides]
    values = [list(top1.values()) for top1 in known if len(top1) > 1]
    spreads = {printed(stats.mean(some), stats.sample_std(some) or 0.0) for some in values}
    assert {match.groups() for match in SPREAD.finditer(section(file, first, last))} <= spreads
