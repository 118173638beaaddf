"""The page of a study: what was run, what came out, what it took; every number is read from its records."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from bars.pipeline import paths
from bars.pipeline.durations import duration
from bars.report import ran
from bars.report.layout import Row
from bars.report.summary import measured
from bars.report.tables.claims import show, value_text
from bars.report.tables.claims.catalogue import MAIN
from bars.report.tables.claims.judge import NOISE, NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from bars.report.tree import Results, Runs

NETWORKS = "networks"


def page(name: str, results: Results, out: Path, note: str = "") -> str:
    """README.md of the study whose tables and figures stand in ``out``."""
    runs = [found for e in results.grid.runnable() if (found := results.runs(e.name)).metrics]
    if not runs:
        return f"# Study {name}\n\nNothing was run yet.\n"
    tested = {str(found.dataset): next(iter(found.metrics.values())).n_examples for found in runs}
    data = ", ".join(f"{name} ({images:,} test images)" for name, images in sorted(tested.items()))
    epochs = sorted({found.experiment.retrain.epochs for found in runs if found.experiment})
    lines = [
        f"# Study {name}: scale `{results.scale}`",
        "",
        "Generated from the records in this folder (`make verify STUDY=...` makes it again and compares). Parameters:",
        f"[params.yaml](params.yaml). Data: {data}. Networks were trained for {' or '.join(map(str, epochs))} epochs.",
        "",
        *([note.strip(), ""] if note else []),
        *_accuracies(results, runs),
        "",
        *_networks(out / NETWORKS),
        *_verdicts(out / "claims.csv"),
        *_main_claims(out / "claims.csv"),
        *_took(results),
        "",
        *(f"[{path.stem}]({path.name})  " for path in sorted(out.glob("*.md")) if path.name != "README.md"),
        "",
        *(f"![{path.stem}]({path.name})" for path in sorted(out.glob("*.png"))),
    ]
    return "\n".join(lines) + "\n"


def _accuracies(results: Results, runs: list[Runs]) -> Iterator[str]:
    several = len({found.dataset for found in runs}) > 1
    yield "| network | top-1 [%], mean ± sd | n | BiOps [M] | of its budget |"
    yield "|---|---|---|---|---|"
    rows = [(found, measured(found)) for found in runs]
    for found, row in sorted(rows, key=lambda item: -float(item[1]["top1_mean_percent"] or 0)):
        share = "" if row["budget_reached"] is None else f"{row['budget_reached']:.0%}"
        label = results.title(found.name)
        label += f" ({found.dataset})" if several else ""
        label += f", {row['float_parts']}" if row.get("float_parts") and several else ""
        yield f"| {label} | {accuracy(row)} | {row['seeds_done']} | {float(row['biops'] or 0) / 1e6:.2f} | {share} |"


def accuracy(row: Row) -> str:
    """Top-1 in percent: mean and, of several seeds, sample standard deviation."""
    spread = "" if row["top1_std_percent"] is None else f" ± {row['top1_std_percent']:.1f}"
    return f"{row['top1_mean_percent']:.1f}{spread}"


def _networks(folder: Path) -> Iterator[str]:
    """Trained networks that are part of the study, each in a folder that ``bars predict`` and ``bars.packed`` take."""
    cards = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/model.json"))
    }
    if not cards:
        return
    yield "Trained networks, packed (docs/PACKED.md):"
    yield ""
    yield "| network | seed | top-1 on test [%] | bytes | SHA-256 of network.bars |"
    yield "|---|---|---|---|---|"
    for name, card in cards.items():
        packed, top1 = card["packed"], f"{100 * card['test']['top1']:.1f}"
        cells = f"[{name}]({folder.name}/{name})", card["seed"], top1, f"{packed['bytes']:,}", f"`{packed['sha256']}`"
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""


def _verdicts(claims: Path) -> Iterator[str]:
    """How many claims were judged how."""
    if claims.is_file():
        counts = Counter(row["verdict"] for row in csv.DictReader(claims.read_text(encoding="utf-8").splitlines()))
        yield "Claims of the paper ([claims.md](claims.md)): " + ", ".join(f"{k} {v}" for k, v in counts.items())
        yield ""


def _main_claims(claims: Path) -> Iterator[str]:
    """The claims that the paper is known by: whether each holds, does not, or cannot be seen with so many seeds."""
    if not claims.is_file():
        return
    with claims.open(encoding="utf-8", newline="") as lines:
        rows = {row["id"]: _parsed(row) for row in csv.DictReader(lines)}
    yield "| main claims | paper | here | |"
    yield "|---|---|---|---|"
    for row in (rows[name] for name in MAIN):
        yield f"| {row['claim']} | {row['printed']} | {value_text(row)} | {_outcome(row)} |"
    yield ""


def _parsed(row: Mapping[str, str]) -> Row:
    """A row of claims.csv with what is a number as one, and the rest as it is written."""
    numbers = {key: float(row[key]) for key in ("value", "low", "high", "detectable") if row[key]}
    return {**row, **numbers, "paired": row["paired"] == "true"}


def _outcome(row: Row) -> str:
    verdict, least = row["verdict"], row["detectable"]
    if verdict == NOISE and isinstance(least, float):
        return f"cannot be seen: n = {row['n']} show {show(row, least)} {row['unit']}".rstrip() + " or more"
    words = {SUPPORTED: "**holds**", NOT_SUPPORTED: "does not hold", NOISE: "cannot be seen", NOT_TESTED: "not tested"}
    return f"{words[str(verdict)]}: {row['why']}"


def _took(results: Results) -> Iterator[str]:
    """Runs, median and whole time of every stage; threads and devices."""
    yield "| stage | runs | median | in all | device |"
    yield "|---|---|---|---|---|"
    done = ran.stages(results)
    for stage in paths.STAGES:
        if found := [record for record in done if record.stage == stage]:
            seconds = [record.seconds for record in found]
            device = ", ".join(sorted({f"{record.device}, {record.threads} thread(s)" for record in found}))
            yield f"| {stage} | {len(found)} | {duration(median(seconds))} | {duration(sum(seconds))} | {device} |"
