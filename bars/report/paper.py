"""What the paper prints, as located data: Tables 1 and 2, and every number its sentences and captions rest on.

Typed in by hand from arXiv 2011.10804 v1. A value keeps the characters it was printed with, so that its precision (and
a leading ``~``) is known; nothing here is computed, and what is wrong in the paper is wrong here: the audit says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Number:
    """A printed number: its characters ("~27", "50.2", "-", "Failed"), the unit they are in, and the place."""

    id: str
    text: str
    unit: str
    where: str

    @property
    def approximate(self) -> bool:
        """Printed with a tilde."""
        return self.text.startswith("~")

    @property
    def value(self) -> float | None:
        """The number in ``unit``; None for a dash or a word."""
        digits = self.text.removeprefix("~")
        if "/" in digits:
            above, below = digits.split("/")
            return int(above) / int(below)
        try:
            return float(digits)
        except ValueError:
            return None

    @property
    def decimals(self) -> int:
        """Digits printed behind the point."""
        return len(self.text.partition(".")[2])

    def agrees(self, value: float) -> str:
        """How ``value`` (same unit) relates to the print: "agrees", "agrees as a floor" or "differs".

        Rounded to the printed decimals it agrees, truncated to them it agrees as a floor (the authors' log truncates).
        A value with a tilde is held to its significant digits, a fraction to the nearest one with its denominator.
        """
        printed = self.value
        if printed is None:
            return "differs"
        if "/" in self.text:
            below = int(self.text.split("/")[1])
            return "agrees" if round(value * below) == round(printed * below) else "differs"
        if self.approximate:
            return "agrees" if math.isclose(_significant(value, _digits(printed)), printed) else "differs"
        unit = 10.0**-self.decimals
        if abs(value - printed) <= unit / 2 * (1 + 1e-9):
            return "agrees"
        return "agrees as a floor" if 0 <= value - printed < unit * (1 - 1e-6) else "differs"


def _digits(value: float) -> int:
    return len(f"{value:g}".replace(".", "").strip("0"))


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


@dataclass(frozen=True)
class Row2:
    """One row of Table 2; ``experiment`` is its name in params.yaml. Counts in millions (2 x MACs), top-1 in %."""

    experiment: str
    slot: str
    method: str
    binarization: str
    flops: str
    biops: str
    equivalent_ops: str
    params: str
    fully_binarized: str
    top1: str

    @property
    def label(self) -> str:
        """Name for tables and figures, such as "ResNet-18 (XNOR)"."""
        return f"{self.method} ({self.binarization})" if self.binarization else self.method

    @property
    def ours(self) -> bool:
        """A network that BARS discovered, not a baseline."""
        return self.method.startswith("BARS")

    def number(self, column: str) -> Number:
        """One printed cell, located."""
        name, unit = COLUMNS2[column]
        slot = SLOT_TITLES[self.slot]
        full = ", no FP downsample" if self.experiment == "imagenet-resnet18-xnor" else ""
        return Number(
            f"table2/{self.experiment}/{column}",
            getattr(self, column),
            unit,
            f"Table 2, {slot}, {self.label}{full}, {name}",
        )

    def numbers(self) -> Iterator[Number]:
        """Every printed cell with a number in it."""
        for column in COLUMNS2:
            number = self.number(column)
            if number.value is not None:
                yield number

    def equivalent(self, divisor: int) -> float | None:
        """Printed FLOPs + printed BiOps / divisor in millions; None where either is not printed."""
        flops, biops = self.number("flops").value, self.number("biops").value
        return None if flops is None or biops is None else flops + biops / divisor


SLOT_TITLES = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
COLUMNS2 = {
    "flops": ("FLOPs", "M"),
    "biops": ("BiOps", "M"),
    "equivalent_ops": ("Equivalent Ops", "M"),
    "params": ("Params", "M"),
    "top1": ("Acc.", "%"),
}

_FP, _CELL = "FP Downsample", "FP Cell Shortcut"
TABLE2: tuple[Row2, ...] = (
    Row2("resnet18-xnor", "cifar10", "ResNet-18", "XNOR", "16", "1094", "50.2", "11.17", _FP, "91.12"),
    Row2("resnet18-bireal", "cifar10", "ResNet-18", "Bireal", "11", "1123", "46.1", "11.34", _FP, "91.23"),
    Row2("resnet34-xnor", "cifar10", "ResNet-34", "XNOR", "27", "2302", "98.9", "21.81", _FP, "91.49"),
    Row2("wrn40-xnor", "cifar10", "WRN-40", "XNOR", "~27", "~3000", "120.7", "-", _FP, "91.58"),
    Row2("nin-xnor", "cifar10", "NiN", "XNOR", "~27", "~400", "41.5", "-", "yes", "86.28"),
    Row2("resnet18-cbcn", "cifar10", "ResNet-18", "CBCN", "~27", "~1000", "58.2", "-", _FP, "91.9"),
    Row2("resnet18-irnet", "cifar10", "ResNet-18", "IRNet", "~27", "~1000", "58.2", "-", _FP, "91.5"),
    Row2("bnas", "cifar10", "BNAS", "XNOR", "175", "1393", "218.53", "5.57", _CELL, "92.7"),
    Row2("bars-a", "cifar10", "BARS-A", "", "2", "1027", "34.1", "2.77", "yes", "91.25"),
    Row2("bars-b", "cifar10", "BARS-B", "", "2", "2096", "67.5", "6.07", "yes", "92.98"),
    Row2("bars-c", "cifar10", "BARS-C", "", "3", "3747", "119.5", "10.76", "yes", "93.43"),
    Row2("imagenet-resnet18-abc", "imagenet", "ResNet-18", "ABC", "~100", "~4000", "225.0", "-", "yes", "42.7"),
    Row2("imagenet-resnet18-xnor", "imagenet", "ResNet-18", "XNOR", "138", "3699", "253.6", "12.54", "yes", "48.3"),
    Row2("imagenet-resnet18-xnor-fp", "imagenet", "ResNet-18", "XNOR", "167", "3557", "278.1", "12.80", _FP, "53.1"),
    Row2("imagenet-bidensenet-xnor", "imagenet", "BiDenseNet", "XNOR", "-", "-", "-", "13.56", _FP, "52.7"),
    Row2("imagenet-resnet18-bireal", "imagenet", "ResNet-18", "Bireal", "~160", "~4000", "285.0", "-", _FP, "56.4"),
    Row2("imagenet-resnet18-pcnn", "imagenet", "ResNet-18", "PCNN", "~160", "~4000", "285.0", "-", _FP, "57.3"),
    Row2("imagenet-bnas", "imagenet", "BNAS", "XNOR", "195", "6274", "391.1", "28.41", _CELL, "57.6"),
    Row2("bars-d", "imagenet", "BARS-D", "", "129", "1499", "122.8", "9.46", "yes", "52.5"),
    Row2("bars-e", "imagenet", "BARS-E", "", "194", "2526", "275.9", "14.04", "yes", "56.1"),
)


@dataclass(frozen=True)
class Row1:
    """One row of Table 1 (CIFAR-10 top-1 in percent), an ablation of BARS-B."""

    experiment: str
    level: str
    label: str
    top1: str

    @property
    def number(self) -> Number:
        """The printed accuracy, located."""
        return Number(f"table1/{self.experiment}/top1", self.top1, "%", f"Table 1, {self.label}, Acc.")


TABLE1: tuple[Row1, ...] = (
    Row1("normal-reduction-cell", "Macro-level", "Normal/Reduction Cell", "91.70"),
    Row1("without-width-search", "Macro-level", "Without Width Search", "92.27"),
    Row1("without-depth-search", "Macro-level", "Without Depth Search", "91.92"),
    Row1("without-gumbel-softmax", "Micro-level", "Without Gumbel-Softmax", "Failed"),
    Row1("without-cell-shortcut", "Micro-level", "Without Cell Shortcut", "52.83"),
    Row1("without-entropy-reg", "Micro-level", "Without Entropy Reg.", "92.56"),
    Row1("without-flops-reg", "Micro-level", "Without FLOPs Reg.", "92.44"),
    Row1("without-sampling-in-derive", "Derive", "Without Sampling in Derive", "90.68"),
    Row1("bars-b", "Full", "BARS", "92.97"),
)


def row1(experiment: str) -> Row1:
    """The row of Table 1 of an experiment."""
    return next(row for row in TABLE1 if row.experiment == experiment)


def row2(experiment: str) -> Row2:
    """The row of Table 2 of an experiment."""
    return next(row for row in TABLE2 if row.experiment == experiment)


@dataclass(frozen=True)
class _Text:
    """Numbers of sentences, captions and equations; the attribute is the number's id."""

    abstract_cifar_gain: Number = Number(
        "text/abstract/cifar-gain", "1.5", "points", "Abstract: accuracy gain on CIFAR-10"
    )
    abstract_cifar_biops: Number = Number(
        "text/abstract/cifar-biops", "2/3", "ratio", "Abstract: share of binary operations"
    )
    abstract_cifar_flops: Number = Number("text/abstract/cifar-flops", "1/10", "ratio", "Abstract: share of FLOPs")
    abstract_imagenet_gain: Number = Number(
        "text/abstract/imagenet-gain", "3", "points", "Abstract: accuracy gain on ImageNet"
    )
    bits: Number = Number("text/1/bits", "1", "bit", "Sec. 1: width of binary weights and activations")
    float_bits: Number = Number("text/1/float-bits", "32", "bit", "Sec. 1: width of the multiplications replaced")
    depth_cells: Number = Number("text/4.1.1/cells", "3", "cells", "Sec. 4.1.1: cells of the example stage")
    depth_choices: Number = Number("text/4.1.1/depths", "4", "choices", "Sec. 4.1.1: dimensions of its depth parameter")
    width_choices: Number = Number("text/4.1.1/widths", "4", "choices", "Sec. 4.1.1: relative widths, 0.25 to 1.0")
    width_quarter: Number = Number(
        "text/4.1.1/quarter", "0.25", "ratio", "Sec. 4.1.1: channels kept by the first width mask"
    )
    primitives: Number = Number("text/4.1.2/primitives", "3", "choices", "Sec. 4.1.2: candidate operations")
    preprocess: Number = Number(
        "text/4.1.2/preprocess", "1", "layers", "Sec. 4.1.2: preprocess layers of a cell (two before)"
    )
    strided: Number = Number(
        "text/4.1.2/strided", "2", "layers", "Sec. 4.1.2: strided convolutions that are concatenated"
    )
    gamma: Number = Number("text/4.2.3/gamma", "0", "exponent", "Sec. 4.2.3, Eq. 7: exponent at and above the budget")
    samples: Number = Number("text/4.3/samples", "8", "candidates", "Sec. 4.3: architectures sampled when deriving")
    divisor: Number = Number(
        "text/table2/divisor", "1/64", "ratio", "Table 2, caption: weight of a BiOp in Equivalent Ops"
    )
    figure_divisor: Number = Number("text/fig4/divisor", "64", "divisor", "Fig. 4, caption: divisor of BiOps")
    subset: Number = Number("text/5/classes", "100", "classes", "Sec. 5: ImageNet subset searched on")
    drop_with: Number = Number("text/5.1/with-fp", "53.1", "%", "Sec. 5.1: ImageNet ResNet-18 with FP downsample")
    drop_without: Number = Number(
        "text/5.1/without-fp", "48.3", "%", "Sec. 5.1: ImageNet ResNet-18 without FP downsample"
    )
    cifar_gain: Number = Number("text/5.1/cifar-gain", "1.5", "points", "Sec. 5.1: BARS-B over the hand-crafted model")
    cifar_biops: Number = Number("text/5.1/cifar-biops", "2/3", "ratio", "Sec. 5.1: BARS-B's share of its BiOps")
    cifar_flops: Number = Number("text/5.1/cifar-flops", "1/10", "ratio", "Sec. 5.1: BARS-B's share of its FLOPs")
    cifar_params: Number = Number(
        "text/5.1/cifar-params", "1/10", "ratio", "Sec. 5.1: BARS-B's share of its parameters"
    )
    imagenet_gain: Number = Number("text/5.1/imagenet-gain", "3", "points", "Sec. 5.1: BARS-E over ResNet-18")
    failed_cells: Number = Number(
        "text/5.4/cell-types", "2", "cell types", "Sec. 5.4, Fig. 6: cell types of the failed search"
    )
    failed_primitives: Number = Number(
        "text/5.4/primitives", "4", "choices", "Sec. 5.4: candidate operations of the failed search"
    )
    failed_extra: Number = Number(
        "text/fig6/extra", "1", "choices", "Fig. 6, caption: operations it has beyond the paper's own"
    )

    def __iter__(self) -> Iterator[Number]:
        return (getattr(self, field.name) for field in fields(self))


TEXT = _Text()


def numbers() -> Iterator[Number]:
    """Every printed number, in the order of Table 1, Table 2, text; a printed word ("Failed") is among Table 1's."""
    for one in TABLE1:
        yield one.number
    for two in TABLE2:
        yield from two.numbers()
    yield from TEXT
