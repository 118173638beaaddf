"""The page of a study: what was run, what came out, what it took; every number is read from its records."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev

from bars.pipeline import paths
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.records import Metrics, Provenance, read_metrics, read_record


def page(name: str, grid: Grid, records: Path, out: Path, note: str = "") -> str:
    """README.md of the study whose tables and figures stand in ``out``."""
    runs = [(e, found) for e in grid.runnable() if (found := _metrics(e, records))]
    if not runs:
        return f"# Study {name}\n\nNothing was run yet.\n"
    some = runs[0][1][0]
    lines = [
        f"# Study {name}: scale `{grid.scale}`",
        "",
        "Generated from the records in this folder (`make verify STUDY=...` makes it again and compares). Parameters:",
        f"[params.yaml](params.yaml). Data: {', '.join(sorted({m.dataset for _, ms in runs for m in ms}))}; "
        f"accuracy on {some.n_examples:,} test images.",
        "",
        *([note.strip(), ""] if note else []),
        *_accuracies(runs),
        "",
        *_verdicts(out / "claims.csv"),
        *_took(records),
        "",
        *(f"[{path.stem}]({path.name})  " for path in sorted(out.glob("*.md")) if path.name != "README.md"),
        "",
        *(f"![{path.stem}]({path.name})" for path in sorted(out.glob("*.png"))),
    ]
    return "\n".join(lines) + "\n"


def _metrics(experiment: Experiment, records: Path) -> list[Metrics]:
    files = [records / experiment.file("evaluate", "metrics.json", seed) for seed in experiment.seeds]
    return [read_metrics(file) for file in files if file.is_file()]


def _accuracies(runs: list[tuple[Experiment, list[Metrics]]]) -> Iterator[str]:
    yield "| network | top-1 [%], mean ± sd | n | BiOps [M] | of its budget |"
    yield "|---|---|---|---|---|"
    for experiment, metrics in sorted(runs, key=lambda item: -mean(m.top1 for m in item[1])):
        top1, biops = [100 * m.top1 for m in metrics], mean(m.biops for m in metrics)
        spread = f" ± {stdev(top1):.1f}" if len(top1) > 1 else ""
        budget = experiment.budget_biops
        share = f"{biops / budget:.0%}" if budget else ""
        yield f"| {experiment.label} | {mean(top1):.1f}{spread} | {len(top1)} | {biops / 1e6:.2f} | {share} |"


def _verdicts(claims: Path) -> Iterator[str]:
    """The claims that were tested, verdict by verdict."""
    if not claims.is_file():
        return
    by_verdict = defaultdict[str, list[str]](list)
    for row in csv.DictReader(claims.read_text(encoding="utf-8").splitlines()):
        by_verdict[row["verdict"]].append(row["claim"])
    yield "Claims of the paper ([claims.md](claims.md)): " + ", ".join(f"{k} {len(v)}" for k, v in by_verdict.items())
    yield ""


def _took(records: Path) -> Iterator[str]:
    """Runs, median minutes and hours in all of every stage; threads and devices."""
    stages = defaultdict[str, list[Provenance]](list)
    for file in sorted(records.rglob(paths.PROVENANCE)):
        record = read_record(file, Provenance)
        stages[record.stage].append(record)
    yield "| stage | runs | median [min] | in all [h] | device |"
    yield "|---|---|---|---|---|"
    for stage in ("data", *paths.STAGES):
        if found := stages.get(stage):
            minutes = [record.seconds / 60 for record in found]
            device = ", ".join(sorted({f"{record.device}, {record.threads} thread(s)" for record in found}))
            yield f"| {stage} | {len(found)} | {median(minutes):.1f} | {sum(minutes) / 60:.2f} | {device} |"
