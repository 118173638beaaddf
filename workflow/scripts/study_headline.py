"""The first table of the repository's README, from the records of a study and its table of claims.

Usage: python -m workflow.scripts.study_headline STUDY README    write it between the two marks of README
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bars.pipeline.load import load_params
from bars.report.artifacts import CHANCE, MATCHED
from bars.report.summary import measured
from bars.report.tree import Results
from workflow.scripts.study import PARAMS, RECORDS
from workflow.scripts.study_page import accuracy

SEARCHED = ("bars-a", "bars-b", "bars-c")
HAND_MADE = ("resnet18-xnor", "resnet34-xnor", "resnet18-xnor-wider")
BEGIN, END = "<!-- study: made by workflow/scripts/study_headline.py -->", "<!-- /study -->"


def headline(study: Path) -> str:
    """Accuracies of the searched networks beside those of chance, and of binary ResNets."""
    results = Results(load_params(study / PARAMS), None, study / RECORDS)
    with (study / "claims.csv").open(encoding="utf-8", newline="") as lines:
        claims = {row["id"]: row for row in csv.DictReader(lines)}
    return "\n".join(_lines(results, claims))


def _lines(results: Results, claims: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    first = results.runs(SEARCHED[0])
    epochs = results.grid[SEARCHED[0]].retrain.epochs
    data = f"{first.dataset}, {epochs} epochs"
    chance = "random architectures of its budget", "better by", "and of its FLOPs and BiOps", "better by"
    yield f"| {' | '.join((data, 'BiOps', 'top-1 [%]', 'n', *chance))} |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in SEARCHED:
        found = [results.title(name), *_cells(results, name)]
        for kind, random in (("random", CHANCE[name]), ("matched", MATCHED[name])):
            _, top1, n = _cells(results, random)
            found += [f"{top1} (n = {n})" if n else top1, _points(claims[f"better-than-{kind}-{name[-1]}"])]
        yield f"| {' | '.join(found)} |"
    for name in HAND_MADE:
        yield f"| {' | '.join((results.title(name), *_cells(results, name)))} | | | | |"


def _cells(results: Results, name: str) -> tuple[str, str, str]:
    """BiOps, top-1 as mean and sample standard deviation in percent, and the number of seeds; blank if not run yet."""
    row = measured(results.runs(name))
    if not row["seeds_done"]:
        return "", "not run yet", ""
    return f"{float(row['biops'] or 0) / 1e6:.1f}M", accuracy(row), str(row["seeds_done"])


def _points(claim: Mapping[str, str]) -> str:
    """A gain and its interval, where there are seeds enough for one."""
    if not claim["low"]:
        return ""
    value, low, high = (float(claim[key]) for key in ("value", "low", "high"))
    return f"{value:.1f} points, {low:.1f} to {high:.1f}"


def replaced(text: str, table: str) -> str:
    """The README with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    readme = Path(sys.argv[2])
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), headline(Path(sys.argv[1]))), encoding="utf-8")
