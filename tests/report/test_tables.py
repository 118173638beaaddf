"""Tables 1 and 2: rows, order, hand-computed numbers, and honesty about what is missing."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from bars.errors import RecordError
from bars.params import ClaimsParams
from bars.report.failure import failure
from bars.report.layout import Table
from bars.report.paper import table1, table2
from bars.report.predictors import expected_best
from bars.report.tables import make_table, write_table
from bars.space import SHORTCUT
from tests.blocks import block
from tests.report.conftest import PARAMS, Tree

CONV3 = "binary_conv_3x3"
BEYOND = (
    "resnet18-xnor-wider", "random-a", "random-architecture", "random-c", "random-d", "random-e",
    "random-a-matched", "random-b-matched", "random-c-matched", "random-d-matched", "random-e-matched",
    "resnet18-react"
)  # fmt: skip


def row_of(table: Table, experiment: str) -> Any:
    return next(row for row in table.rows if row["experiment"] == experiment)


def note(row: Any) -> str:
    """What a row says, but for its budget: the tree's operations are made up."""
    return "; ".join(part for part in row["note"].split("; ") if part and not part.startswith("budget missed"))


def made(name: str, tree: Any, scale: str | None = None) -> Table:
    return make_table(name, tree.params, scale, tree.folder)


# ------------------------------------------------------------------------------------------------------ Table 2
def test_table2_has_the_printed_rows_in_order_then_extras(whole: Any) -> None:
    table = made("table2", whole)
    assert [row["experiment"] for row in table.rows] == [*(r.experiment for r in table2()), *BEYOND]
    assert [row["beyond_paper"] for row in table.rows] == [False] * 20 + [True] * len(BEYOND)
    assert table.rows[-1]["method"] == "ReActNet-18"
    assert "| CIFAR-10 | + ReActNet-18 |" in table.markdown()


def test_table2_puts_ours_beside_the_printed_values(tree: Any) -> None:
    for seed, (top1, biops) in enumerate([(0.80, 6400), (0.84, 6400), (0.85, 12800)]):
        tree.metrics("bars-b", seed, top1=top1, counts=(200, biops, 50))
    row = row_of(made("table2", tree), "bars-b")
    assert (row["printed_flops_m"], row["printed_biops_m"], row["printed_equivalent_ops_m"]) == (2.0, 2096.0, 67.5)
    assert (row["printed_params_m"], row["printed_top1_percent"]) == (6.07, 92.98)
    assert row["top1_mean_percent"] == pytest.approx(83.0)
    assert row["top1_std_percent"] == pytest.approx(((3**2 + 1 + 2**2) / 2) ** 0.5)
    assert row["biops"] == pytest.approx(25600 / 3)
    assert row["equivalent_ops_64"] == pytest.approx(200 + 25600 / 3 / 64)
    assert row["equivalent_ops_32"] == pytest.approx(200 + 25600 / 3 / 32)
    assert (row["seeds_done"], row["seeds_declared"], note(row)) == (3, 3, "")
    assert (row["scale"], row["data_set"], row["fully_binarized"]) == ("tiny", "cifar10", True)


def test_a_missed_budget_is_said_and_one_just_met_is_not(tree: Any) -> None:
    asked = tree.results.experiment("bars-b").budget_biops
    for seed, share in enumerate((0.91, 1.09, 1.12)):
        tree.metrics("bars-b", seed, top1=0.9, counts=(200, round(share * asked), 50))
    for name in ("table1", "table2"):
        table = made(name, tree)
        row = row_of(table, "bars-b")
        assert row["budget_biops"] == asked
        assert row["budget_reached"] == pytest.approx((0.91 + 1.09 + 1.12) / 3, abs=1e-3)
        assert (row["budget_missed_seeds"], row["note"]) == ("2", "budget missed (seed 2)")
        assert "(104%) missed" in table.markdown()
    assert row_of(made("table2", tree), "nin-xnor")["budget_biops"] is None


