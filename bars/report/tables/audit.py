"""The audit of the paper's arithmetic: every printed number held against the others and against the built networks.

Nothing here is measured by training: accuracies have no second source in the paper, and are compared in Tables 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bars.report.layout import Column, Row, Table
from bars.report.paper import Number, Row2, cell, in_text, row2, rows_of, table1, table2

AGREES, FLOOR, DIFFERS, UNKNOWN = "agrees", "agrees as a floor", "differs", "cannot be known"
VERDICTS = (AGREES, FLOOR, DIFFERS, UNKNOWN)


@dataclass(frozen=True)
class Finding:
    """One comparison. ``basis`` says where the recomputed value comes from."""

    number: Number
    basis: str
    recomputed: float | None
    verdict: str
    note: str = ""
    suffix: str = ""

    @classmethod
    def unknown(cls, number: Number, note: str) -> Finding:
        """Of a number that nothing else in the paper or the code gives."""
        return cls(number, "nothing", None, UNKNOWN, note)

    @classmethod
    def held(cls, number: Number, basis: str, value: float, note: str = "", suffix: str = "") -> Finding:
        """Of a number that was computed again."""
        return cls(number, basis, value, number.agrees(value), note, suffix)

    def row(self) -> dict[str, str | float | bool | None]:
        """The finding as a row of audit.csv."""
        number = self.number
        return {
            "id": number.id + (f"/{self.suffix}" if self.suffix else ""),
            "where": number.where,
            "printed": number.text,
            "printed_value": number.value,
            "unit": number.unit,
            "approximate": number.approximate,
            "recomputable": self.recomputed is not None,
            "basis": self.basis,
            "recomputed": self.recomputed,
            "verdict": self.verdict,
            "note": self.note,
        }


def built_counts() -> dict[tuple[str, str], dict[str, float]]:
    """Our counts of the hand-made networks at the paper's size, in millions: (experiment, variant) -> column -> value.

    The main variant is ""; a test holds the file to the networks as they are built.
    """
    counts = {}
    for line in rows_of("counts.csv"):
        values = {name: int(line[name]) / 1e6 for name in ("flops", "biops", "params") if line[name]}
        counts[line["experiment"], line["variant"]] = values
    return counts


def findings() -> list[Finding]:
    """Every comparison, in the order of Table 1, Table 2, text."""
    return [*_table1(), *_table2(), *_text()]


def table(results: object = None) -> Table:
    """The audit as a table; it reads no results."""
    rows = [finding.row() for finding in findings()]
    counts = {verdict: sum(1 for row in rows if row["verdict"] == verdict) for verdict in VERDICTS}
    return Table(
        name="audit",
        title="Audit of the paper's numbers",
        caption=(
            "Every printed number of Tables 1 and 2, and every number of the text: can it be recomputed from the other "
            "printed numbers, or from the networks as built here at the paper's size? Counts are 2 x MACs. "
            + ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
            + "."
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            "agrees: equal after rounding to the printed decimals (a value with ~: to its significant digits; a "
            "fraction: it is the nearest one with that denominator).",
            "agrees as a floor: equal after cutting off at the printed decimals, as the authors' log does.",
            "Equivalent Ops have two lines each: by 1/64, as the caption says, by 1/32, as the column was computed.",
        ),
    )


def _number_text(row: Row) -> str:
    value = row["recomputed"]
    return "–" if not isinstance(value, float) else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


COLUMNS = (
    Column("id", "Id", align="l"),
    Column("where", "Where", align="l"),
    Column("printed", "Printed"),
    Column("printed_value"),
    Column("unit", "Unit", align="l"),
    Column("approximate"),
    Column("recomputable"),
    Column("basis", "Recomputed from", align="l"),
    Column("recomputed", "Recomputed", show=_number_text),
    Column("verdict", "Verdict", align="l"),
    Column("note", "Note", align="l"),
)


# ------------------------------------------------------------------------------------------------------ Table 1
def _table1() -> Iterator[Finding]:
    for row in table1():
        if row.experiment == "bars-b":
            note = "the same network is printed with two accuracies"
            yield Finding.held(row.number, "Table 2, BARS-B", cell("bars-b", "top1"), note)
        elif row.number.value is None:
            yield Finding.unknown(row.number, "what counts as failed is not said; Table 1 here says its criterion")
        else:
            yield Finding.unknown(row.number, "an accuracy without seeds or spread; Table 1 here measures it")


# ------------------------------------------------------------------------------------------------------ Table 2
TWICE = "equals all MACs with binary ones by 1/64 (164M), so BiOps are counted in twice"
NOTES = {
    "table2/resnet18-bireal/flops": "no simple change of the standard network gives all three printed counts",
    "table2/resnet18-bireal/biops": "see its FLOPs",
    "table2/resnet18-bireal/params": "see its FLOPs",
    "table2/resnet34-xnor/flops": "equals MACs + binary MACs / 64 (26.1M) of the same network, not its FLOPs",
    "table2/resnet34-xnor/params": "equals the ImageNet variant with 1000 classes (21.81M)",
    "table2/wrn40-xnor/flops": "equals MACs + binary MACs / 64 (26.6M), not FLOPs",
    "table2/nin-xnor/flops": "the same ~27M stands in five rows; Equivalent Ops of this one used 29M",
    "table2/resnet18-cbcn/flops": "the same ~27M stands in five rows",
    "table2/resnet18-irnet/flops": "the same ~27M stands in five rows",
    "table2/imagenet-resnet18-xnor/params": "with stem and classifier; without them the printed 12.54M is met",
    "table2/imagenet-resnet18-xnor-fp/flops": "176.84M: perhaps two digits swapped",
    "table2/imagenet-resnet18-xnor-fp/biops": "some 205M more BiOps than the network with float 1x1 downsamples",
    "table2/imagenet-resnet18-xnor-fp/params": "some 1.1M more than the network with float 1x1 downsamples",
    "table2/imagenet-bidensenet-xnor/params": "nearest is the 45-layer variant; no variant meets it",
    "table2/imagenet-resnet18-bireal/flops": TWICE,
    "table2/imagenet-resnet18-pcnn/flops": TWICE,
    "table2/imagenet-bnas/flops": "the three stem convolutions only (195.08M)",
    "table2/imagenet-bnas/biops": "with the two float cell shortcuts (411.05M) counted as binary (6274.8M)",
    "table2/nin-xnor/equivalent_ops/32": "with the network's own 29M of FLOPs it would be 41.5",
    "table2/bars-c/equivalent_ops/32": "0.6M below; would need 3728M BiOps",
    "table2/bars-d/equivalent_ops/32": "53M below, in favour of BARS; a digit may be wrong, as the decimal agrees",
    "table2/bars-e/equivalent_ops/32": "3.0M above; would need 197M FLOPs",
}


RECONSTRUCTED = ("bars-a", "bars-b", "bars-c")  # a test counts them at the paper's size


def _table2() -> Iterator[Finding]:
    built = built_counts()
    for row in table2():
        for number in row.numbers():
            column = number.id.rsplit("/", 1)[1]
            if column == "top1":
                yield Finding.unknown(number, "an accuracy without seeds or spread; Table 2 here measures it")
            elif column == "equivalent_ops":
                yield from _equivalent(row, number)
            elif row.ours:
                yield Finding.unknown(number, _unpublished(row))
            else:
                yield from _built(row, number, column, built)


def _unpublished(row: Row2) -> str:
    note = "the discovered architecture is not published"
    if row.experiment in RECONSTRUCTED:
        note += f"; genotypes/{row.experiment}-printed.json is one of our space with the row's counts"
    return note


def _equivalent(row: Row2, number: Number) -> Iterator[Finding]:
    for divisor in (64, 32):
        value = row.equivalent(divisor)
        if value is None:
            continue
        basis = f"the row's FLOPs + BiOps/{divisor}"
        note = NOTES.get(f"{number.id}/{divisor}", "")
        yield Finding(number, basis, value, _sum_verdict(number, value), note, suffix=str(divisor))


def _sum_verdict(number: Number, value: float) -> str:
    """Like ``Number.agrees``, but a half between two printed decimals may have been rounded either way."""
    return AGREES if abs(value - (number.value or 0.0)) <= 0.5 * 10.0**-number.decimals + 1e-9 else number.agrees(value)


def _built(row: Row2, number: Number, column: str, built: dict[tuple[str, str], dict[str, float]]) -> Iterator[Finding]:
    for (experiment, variant), values in built.items():
        if experiment != row.experiment or column not in values:
            continue
        basis = "the network built at full size" + (f", {variant}" if variant else "")
        note = "" if variant else NOTES.get(number.id, "")
        yield Finding.held(number, basis, values[column], note, suffix=variant.replace(" ", "-"))


# ------------------------------------------------------------------------------------------------------ text
def _gain(experiment: str, over: str) -> float:
    return round(cell(experiment, "top1") - cell(over, "top1"), 6)


def _share(experiment: str, over: str, column: str) -> float:
    return cell(experiment, column) / cell(over, column)


def _against(number: Number, experiment: str, over: str, value: float, note: str = "") -> Finding:
    basis = f"Table 2, {row2(experiment).label} and {row2(over).label}"
    return Finding.held(number, basis, value, note, suffix=over)


CIFAR_REFERENCES = ("resnet18-xnor", "resnet34-xnor", "bnas")


def _text() -> Iterator[Finding]:
    yield from _cifar(*(in_text(f"abstract/cifar-{of}") for of in ("gain", "biops", "flops")))
    yield from _imagenet_gain(in_text("abstract/imagenet-gain"))
    yield from (Finding.unknown(in_text(id), note) for id, note in SETTINGS[:2])
    yield from _space()
    yield from (Finding.unknown(in_text(id), note) for id, note in SETTINGS[2:])
    note = "15 of the 19 printed sums are FLOPs + BiOps/32, none is by 1/64"
    yield Finding.held(in_text("table2/divisor"), "the Equivalent Ops of Table 2", 1 / 32, note)
    note = "agrees with the caption of Table 2, not with its column"
    yield Finding.held(in_text("fig4/divisor"), "Table 2, caption", 64.0, note)
    for id, experiment in (("with-fp", "imagenet-resnet18-xnor-fp"), ("without-fp", "imagenet-resnet18-xnor")):
        yield Finding.held(in_text(f"5.1/{id}"), f"Table 2, {row2(experiment).label}", cell(experiment, "top1"))
    yield from _cifar(*(in_text(f"5.1/cifar-{of}") for of in ("gain", "biops", "flops", "params")))
    yield from _imagenet_gain(in_text("5.1/imagenet-gain"))
    yield from _failed_search()


SETTINGS = (
    ("1/bits", "a definition"),
    ("1/float-bits", "a definition"),
    ("4.1.2/preprocess", "a setting of the cell template"),
    ("4.1.2/strided", "a setting of the cell template"),
    ("4.2.3/gamma", "a setting; with Eq. 7 as printed nothing above the budget is penalised, the wrong way round"),
    ("4.3/samples", "a setting of the derivation"),
    ("5/classes", "a setting; which 100 classes is not said"),
)


def _space() -> Iterator[Finding]:
    cells = in_text("4.1.1/cells")
    yield Finding.unknown(cells, "an example; the number of cells used is not said")
    yield Finding.held(in_text("4.1.1/depths"), "its example, three cells", cells.known + 1, "depths 0 to 3")
    yield Finding.held(in_text("4.1.1/widths"), "the list beside it", 4.0, "0.25, 0.5, 0.75, 1.0")
    yield Finding.held(in_text("4.1.1/quarter"), "first of the four widths", 0.25)
    primitives = in_text("5.4/primitives").known - in_text("fig6/extra").known
    note = "Sec. 5.4 yet speaks of 5x5 convolutions in the operation search, which these operations lack"
    yield Finding.held(in_text("4.1.2/primitives"), "Sec. 5.4 and Fig. 6: 4 - 1", primitives, note)


def _cifar(gain: Number, biops: Number, flops: Number, params: Number | None = None) -> Iterator[Finding]:
    """BARS-B over a baseline that the sentence does not name: the likely ones in turn."""
    unnamed = "the baseline is not named"
    for over in CIFAR_REFERENCES:
        yield _against(gain, "bars-b", over, _gain("bars-b", over), unnamed)
    for over in CIFAR_REFERENCES:
        note = unnamed
        if over == "resnet34-xnor":
            equivalent = _share("bars-b", over, "equivalent_ops")
            note = f"2/3 is the ratio of Equivalent Ops ({equivalent:.2f}), not of BiOps"
        yield _against(biops, "bars-b", over, _share("bars-b", over, "biops"), note)
    for over in CIFAR_REFERENCES:
        yield _against(flops, "bars-b", over, _share("bars-b", over, "flops"), unnamed)
    if params is not None:
        note = "a tenth of the parameters holds for no row"
        for over in CIFAR_REFERENCES:
            yield _against(params, "bars-b", over, _share("bars-b", over, "params"), note)


def _imagenet_gain(number: Number) -> Iterator[Finding]:
    for over in ("imagenet-resnet18-xnor-fp", "imagenet-resnet18-bireal", "imagenet-resnet18-pcnn"):
        yield _against(number, "bars-e", over, _gain("bars-e", over))


def _failed_search() -> Iterator[Finding]:
    extra = in_text("fig6/extra")
    yield Finding.held(in_text("5.4/cell-types"), "Fig. 6, caption", 2.0)
    primitives = in_text("4.1.2/primitives").known + extra.known
    yield Finding.held(in_text("5.4/primitives"), "Sec. 4.1.2 and Fig. 6: 3 + 1", primitives)
    yield Finding.held(extra, "Sec. 5.4 and 4.1.2: 4 - 3", 1.0, "the 5x5 binary convolution")
