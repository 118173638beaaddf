"""Precision and passes stand in a table's notes where they matter, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from bars.pipeline import records
from bars.report.tables import make_table


def ran(tree: Any, name: str, seed: int, precision: str | None, passes: str | None) -> None:
    """Provenance of every stage of a run, as a stage writes it: passes only where something is trained."""
    experiment, computes = tree.grid[name], {"search", "retrain", "evaluate"}
    computes |= {"derive"} if experiment.kind == "searched" else set()
    for stage in experiment.stages:
        record = records.Provenance(
            stage=stage, experiment=name, group=experiment.group, scale=experiment.scale, seed=seed, code={},
            params={}, params_sha256="0" * 64, inputs={}, outputs={}, libraries={}, device="cpu",
            precision=precision if stage in computes else None,
            passes=passes if stage in ("search", "retrain") else None,
            threads=1, started="2026-01-01T00:00:00Z", seconds=1.0, peak_memory_mb=1.0,
        )  # fmt: skip
        records.write_record(tree.path(name, stage, "provenance.json", seed), record)


def said(tree: Any, table: str = "table2") -> list[str]:
    return [note for note in make_table(table, tree.params, None, tree.folder).notes if "recision" in note]


@pytest.fixture
def two(tree: Any) -> Any:
    """One seed of a hand-made network (retrain, evaluate) and of a searched one (all four stages)."""
    for name in ("resnet18-xnor", "bars-b"):
        tree.metrics(name, 0)
        ran(tree, name, 0, "float32", "eager")
    return tree


@pytest.mark.parametrize("table", ["table1", "table2", "claims"])
def test_what_is_usual_is_not_said(two: Any, table: str) -> None:
    assert said(two, table) == []


def test_a_random_draw_computes_nothing_and_so_has_no_precision(two: Any) -> None:
    two.metrics("random-architecture", 0)
    ran(two, "random-architecture", 0, "float32", "eager")
    assert said(two) == []


def test_nothing_is_said_of_results_without_a_record(tree: Any) -> None:
    tree.metrics("bars-b", 0)
    assert said(tree) == []


@pytest.mark.parametrize("table", ["table1", "table2", "claims"])
def test_what_all_share_is_said_in_short(two: Any, table: str) -> None:
    for name in ("resnet18-xnor", "bars-b"):
        ran(two, name, 0, "bfloat16", "eager")
    assert said(two, table) == ["Computed with precision bfloat16; passes eager."]


def test_a_mixture_is_said_with_how_many_stages_there_are_of_each(two: Any) -> None:
    ran(two, "bars-b", 0, "float32", "native")
    mixed = ": not all alike, which can move results too."
    assert said(two) == [f"Computed with precision float32; passes native (2 stages), eager (1 stage){mixed}"]
    ran(two, "resnet18-xnor", 0, "bfloat16", "eager")
    expected = "float32 (3 stages), bfloat16 (1 stage); passes native (2 stages), eager (1 stage)"
    assert said(two) == [f"Computed with precision {expected}{mixed}"]


def test_only_runs_of_the_table_count(two: Any) -> None:
    ran(two, "resnet18-xnor", 0, "bfloat16", "eager")
    assert said(two, "table1") == []  # ablations alone
    assert said(two, "table2") != []


def test_older_records_say_that_they_do_not_know(two: Any) -> None:
    for name in ("resnet18-xnor", "bars-b"):
        ran(two, name, 0, None, None)
    assert said(two) == ["Precision and passes of these runs were not recorded."]
    ran(two, "bars-b", 0, "float32", "eager")
    assert said(two)[0].startswith("Computed with precision float32 (3 stages), unknown (1 stage); passes eager (2")
