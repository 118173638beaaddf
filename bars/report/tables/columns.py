"""Columns that Tables 1 and 2 share: what we measured of an experiment, raw for the csv and rounded for readers."""

from __future__ import annotations

from collections.abc import Callable

from bars.report import text
from bars.report.layout import EMPTY, Column, Row, Value


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


def rounded(key: str, unit: float = 1.0) -> Callable[[Row], str]:
    """A number of ours in a unit."""

    def cell(row: Row) -> str:
        value = number(row.get(key))
        return EMPTY if value is None else text.significant(value / unit)

    return cell


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
NOTE = Column("note", "Note", align="l", below=True)


def printed(column: str, unit: str = "M") -> Callable[[Row], str]:
    """A printed cell with its own characters."""

    def cell(row: Row) -> str:
        value = row.get(f"printed_{column}_text")
        if value is None or value == "-":
            return EMPTY
        return str(value) if value == "Failed" else f"{value}{unit}"

    return cell
