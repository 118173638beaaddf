"""What was run, on which machine and how long it took, from the provenance.json of every stage folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bars.pipeline import paths
from bars.pipeline.durations import duration
from bars.pipeline.records import Provenance, read_record
from bars.report.computing import counted
from bars.report.layout import Column, Table, Value
from bars.report.stats import mean
from bars.report.tree import Results


def stages(results: Results) -> list[Provenance]:
    """Every stage that is there of the experiments run at this scale; one taken over from another run counts there."""
    found = dict.fromkeys(
        results.folder / experiment.dir(stage, seed) / paths.PROVENANCE
        for experiment in results.grid.runnable()
        for seed in experiment.seeds
        for stage in experiment.stages
    )
    return [read_record(path, Provenance) for path in found if Path(path).is_file()]


def table(results: Results, done: Sequence[Provenance]) -> Table:
    """One row per experiment: seeds, mean time of each of its stages, and the sum over its seeds."""
    declared = {e.name: len(e.seeds) for e in results.grid.runnable()}
    rows = [
        _row(name, [p for p in done if p.experiment == name], declared[name])
        for name in declared
        if any(p.experiment == name for p in done)
    ]
    return Table(
        name="ran",
        title="what ran, and how long",
        caption=(
            f"{len(done)} stages of {len(rows)} experiments, {duration(sum(p.seconds for p in done))} in all were they "
            "run one after the other. Times are means over seeds, of the process that finished the stage."
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Code: {counted(_code(p) for p in done)}.",
            f"Devices: {counted(p.device for p in done)}; threads: {counted(str(p.threads) for p in done)}.",
            f"Versions: {counted(', '.join(f'{k} {v}' for k, v in p.libraries.items() if v) for p in done)}.",
        )
        if done
        else (),
    )


def _row(name: str, done: Sequence[Provenance], declared: int) -> dict[str, Value]:
    row: dict[str, Value] = {
        "experiment": name,
        "group": done[0].group,
        "seeds": f"{len({p.seed for p in done})}/{declared}",
        "total": sum(p.seconds for p in done),
        "memory": max(p.peak_memory_mb for p in done),
        "device": ", ".join(sorted({p.device for p in done})),
        "started": min(p.started for p in done)[:16].replace("T", " "),
    }
    for stage in paths.STAGES:
        seconds = [p.seconds for p in done if p.stage == stage]
        row[stage] = mean(seconds) if seconds else None
    return row


def _code(record: Provenance) -> str:
    commit = str(record.code.get("commit") or "no commit")[:12]
    return f"version {record.code.get('version')}, {commit}" + (" with changes" if record.code.get("dirty") else "")


def _time(key: str, title: str) -> Column:
    return Column(key, title, lambda row: duration(value) if isinstance(value := row[key], float) else "–")


COLUMNS = (
    Column("group", "Group", align="l"),
    Column("experiment", "Experiment", align="l"),
    Column("seeds", "Seeds"),
    *(_time(stage, stage.capitalize()) for stage in paths.STAGES),
    _time("total", "All seeds"),
    Column("memory", "Peak memory [MB]", lambda row: f"{row['memory']:.0f}"),
    Column("device", "Device", align="l"),
    Column("started", "First start (UTC)", align="l"),
)