def test_a_failed_search_is_said_with_the_seeds_that_say_it(tree: Any) -> None:
    asked = tree.results.experiment("bars-b").budget_biops
    still = "its weights stood still (0.1% of the signs changed)"
    for seed, failures in enumerate([(still,), (), (still, "its decisions stayed open (entropy 0.95 of 1)")]):
        tree.metrics("bars-b", seed, top1=0.9, counts=(200, asked, 50), search_failures=failures)
    said = "search: its weights stood still (seeds 0, 2); search: its decisions stayed open (seed 2)"
    for name in ("table1", "table2"):
        assert row_of(made(name, tree), "bars-b")["note"] == said


def test_the_ranking_is_that_of_the_planted_predictors(whole: Any) -> None:
    table = made("ranking", whole)
    rows = {row["predictor"]: row for row in table.rows}
    assert rows["supernet, mean over its seeds"]["tau"] == pytest.approx(1 - 2 / 10)  # one of ten pairs is wrong
    assert rows["parameters"]["tau"] == pytest.approx(-1.0)
    assert rows["supernet, seed 1"]["rho"] == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert rows["parameters"]["tau_high"] == pytest.approx(-1.0)
    assert rows["supernet, seed 1"]["tau_low"] < 0.8 <= rows["supernet, seed 1"]["tau_high"]
    # k = 8 of 5 architectures: all of them, so the predictor's favourite is taken
    assert rows["supernet, seed 1"]["best_of_k_percent"] == pytest.approx(94.0)
    assert rows["parameters"]["best_of_k_percent"] == pytest.approx(90.0)
    assert rows["parameters"]["gain_percent"] == pytest.approx(-2.0)
    assert rows["supernet, by its top-1"]["tau"] == pytest.approx(1.0)
    assert "NASWOT" not in rows  # it is not there for every architecture


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_expected_best_is_the_mean_over_all_draws(k: int) -> None:
    predicted, top1 = [0.3, 0.9, 0.1, 0.5], [0.7, 0.2, 0.9, 0.4]
    draws = list(itertools.combinations(range(4), k))
    wanted = sum(top1[max(draw, key=lambda i: predicted[i])] for draw in draws) / len(draws)
    assert expected_best(predicted, top1, k) == pytest.approx(wanted)


