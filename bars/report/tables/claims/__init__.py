"""The claims as a table: what was measured for each, over seeds and over test images, and whether that supports it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bars.params import ClaimsParams
from bars.report import text
from bars.report.layout import EMPTY, Column, Row, Table
from bars.report.paper import SLOT_TITLES
from bars.report.stats import POWER, pooled_std, standard_errors
from bars.report.tables.claims.catalogue import claims
from bars.report.tables.claims.judge import NOT_TESTED, SUPPORTED, VERDICTS
from bars.report.tables.claims.quantities import Quantities
from bars.report.tree import Results

PLANNED = (2, 3, 5, 10)  # numbers of seeds that a study may have


def table(results: Results) -> Table:
    """All claims, judged."""
    quantities = Quantities(results)
    rows = [claim.row(quantities) for claim in claims()]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    return Table(
        name="claims",
        title="The paper's claims, tested",
        caption=(
            f"Scale {results.scale}. "
            + ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
            + f". Values are means over seeds with their {quantities.claims.confidence:.0%} t-intervals; differences "
            "are paired by seed where both sides share seeds. What is found at a reduced scale says nothing about the "
            "paper's own."
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(*_notes(rows, quantities.claims), *_beforehand(results, quantities.claims)),
    )


def _notes(rows: Sequence[Row], settings: ClaimsParams) -> tuple[str, ...]:
    chance = (1 - settings.confidence) / 2
    uncertain = [row for row in rows if row.get("detectable") and row["verdict"] != NOT_TESTED]
    supported = sum(row["verdict"] == SUPPORTED for row in uncertain)
    return (
        f"A claim needs {settings.min_seeds} seeds to be tested. A gain is supported when its interval lies above 0 "
        "and reaches what is claimed, not supported when below that or below 0, and within noise when it holds 0. "
        f"A share is held to the claimed ratio with a tolerance of {settings.ratio_tolerance:.0%}.",
        "With images: the interval of a gain when seeds and test images are both drawn anew (bootstrap, the same "
        "images for both networks), and the verdict by it; the verdict of the claim is that over seeds. It is narrower "
        "than a t-interval over two or three seeds, which the spread of so few hardly fixes, and as trusting in them. "
        "With one seed it speaks of these two networks only.",
        f"Can show: the distance from a rule's limit that so many seeds show in {POWER:.0%} of studies, had the seeds "
        "the spread that was seen. In standard deviations of the seeds' differences: "
        + ", ".join(f"{n} seeds {_deviations(n, settings.confidence):.1f}" for n in PLANNED)
        + ".",
        f"By chance: {len(uncertain)} claims were judged by an interval with a spread, {supported} of them supported. "
        f"Were each just at the edge of its rule, {chance:.1%} of them, {chance * len(uncertain):.1f} on average, "
        "would be supported by chance.",
    )


def _beforehand(results: Results, settings: ClaimsParams) -> Iterator[str]:
    """What numbers of seeds will show of a difference in accuracy, from the spread of all networks that were run."""
    for slot, title in SLOT_TITLES.items():
        runs = [found for found in results.read if found.experiment is not None and found.experiment.slot == slot]
        pooled = pooled_std([100 * top1 for top1 in found.values("top1").values()] for found in runs)
        if pooled is not None and pooled[0] > 0:
            spread, degrees = pooled
            points = (f"{n} seeds {math.sqrt(2) * spread * _deviations(n, settings.confidence):.1f}" for n in PLANNED)
            yield (
                f"Beforehand: within a {title} network top-1 varies over seeds by {spread:.2f} points "
                f"({degrees} degrees of freedom, all networks pooled), the difference of two by the root of 2 times "
                "that if a shared seed tells nothing. In points of accuracy a claim can then show: "
                f"{', '.join(points)}."
            )


def _deviations(seeds: int, confidence: float) -> float:
    """The difference that so many pairs of seeds can show, in standard deviations of a pair's difference."""
    return standard_errors(confidence, seeds - 1) / float(seeds**0.5)


def show(row: Row, value: float) -> str:
    """A value in the unit of its claim."""
    return f"{value:.2f}" if row["unit"] == "points" else text.significant(value)


def _interval(row: Row, low: str, high: str) -> str:
    ends = [value for key in (low, high) if isinstance(value := row.get(key), int | float)]
    return f"[{', '.join(show(row, value) for value in ends)}]" if len(ends) == 2 else ""


def value_text(row: Row) -> str:
    """What was measured: the value, its interval, unit, and what n counts."""
    value = row.get("value")
    if not isinstance(value, int | float):
        return EMPTY
    parts = [show(row, value), _interval(row, "low", "high"), str(row["unit"])]
    return " ".join(part for part in parts if part) + f" (n={row['n']}{', paired' if row['paired'] else ''})"


def _images_text(row: Row) -> str:
    ends = _interval(row, "images_low", "images_high")
    return f"{ends} {row['images_verdict']}" if ends else EMPTY


def _detectable_text(row: Row) -> str:
    value = row.get("detectable")
    return show(row, value) if isinstance(value, float) and value else EMPTY


COLUMNS = (
    Column("id", "Id", align="l"),
    Column("claim", "Claim", align="l"),
    Column("where", "Where", align="l"),
    Column("quantity", "Measured quantity", align="l", below=True),
    Column("unit"),
    Column("printed", "Paper", align="l"),
    Column("value", "Ours", value_text, align="l"),
    Column("low"),
    Column("high"),
    Column("confidence"),
    Column("n"),
    Column("paired"),
    Column("seeds"),
    Column("detectable", "Can show", _detectable_text),
    Column("images_low", "With images", _images_text, align="l"),
    Column("images_high"),
    Column("n_images"),
    Column("images_verdict"),
    Column("scale"),
    Column("data_set", "Data", align="l"),
    Column("verdict", "Verdict", align="l"),
    Column("why", "Why", align="l", below=True),
)
