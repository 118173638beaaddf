"""What the paper prints, as located data: Tables 1 and 2, and every number its sentences and captions rest on.

The numbers stand in data/printed_*.csv, typed in by hand from arXiv 2011.10804 v1. A value keeps the characters it was
printed with, so that its precision (and a leading ``~``) is known; nothing in them is computed, and what is wrong in
the paper is wrong here: the audit says so.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files


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
    def known(self) -> float:
        """The value. Raises KeyError where a dash or a word is printed."""
        if self.value is None:
            raise KeyError(f"no number is printed: {self.where}")
        return self.value

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


# ------------------------------------------------------------------------------------------------------ as printed
@functools.cache
def table1() -> tuple[Row1, ...]:
    """The rows of Table 1, in their order."""
    return tuple(Row1(**row) for row in rows_of("printed_table1.csv"))


@functools.cache
def table2() -> tuple[Row2, ...]:
    """The rows of Table 2, in their order."""
    return tuple(Row2(**row) for row in rows_of("printed_table2.csv"))


@functools.cache
def _text() -> dict[str, Number]:
    return {
        row["id"]: Number(f"text/{row['id']}", row["printed"], row["unit"], row["place"])
        for row in rows_of("printed_text.csv")
    }


def in_text(id: str) -> Number:
    """A number of a sentence, caption or equation, by its section and name, such as "5.1/cifar-gain"."""
    return _text()[id]


def row1(experiment: str) -> Row1:
    """The row of Table 1 of an experiment."""
    return next(row for row in table1() if row.experiment == experiment)


def row2(experiment: str) -> Row2:
    """The row of Table 2 of an experiment."""
    return next(row for row in table2() if row.experiment == experiment)


def cell(experiment: str, column: str) -> float:
    """A number of Table 2. Raises KeyError where none is printed."""
    return row2(experiment).number(column).known


def numbers() -> Iterator[Number]:
    """Every printed number, in the order of Table 1, Table 2, text; a printed word ("Failed") is among Table 1's."""
    for one in table1():
        yield one.number
    for two in table2():
        yield from two.numbers()
    yield from _text().values()


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a csv file of the folder ``data``."""
    text = (files("bars.report") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
