"""What tables and figures say of an experiment: counts and accuracy over its seeds, its budget, and its notes."""

from __future__ import annotations

from collections.abc import Sequence

from bars.report import text
from bars.report.layout import Value
from bars.report.paper import SLOT_TITLES
from bars.report.stats import mean, sample_std
from bars.report.tree import Results, Runs


def measured(runs: Runs) -> dict[str, Value]:
    """What a table says of an experiment: counts and accuracy as mean and sample std over the seeds that are there."""
    row: dict[str, Value] = {"experiment": runs.name, "scale": runs.scale, "data_set": runs.dataset}
    for key in ("flops", "biops", "params", "equivalent_ops_64", "equivalent_ops_32"):
        row[key], row[f"{key}_std"] = _centre(list(runs.values(key).values()))
    top1 = [100 * value for value in runs.values("top1").values()]
    row["top1_mean_percent"] = mean(top1) if top1 else None
    row["top1_std_percent"] = sample_std(top1)
    row["seeds_done"], row["seeds_declared"] = len(runs.metrics), len(runs.declared)
    row["seeds_missing"] = " ".join(str(seed) for seed in runs.missing)
    row.update(budget(runs))
    row["n_examples"] = next((m.n_examples for m in runs.metrics.values()), None)
    row["fully_binarized"] = all(m.fully_binarized for m in runs.metrics.values()) if runs.metrics else None
    row["float_parts"] = "; ".join(sorted({m.float_parts for m in runs.metrics.values() if m.float_parts}))
    row["split_sha256"] = runs.split
    row["metrics_files"] = " ".join(runs.files)
    return row


def budget(runs: Runs) -> dict[str, Value]:
    """The BiOps that were asked for, the mean reached as a share of them, and the seeds outside the tolerance."""
    experiment = runs.experiment
    asked = None if experiment is None or experiment.reason else experiment.budget_biops
    if experiment is None or asked is None:
        return {"budget_biops": None, "budget_reached": None, "budget_missed_seeds": ""}
    tolerance = experiment.derive.budget_tolerance or experiment.search.health.budget
    shares = {seed: biops / asked for seed, biops in runs.values("biops").items()}
    held = experiment.search.capacity != "none"
    missed = [str(seed) for seed, share in shares.items() if held and abs(share - 1.0) > tolerance]
    reached = mean(list(shares.values())) if shares else None
    return {"budget_biops": asked, "budget_reached": reached, "budget_missed_seeds": " ".join(missed)}


def _centre(values: list[float]) -> tuple[float | int | None, float | None]:
    """Mean and sample std; a whole number stays one, and values that are all the same have no spread to show."""
    if not values:
        return None, None
    centre = mean(values)
    if centre == values[0] and all(value == centre for value in values):
        return (int(centre) if centre.is_integer() else centre), (0.0 if len(values) > 1 else None)
    return centre, sample_std(values)


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
