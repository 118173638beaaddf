"""Table 1: the ablations of BARS-B, what each search found, how large its space is, and whether it failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bars.report import summary, text
from bars.report.failure import cheap_share, failure
from bars.report.layout import EMPTY, Column, Row, Table, Value
from bars.report.paper import Row1, table1
from bars.report.tables import columns
from bars.report.tree import Results, Runs, check_one_split, refuse_empty
from bars.space import SearchSpace

if TYPE_CHECKING:
    from bars.params import ClaimsParams


def table(results: Results) -> Table:
    """The eight ablations and the full method in printed order, then other ablations of the grid."""
    printed = {row.experiment: row for row in table1()}
    many = [*map(results.runs, printed), *results.beyond(printed, "ablations")]
    refuse_empty(results, many, "table1")
    check_one_split(many)
    claims = results.params.report.claims
    return Table(
        name="table1",
        number="Table 1",
        in_caption=("data_set",),
        title="what each part of BARS contributes",
        caption=(
            f"{summary.data_sets(results, many)} Each row switches one thing off in BARS-B. Accuracy: top-1 on test, "
            "mean ± sample standard deviation over seeds. FLOPs, BiOps and Params are those of the networks found."
        ),
        columns=COLUMNS,
        rows=[_row(results, runs, printed.get(runs.name), claims, many) for runs in many],
        notes=(
            "A run failed if its search diverged, if more than "
            f"{claims.collapse_share:.0%} of the edges of its normal cells are shortcut or none, or if its top-1 is "
            f"below {claims.failed_guesses:g} times that of a guess among the classes. The paper does not say what it "
            "means by Failed.",
            "Space: number of architectures that the row's search chooses from (exact in the csv).",
            "Rows that begin with + are beyond the paper.",
        ),
    )


def _row(
    results: Results, runs: Runs, row: Row1 | None, claims: ClaimsParams, many: Sequence[Runs]
) -> dict[str, Value]:
    genotypes = results.genotypes(runs.name)
    verdict = failure(runs, genotypes, claims)
    shares = [share for genotype in genotypes.values() if (share := cheap_share(genotype)) is not None]
    return {
        "level": row.level if row else "Beyond",
        "row": results.beside(runs.name, row.label) if row else results.label(runs.name),
        "beyond_paper": row is None,
        "printed_top1_percent": row.number.value if row else None,
        "printed_top1_text": row.number.text if row else None,
        **summary.measured(runs),
        "runs_failed": verdict.failed if runs.metrics else None,
        "failed_criteria": ", ".join(verdict.criteria),
        "cheap_edge_share": sum(shares) / len(shares) if shares else None,
        "space_size": _space_size(runs),
        "note": summary.joined(str(verdict), summary.note(runs), summary.same_architecture(runs, many)),
    }


def _space_size(runs: Runs) -> int | None:
    if runs.experiment is None or not runs.experiment.has("space"):
        return None
    return SearchSpace.from_params(runs.experiment.space).size()


def _top1(row: Row) -> str:
    value = columns.top1(row)
    return f"Failed ({value})" if row["runs_failed"] and row["runs_failed"] == row["seeds_done"] else value


def _space(row: Row) -> str:
    size = row["space_size"]
    return text.big(size) if isinstance(size, int) else EMPTY


COLUMNS = (
    Column("level", "Level", align="l"),
    Column("row", "Row", lambda row: ("+ " if row["beyond_paper"] else "") + str(row["row"]), align="l"),
    Column("experiment"),
    Column("beyond_paper"),
    Column("printed_top1_percent", "Acc. [%], paper", columns.printed("top1", "")),
    Column("printed_top1_text"),
    *columns.top1_columns("Acc. [%], ours", _top1),
    Column("runs_failed"),
    Column("failed_criteria"),
    Column("cheap_edge_share"),
    *columns.count("flops", "FLOPs"),
    *columns.count("biops", "BiOps"),
    *columns.count("params", "Params"),
    *columns.count("equivalent_ops_64", "Equiv. Ops, 1/64"),
    *columns.count("equivalent_ops_32", "1/32"),
    Column("space_size", "Space", _space),
    *columns.BUDGET,
    *columns.PLACE,
    columns.NOTE,
)