def test_labels_of_data_and_experiments_are_shown(tmp_path: Path) -> None:
    layer = {"include": str(PARAMS), "experiments": {"searched": {"bars-b": {"label": "my network"}}}}
    layer["scales"] = {"tiny": {"slots": {"cifar10": {"data": {"label": "my-images"}}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(layer))
    tree = Tree(tmp_path / "results", params=tmp_path / "mine.yaml")
    tree.top1("bars-b", [0.8, 0.9])
    table = made("table2", tree)
    assert row_of(table, "bars-b")["method"] == "BARS-B: my network"
    assert row_of(table, "bars-a")["method"] == "BARS-A"
    for text in (table.html(), table.latex(), table.markdown(), made("table1", tree).html()):
        assert "CIFAR-10 rows on my-images" in text
        assert "my network" in text


def test_incomplete_seeds_are_said(tree: Any) -> None:
    tree.metrics("bars-b", 0, top1=0.80)
    tree.metrics("bars-b", 2, top1=0.90)
    table = made("table2", tree)
    row = row_of(table, "bars-b")
    assert (row["seeds_done"], row["seeds_declared"], row["seeds_missing"]) == (2, 3, "1")
    assert note(row) == "incomplete: no result of seed 1"
    line = next(line for line in table.markdown().splitlines() if "BARS-B" in line)
    assert "85.00 ± 7.07 | 2/3 |" in line
    assert row_of(table, "bars-a")["note"] == "no result yet (seeds 0, 1, 2)"
    assert row_of(table, "bars-a")["top1_mean_percent"] is None


def test_a_row_that_is_not_run_says_why(tree: Any, tmp_path: Path) -> None:
    lone = type(tree)(tmp_path / "lone", scale="lone")
    lone.metrics("bars-b", 0, top1=0.9)
    table = made("table2", lone, "lone")
    row = row_of(table, "bars-e")
    assert row["note"] == "not run: no imagenet data at scale lone"
    assert "random-e" not in [row["experiment"] for row in table.rows]  # what the paper prints nothing of is left out
    assert (row["seeds_declared"], row["printed_top1_percent"]) == (0, 56.1)
    line = next(line for line in table.markdown().splitlines() if "BARS-B" in line)
    assert "| 90.00 | 1/1 |" in line  # one seed has no spread


def test_float_parts_of_a_baseline_are_named(whole: Any) -> None:
    table = made("table2", whole)
    assert row_of(table, "resnet18-xnor")["fully_binarized"] is False
    line = next(line for line in table.markdown().splitlines() if "| ResNet-34" in line)
    assert "| FP Downsample | FP downsample |" in line


def test_dashes_and_tildes_stay_as_printed(whole: Any) -> None:
    table = made("table2", whole)
    row = row_of(table, "imagenet-bidensenet-xnor")
    assert row["printed_flops_m"] is None
    assert row_of(table, "wrn40-xnor")["printed_approximate"] is True
    assert "~27M" in table.markdown()
    assert r"$\sim$27M" in table.latex()


def test_a_table_without_any_result_is_refused(tree: Any) -> None:
    for name in ("table1", "table2"):
        with pytest.raises(RecordError, match=f"nothing to put into {name}"):
            made(name, tree)


def test_written_tables_come_in_three_kinds_with_raw_csv(whole: Any, tmp_path: Path) -> None:
    paths = write_table("table2", whole.params, None, whole.folder, tmp_path)
    assert [path.name for path in paths] == ["table2.csv", "table2.html", "table2.md", "table2.tex"]
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert len(rows) == 20 + len(BEYOND)
    assert rows[9]["experiment"] == "bars-b"
    assert float(rows[9]["flops"]) == row_of(made("table2", whole), "bars-b")["flops"]
    assert rows[9]["metrics_files"].split()[0] == "tiny/searched/bars-b/seed-0/evaluate/metrics.json"


def test_the_same_results_give_the_same_bytes(whole: Any, tmp_path: Path) -> None:
    for name in ("table1", "table2", "claims", "audit"):
        one = [p.read_bytes() for p in write_table(name, whole.params, None, whole.folder, tmp_path / "one")]
        two = [p.read_bytes() for p in write_table(name, whole.params, None, whole.folder, tmp_path / "two")]
        assert one == two


# ------------------------------------------------------------------------------------------------------ Table 1
def test_table1_has_eight_ablations_the_full_method_and_extras(whole: Any) -> None:
    table = made("table1", whole)
    names = [row["experiment"] for row in table.rows]
    assert names == [
        *(row.experiment for row in table1()),
        "collapsed-search",
        "failed-search",
        "failed-search-stabilised",
        "plain-strided-convolution",
        "without-op-shortcut",
    ]
    assert row_of(table, "without-gumbel-softmax")["printed_top1_percent"] is None
    assert row_of(table, "without-gumbel-softmax")["printed_top1_text"] == "Failed"


def test_space_sizes_are_exact(whole: Any) -> None:
    table = made("table1", whole)
    full = 3**40 * 27 * 64  # 4 cell types of 10 edges; depths 0 to 2, four widths, three stages
    assert row_of(table, "bars-b")["space_size"] == full
    assert row_of(table, "normal-reduction-cell")["space_size"] == 3**20 * 27 * 64
    assert row_of(table, "without-width-search")["space_size"] == full // 64
    assert row_of(table, "without-depth-search")["space_size"] == full // 27
    assert row_of(table, "failed-search")["space_size"] == 4**20 * 27 * 64


def test_costs_of_what_was_found_stand_in_table1(whole: Any) -> None:
    row = row_of(made("table1", whole), "without-cell-shortcut")
    runs = [whole.results.runs("without-cell-shortcut").metrics[seed] for seed in range(3)]
    assert row["params"] == pytest.approx(sum(run.params for run in runs) / 3)
    assert row["biops"] == pytest.approx(sum(run.biops for run in runs) / 3)


@pytest.mark.parametrize(
    ("metrics", "cells", "criterion"),
    [
        ({"search_status": "diverged"}, CONV3, "search diverged"),
        ({}, SHORTCUT, "over 90% of normal edges are shortcut or none"),
        ({"top1": 0.19}, CONV3, "top-1 below 20%"),
        ({}, CONV3, ""),
    ],
)
def test_the_criterion_of_a_failed_row_is_said(tree: Any, metrics: dict[str, Any], cells: str, criterion: str) -> None:
    for seed in range(3):
        tree.metrics("without-gumbel-softmax", seed, **{"top1": 0.5, **metrics})
        tree.genotype("without-gumbel-softmax", seed, lambda cell, source, target: cells)
    table = made("table1", tree)
    row = row_of(table, "without-gumbel-softmax")
    assert row["failed_criteria"] == criterion
    assert row["runs_failed"] == (3 if criterion else 0)
    line = next(line for line in table.markdown().splitlines() if "Without Gumbel" in line)
    assert ("| Failed | Failed (" in line) == bool(criterion)
    assert (f"failed in 3 of 3: {criterion}" in line) == bool(criterion)


def test_only_normal_cells_count_as_collapsed(tree: Any) -> None:
    tree.metrics("bars-b", 0)
    tree.genotype("bars-b", 0, lambda cell, source, target: SHORTCUT if cell == "reduction" else CONV3)
    row = row_of(made("table1", tree), "bars-b")
    assert (row["cheap_edge_share"], row["runs_failed"]) == (0.0, 0)


def test_cells_that_the_network_lacks_do_not_count_as_collapsed(tree: Any) -> None:
    for seed, depth in enumerate([(0, 0, 0), (2, 0, 0)]):
        tree.metrics("bars-b", seed)
        tree.genotype("bars-b", seed, lambda cell, *edge: CONV3 if cell == "normal-1" else SHORTCUT, depth=depth)
    row = row_of(made("table1", tree), "bars-b")
    assert (row["cheap_edge_share"], row["runs_failed"]) == (0.0, 0)


def test_some_failed_runs_do_not_make_a_failed_row(tree: Any) -> None:
    tree.top1("without-gumbel-softmax", [0.1, 0.8, 0.8])
    table = made("table1", tree)
    row = row_of(table, "without-gumbel-softmax")
    assert (row["runs_failed"], note(row)) == (1, "failed in 1 of 3: top-1 below 20%")
    line = next(line for line in table.markdown().splitlines() if "Without Gumbel" in line)
    assert "| Failed | 56.67 ± 40.41 |" in line


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_rows_with_the_same_architectures_say_so(tree: Any, name: str) -> None:
    other = "without-entropy-reg" if name == "table1" else "bars-c"
    for seed in range(3):
        tree.metrics("bars-b", seed, genotype_sha256="ab" * 32)
        tree.metrics(other, seed, genotype_sha256="ab" * 32)
    table = made(name, tree)
    assert note(row_of(table, other)) == "the same architecture as bars-b"
    assert note(row_of(table, "bars-b")) == f"the same architecture as {other}"
    tree.metrics(other, 2, genotype_sha256="cd" * 32)
    assert note(row_of(made(name, tree), "bars-b")) == ""


def test_so_many_guesses_is_where_a_run_counts_as_failed(tree: Any) -> None:
    tree.top1("bars-b", [0.25, 0.35, 0.45])
    runs = tree.results.runs("bars-b")
    failed = [failure(runs, {}, block(ClaimsParams, failed_guesses=limit)).failed for limit in (2.0, 3.0, 4.0)]
    assert failed == [0, 1, 2]  # a guess among ten classes has 0.1


def test_fifteen_percent_of_a_hundred_classes_is_no_failure(tree: Any) -> None:
    classes = dict.fromkeys(map(str, range(100)), 0.1)
    tree.top1("bars-e", [0.15, 0.021, 0.019], class_top1=classes)
    found = failure(tree.results.runs("bars-e"), {}, tree.params.report.claims)
    assert (found.failed, found.criteria) == (1, ("top-1 below 2%",))
