"""Table 2: BARS-A to -E and the hand-made binary networks, printed values beside measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from bars.report import summary, timed
from bars.report.layout import EMPTY, Column, Row, Table, Value
from bars.report.paper import COLUMNS2, SLOT_TITLES, Row2, table2
from bars.report.tables import columns
from bars.report.tree import Results, Runs, check_one_split, refuse_empty


def table(results: Results) -> Table:
    """Every printed row in printed order, then the networks of the grid that are beyond the paper."""
    names = [row.experiment for row in table2()]
    printed, beyond = [results.runs(name) for name in names], results.beyond(names, "searched", "baselines")
    all_runs = [*printed, *beyond]
    refuse_empty(results, all_runs, "table2")
    check_one_split(all_runs)
    return Table(
        name="table2",
        number="Table 2",
        title="networks that BARS discovered, and hand-made binary networks",
        parts="slot",
        in_caption=("data_set",),
        caption=(
            f"{summary.data_sets(results, all_runs)} Accuracy: top-1 on test, mean ± sample "
            "standard deviation over seeds. FLOPs, BiOps and Params are counted on the built networks (2 x MACs)."
        ),
        columns=COLUMNS,
        rows=[
            *(
                {**_printed(results, row), **_ours(results, runs, all_runs)}
                for row, runs in zip(table2(), printed, strict=True)
            ),
            *({**_place(results, runs), **_ours(results, runs, all_runs)} for runs in beyond),
        ],
        notes=(
            "Equiv. Ops: FLOPs + BiOps/64, as the paper's caption says; FLOPs + BiOps/32, as its column was computed.",
            "Fully binarised: ours is read off the modules of the built network; stem and classifier may be float.",
            "Rows that begin with + are beyond the paper.",
            _times_note(results),
        ),
    )


def _printed(results: Results, row: Row2) -> dict[str, Value]:
    cells: dict[str, Value] = {
        "slot": SLOT_TITLES[row.slot],
        "method": results.beside(row.experiment, row.label),
        "beyond_paper": False,
        "printed_approximate": row.flops.startswith("~"),
        "printed_fully_binarized": row.fully_binarized,
    }
    for column in COLUMNS2:
        number = row.number(column)
        cells[f"printed_{column}_{'percent' if column == 'top1' else 'm'}"] = number.value
        cells[f"printed_{column}_text"] = number.text
    return cells


def _place(results: Results, runs: Runs) -> dict[str, Value]:
    assert runs.experiment is not None
    return {"slot": SLOT_TITLES[runs.experiment.slot], "method": results.label(runs.name), "beyond_paper": True}


def _ours(results: Results, runs: Runs, many: Sequence[Runs]) -> dict[str, Value]:
    same, unpacked = summary.same_architecture(runs, many), timed.not_packed(results, runs)
    note = summary.joined(summary.note(runs), same, unpacked)
    return {**summary.measured(runs), **timed.cells(results, runs), "note": note}


def _times_note(results: Results) -> str:
    """What times and file sizes are of."""
    if results.latency is None:
        return "Times and files: none were taken (snakemake latency takes them)."
    checks = [found.packed_check for found in results.latency.networks if found.packed_check]
    same, images = sum(check.same for check in checks), sum(check.images for check in checks)
    return (
        f"Times: one image at a time, first seed, median; {timed.measured_on(results.latency)}. Times as fast: as the "
        f"same network in floats in OpenVINO. Of {images:,} training images shown to the packed networks and to the "
        f"trained ones, {same:,} got the same class from both."
    )


def _fully_binarized(row: Row) -> str:
    if row["fully_binarized"] is None:
        return EMPTY
    return "yes" if row["fully_binarized"] else str(row["float_parts"] or "no")


COLUMNS = (
    Column("slot", "Paper's data", align="l"),
    Column("method", "Method", lambda row: ("+ " if row["beyond_paper"] else "") + str(row["method"]), align="l"),
    Column("experiment"),
    Column("beyond_paper"),
    Column("printed_flops_m", "FLOPs, paper", columns.printed("flops")),
    *columns.count("flops", "FLOPs, ours"),
    Column("printed_biops_m", "BiOps, paper", columns.printed("biops")),
    *columns.count("biops", "BiOps, ours"),
    Column("printed_equivalent_ops_m", "Equiv. Ops, paper", columns.printed("equivalent_ops")),
    *columns.count("equivalent_ops_64", "ours, 1/64"),
    *columns.count("equivalent_ops_32", "ours, 1/32"),
    Column("printed_params_m", "Params, paper", columns.printed("params")),
    *columns.count("params", "Params, ours"),
    Column("printed_approximate"),
    Column("printed_fully_binarized", "Fully binarised, paper", align="l"),
    Column("fully_binarized", "ours", _fully_binarized, align="l"),
    Column("float_parts"),
    Column("printed_top1_percent", "Acc. [%], paper", columns.printed("top1", "")),
    *columns.top1_columns("Acc. [%], ours"),
    Column("packed_ms", "ms per image, packed", columns.rounded("packed_ms")),
    Column("packed_speedup", "times as fast as floats", columns.rounded("packed_speedup")),
    Column("packed_bytes", "packed file [kB]", columns.rounded("packed_bytes", 1e3)),
    *(Column(key) for key in timed.KEYS if key not in ("packed_ms", "packed_speedup", "packed_bytes")),
    *columns.BUDGET,
    *columns.PLACE,
    columns.NOTE,
)
