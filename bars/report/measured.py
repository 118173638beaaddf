"""Columns that Tables 1 and 2 share: what we measured of an experiment, raw for the csv and rounded for readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bars.errors import RecordError
from bars.report import text
from bars.report.paper import SLOT_TITLES
from bars.report.results import Results, Runs, budget
from bars.report.tabular import EMPTY, Column, Row, Value


def number(value: Value) -> float | None:
    """A cell as a number; None for anything else."""
    return float(value) if isinstance(value, int | float) else None


def top1(row: Row) -> str:
    """Accuracy in percent with its spread."""
    return text.percent(number(row["top1_mean_percent"]), number(row["top1_std_percent"]))


def count(key: str, title: str) -> tuple[Column, Column]:
    """A count of ours: mean and sample std in the csv, one rounded cell for readers."""
    return Column(key, title, lambda row: text.operations(number(row[key]), number(row[f"{key}_std"]))), Column(
        f"{key}_std"
    )


def top1_columns(title: str, show: Callable[[Row], str] = top1) -> tuple[Column, ...]:
    """Accuracy of ours, with the seeds behind it."""
    return (
        Column("top1_mean_percent", title, show),
        Column("top1_std_percent"),
        Column(
            "seeds_done",
            "Seeds",
            lambda row: f"{row['seeds_done']}/{row['seeds_declared']}" if row["seeds_declared"] else EMPTY,
        ),
        Column("seeds_declared"),
        Column("seeds_missing"),
    )


def _budget(row: Row) -> str:
    asked, reached = number(row["budget_biops"]), number(row["budget_reached"])
    if asked is None:
        return EMPTY
    share = "" if reached is None else f" ({reached:.0%})"
    return text.operations(asked, None) + share + (" missed" if row["budget_missed_seeds"] else "")


BUDGET = (
    Column("budget_biops", "BiOps asked for (reached)", _budget),
    Column("budget_reached"),
    Column("budget_missed_seeds"),
)
PLACE = (
    Column("scale"),
    Column("data_set", "Data", align="l"),
    Column("n_examples"),
    Column("split_sha256"),
    Column("metrics_files"),
)
NOTE = Column("note", "Note", align="l")


def printed(column: str, unit: str = "M") -> Callable[[Row], str]:
    """A printed cell with its own characters."""

    def cell(row: Row) -> str:
        value = row.get(f"printed_{column}_text")
        if value is None or value == "-":
            return EMPTY
        return str(value) if value == "Failed" else f"{value}{unit}"

    return cell


def joined(*parts: str) -> str:
    """The parts of a note that say something."""
    return "; ".join(part for part in parts if part)


def note(runs: Runs) -> str:
    """What a reader of a row must know: missing seeds, another recipe, a missed budget, searches that failed."""
    recipe = "trained with its authors' recipe" if runs.experiment is not None and runs.experiment.own_recipe else ""
    return joined(runs.absence, recipe, _missed(runs), *_failed_searches(runs))


def _missed(runs: Runs) -> str:
    missed = str(budget(runs)["budget_missed_seeds"]).split()
    return f"budget missed ({text.seeds(tuple(map(int, missed)))})" if missed else ""


def _failed_searches(runs: Runs) -> list[str]:
    """What the searches say of themselves, by search.health, each with the seeds that say it."""
    said: dict[str, list[int]] = {}
    for seed, metrics in runs.metrics.items():
        failures = metrics.search_failures or (("diverged",) if metrics.search_status == "diverged" else ())
        for failure in failures:
            said.setdefault(failure.partition(" (")[0], []).append(seed)
    return [f"search: {failure} ({text.seeds(tuple(seeds))})" for failure, seeds in said.items()]


def same_architecture(runs: Runs, many: Sequence[Runs]) -> str:
    """Other rows whose searches ended at the very same architectures: equal numbers are then no second observation."""
    own = _architectures(runs)
    same = [other.name for other in many if other.name != runs.name and own and _architectures(other) == own]
    return f"the same architecture as {', '.join(same)}" if same else ""


def _architectures(runs: Runs) -> dict[int, str]:
    """Hashes of the genotypes by seed, none for hand-made networks."""
    return {seed: metrics.genotype_sha256 for seed, metrics in runs.metrics.items() if metrics.genotype_sha256}


def data_sets(results: Results, many: Sequence[Runs]) -> str:
    """Scale and data sets of a table, for its caption."""
    pairs = {
        (SLOT_TITLES[runs.experiment.slot], runs.dataset)
        for runs in many
        if runs.experiment is not None and runs.dataset
    }
    return f"Scale {results.scale}: " + "; ".join(f"{slot} rows on {dataset}" for slot, dataset in sorted(pairs)) + "."


def refuse_empty(results: Results, many: Sequence[Runs], name: str) -> None:
    """Raise RecordError where no experiment of a table or figure has a result."""
    if not any(runs.metrics for runs in many):
        target = f"results/{name}.csv" if name.startswith("table") else f"figures/{name}.pdf"
        raise RecordError(
            f"nothing to put into {name}: no experiment of it has a result at scale {results.scale}",
            where=str(results.folder / results.scale),
            allowed="at least one evaluate/metrics.json",
            do=f"run the experiments first: snakemake --cores 2 {target}",
        )
