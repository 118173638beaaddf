"""The printed numbers are complete, located, and add up (or not) as they do in print."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.report.paper import Number, in_text, numbers, row2, table1, table2


def test_tables_have_their_printed_size() -> None:
    assert Counter(row.slot for row in table2()) == {"cifar10": 11, "imagenet": 9}
    assert len(table1()) == 9
    assert [row.experiment for row in table2() if row.ours] == ["bars-a", "bars-b", "bars-c", "bars-d", "bars-e"]


def test_every_number_has_one_id_and_a_place() -> None:
    every = list(numbers())
    assert len({number.id for number in every}) == len(every)
    assert all(number.where and number.unit for number in every)
    without = 3 + 7  # BiDenseNet has three dashes, seven rows print no parameters
    assert sum(number.id.startswith("table2/") for number in every) == 20 * 5 - without


@pytest.mark.parametrize(
    ("text", "value", "approximate", "decimals"),
    [
        ("~27", 27.0, True, 0),
        ("12.80", 12.8, False, 2),
        ("2/3", 2 / 3, False, 0),
        ("-", None, False, 0),
        ("Failed", None, False, 0),
    ],
)
def test_characters_become_numbers(text: str, value: float | None, approximate: bool, decimals: int) -> None:
    number = Number("x", text, "M", "somewhere")
    assert number.value == (None if value is None else pytest.approx(value))
    assert (number.approximate, number.decimals) == (approximate, decimals)


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        ("16", 16.13, "agrees"),
        ("1094", 1094.71, "agrees as a floor"),
        ("1094", 1095.0, "differs"),
        ("1094", 1093.4, "differs"),
        ("12.80", 12.8049, "agrees"),
        ("92.97", 92.98, "differs"),
        ("~3000", 2642.0, "agrees"),  # one significant digit
        ("~4000", 3391.0, "differs"),
        ("~27", 29.74, "differs"),
        ("2/3", 0.68, "agrees"),
        ("2/3", 0.91, "differs"),
        ("1/10", 0.074, "agrees"),
        ("1/10", 0.278, "differs"),
        ("Failed", 0.1, "differs"),
    ],
)
def test_agreement_follows_the_printed_precision(text: str, value: float, verdict: str) -> None:
    assert Number("x", text, "M", "somewhere").agrees(value) == verdict


def test_equivalent_ops_fit_one_half_of_the_captioned_divisor() -> None:
    """FLOPs + BiOps/32 within a rounding of the printed decimals for 15 of 19 rows, by the captioned 1/64 for none."""
    fit: dict[int, list[str]] = {}
    for divisor in (32, 64):
        for row in table2():
            number, value = row.number("equivalent_ops"), row.equivalent(divisor)
            if value is not None and number.value is not None and abs(value - number.value) < 10.0**-number.decimals:
                fit.setdefault(divisor, []).append(row.experiment)
    printed = {row.experiment for row in table2() if row.equivalent(32) is not None}
    assert len(printed) == 19
    assert printed - set(fit[32]) == {"nin-xnor", "bars-c", "bars-d", "bars-e"}
    assert 64 not in fit


def test_the_texts_gains_come_from_table_2() -> None:
    top1 = {row.experiment: row.number("top1").value or 0.0 for row in table2()}
    assert top1["bars-b"] - top1["resnet34-xnor"] == pytest.approx(1.49)
    assert top1["bars-e"] - top1["imagenet-resnet18-xnor-fp"] == pytest.approx(in_text("5.1/imagenet-gain").value)
    assert row2("imagenet-resnet18-xnor-fp").top1 == in_text("5.1/with-fp").text
    assert row2("imagenet-resnet18-xnor").top1 == in_text("5.1/without-fp").text


def test_every_printed_row_is_an_experiment_of_the_grid() -> None:
    grid = Grid(load_params(Path(__file__).parents[2] / "params.yaml"), "smoke")
    rows = {row.experiment: row.slot for row in table2()}
    assert set(rows) <= set(grid.experiments)
    assert {row.experiment for row in table1()} <= set(grid.experiments)
    assert all(grid[name].slot == slot for name, slot in rows.items())
