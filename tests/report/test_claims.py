"""Each verdict of a claim, reached by data made for it."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bars.errors import RecordError
from bars.params import ClaimsParams
from bars.report import stats
from bars.report.artifacts import CHANCE, MATCHED
from bars.report.stats import Interval
from bars.report.tables import make_table, write_table
from bars.report.tables.claims.catalogue import claims
from bars.report.tables.claims.judge import (
    NOISE,
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    VERDICTS,
    at_least,
    at_most,
    gains,
)
from bars.report.tables.claims.measures import pareto_gaps
from bars.report.tables.claims.quantities import Quantities
from bars.space import SHORTCUT
from tests.blocks import block

CONV3, CONV5 = "binary_conv_3x3", "binary_conv_5x5"
PARAMS = block(ClaimsParams)


def judged(tree: Any, id: str) -> Any:
    quantities = Quantities(tree.results)
    return next(claim for claim in claims() if claim.id == id).row(quantities)


# ------------------------------------------------------------------------------------------------------ rules
@pytest.mark.parametrize(
    ("low", "high", "claimed", "verdict"),
    [
        (0.5, 1.6, 1.5, SUPPORTED),
        (0.5, 1.4, 1.5, NOT_SUPPORTED),  # a gain, but surely smaller than claimed
        (-0.1, 2.0, 1.5, NOISE),
        (-2.0, -0.1, 1.5, NOT_SUPPORTED),
        (0.1, 0.2, 0.0, SUPPORTED),
        (0.0, 0.0, 0.0, NOISE),
    ],
)
def test_gains(low: float, high: float, claimed: float, verdict: str) -> None:
    assert gains(claimed)(Interval((low + high) / 2, low, high, 3), PARAMS)[0] == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.5, 0.73, SUPPORTED), (0.74, 0.9, NOT_SUPPORTED), (0.7, 0.8, NOISE)]
)
def test_shares_have_a_tolerance(low: float, high: float, verdict: str) -> None:
    assert at_most(2 / 3)(Interval((low + high) / 2, low, high, 3), PARAMS)[0] == verdict
    assert at_most(2 / 3, tolerant=False)(Interval(0.7, 0.7, 0.7, 3), PARAMS)[0] == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.9, 0.99, SUPPORTED), (0.5, 0.8, NOT_SUPPORTED), (0.8, 0.95, NOISE)]
)
def test_least_values(low: float, high: float, verdict: str) -> None:
    assert at_least(0.9)(Interval((low + high) / 2, low, high, 3), PARAMS)[0] == verdict


def test_one_run_alone_proves_nothing() -> None:
    assert gains()(Interval(5.0, None, None, 1), PARAMS)[0] == NOISE


# ------------------------------------------------------------------------------------------------------ accuracy claims
@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.92, 0.93, 0.94], [0.90, 0.91, 0.92], SUPPORTED),  # 2 points each
        ([0.911, 0.921, 0.931], [0.90, 0.91, 0.92], NOT_SUPPORTED),  # 1.1 points each: less than the 1.5 claimed
        ([0.90, 0.91, 0.92], [0.92, 0.93, 0.94], NOT_SUPPORTED),
        ([0.92, 0.90, 0.94], [0.90, 0.92, 0.91], NOISE),
    ],
)
def test_the_cifar_gain(tree: Any, ours: list[float], theirs: list[float], verdict: str) -> None:
    tree.top1("bars-b", ours)
    tree.top1("resnet34-xnor", theirs)
    row = judged(tree, "cifar-gain")
    assert row["verdict"] == verdict
    assert row["value"] == pytest.approx(100 * (sum(ours) - sum(theirs)) / 3)
    assert (row["n"], row["paired"], row["scale"], row["data_set"]) == (3, True, "tiny", "cifar10")
    assert row["printed"] == "+1.49 points"


def test_a_search_is_held_against_random_architectures_that_seeds_do_not_pair(tree: Any) -> None:
    tree.top1("bars-a", [0.90, 0.91, 0.92])
    tree.top1("random-a", [0.80, 0.90, 0.85])
    row = judged(tree, "better-than-random-a")
    expected = stats.difference({0: 90.0, 1: 91.0, 2: 92.0}, {7: 80.0, 8: 90.0, 9: 85.0}, 0.95)
    assert expected is not None
    assert (row["paired"], row["verdict"]) == (False, NOISE)
    assert (row["low"], row["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_chance_is_beaten_on_average_over_budgets_by_seed(tree: Any) -> None:
    """Means over budgets by seed: 92, 92, 95 against 90, 90, 91; so that what one budget lacks another may have."""
    for name, ours, random in (
        ("bars-a", [0.91, 0.93, 0.94], [0.92, 0.88, 0.90]),
        ("bars-b", [0.92, 0.91, 0.95], [0.90, 0.90, 0.92]),
        ("bars-c", [0.93, 0.92, 0.96], [0.88, 0.92, 0.91]),
    ):
        tree.top1(name, ours)
        tree.top1(CHANCE[name], random)
    row = judged(tree, "better-than-random-cifar")
    error = (3 / 3 + 1 / 9) ** 0.5  # variances 3 and 1/3, each over 3 seeds
    degrees = (1 + 1 / 9) ** 2 / (1 / 2 + 1 / 162)
    half = stats.t_quantile(0.95, degrees) * error
    assert (row["value"], row["n"], row["paired"]) == (pytest.approx(93 - 271 / 3), 3, False)
    assert (row["low"], row["high"]) == (pytest.approx(row["value"] - half), pytest.approx(row["value"] + half))
    assert row["verdict"] == NOISE
    assert "the searched networks have 1.00 times as many FLOPs and 1.00 times as many BiOps" in row["why"]
    for seed, top1 in enumerate((0.93, 0.92, 0.96)):
        tree.metrics("bars-c", seed, top1=top1, counts=(40, 1000, 10))
    for seed, top1 in enumerate((0.88, 0.92, 0.91)):
        tree.metrics("random-c", seed, top1=top1, counts=(10, 1000, 10))
    assert "have 2.00 times as many FLOPs" in judged(tree, "better-than-random-cifar")["why"]  # 1, 1 and 4
    tree.top1("random-c", [0.80, 0.84, 0.83])
    assert judged(tree, "better-than-random-cifar")["verdict"] == SUPPORTED


def test_architectures_that_match_those_of_the_same_seed_are_paired_with_them(tree: Any) -> None:
    for name, ours, matched in (
        ("bars-d", [0.50, 0.60, 0.70], [0.48, 0.58, 0.66]),
        ("bars-e", [0.60, 0.70, 0.80], [0.58, 0.68, 0.78]),
    ):
        tree.top1(name, ours)
        tree.top1(MATCHED[name], matched)
    expected = stats.interval([2.0, 2.0, 3.0], 0.95, paired=True)  # of both: 2, 2, 4 and 2, 2, 2
    row = judged(tree, "better-than-matched-imagenet")
    assert (row["verdict"], row["n"], row["paired"]) == (SUPPORTED, 3, True)
    assert (row["value"], row["low"]) == (pytest.approx(expected.mean), pytest.approx(expected.low))
    assert judged(tree, "better-than-matched-d")["paired"]


def test_a_mean_over_budgets_needs_all_of_them(tree: Any) -> None:
    tree.top1("bars-d", [0.5, 0.6])
    tree.top1("bars-e", [0.5, 0.6])
    tree.top1("random-d", [0.4, 0.5])
    row = judged(tree, "better-than-random-imagenet")
    assert (row["verdict"], row["why"]) == (NOT_TESTED, "random-e: no result yet (seeds 0, 1, 2)")


def test_the_interval_is_students(tree: Any) -> None:
    tree.top1("bars-b", [0.92, 0.93, 0.96])
    tree.top1("resnet34-xnor", [0.90, 0.90, 0.90])
    row = judged(tree, "cifar-gain")
    half = 4.30265 * (13 / 3) ** 0.5 / 3**0.5  # gains 2, 3, 6: mean 11/3, variance 13/3
    assert (row["low"], row["high"]) == (pytest.approx(11 / 3 - half, abs=1e-3), pytest.approx(11 / 3 + half, abs=1e-3))


def test_too_few_seeds_are_not_tested(tree: Any) -> None:
    tree.top1("bars-b", [0.99])
    tree.top1("resnet34-xnor", [0.5])
    row = judged(tree, "cifar-gain")
    assert row["verdict"] == NOT_TESTED
    assert "1 of the 2 seeds needed" in row["why"]
    assert "bars-b: incomplete: no result of seeds 1, 2" in row["why"]
    assert row["value"] == pytest.approx(49.0)


def test_the_settings_of_claims_act(tree: Any) -> None:
    """A lower confidence narrows the interval; more seeds needed leave the claim untested."""
    tree.top1("bars-b", [0.92, 0.93, 0.96])
    tree.top1("resnet34-xnor", [0.90, 0.90, 0.90])
    sure = judged(tree, "cifar-gain")
    for changes in ({"confidence": 0.5}, {"min_seeds": 4}):
        report = tree.params.report
        claims_ = report.claims.model_copy(update=changes)
        tree.params = replace(tree.params, report=report.model_copy(update={"claims": claims_}))
        row = judged(tree, "cifar-gain")
        if "confidence" in changes:
            assert sure["low"] < row["low"] < row["high"] < sure["high"]
        else:
            assert sure["verdict"] != NOT_TESTED == row["verdict"]


def test_missing_runs_and_untestable_claims_say_why(tree: Any) -> None:
    assert judged(tree, "cifar-gain")["why"] == "bars-b: no result yet (seeds 0, 1, 2)"
    assert judged(tree, "depthwise")["verdict"] == NOT_TESTED
    assert all(claim.why_not for claim in claims() if claim.measure is None)


def test_shares_of_counts(tree: Any) -> None:
    for seed in range(3):
        tree.metrics("bars-b", seed, counts=(10, 700, 30))
        tree.metrics("resnet34-xnor", seed, counts=(200, 1000, 100))
    assert judged(tree, "cifar-biops")["verdict"] == SUPPORTED  # 0.70 <= 2/3 * 1.1
    assert judged(tree, "cifar-flops")["verdict"] == SUPPORTED
    row = judged(tree, "cifar-params")
    assert (row["verdict"], row["value"], row["printed"]) == (NOT_SUPPORTED, pytest.approx(0.3), "0.28")


def test_every_baseline_must_be_beaten_by_a_cheaper_network(tree: Any) -> None:
    for seed in range(3):
        tree.metrics("bars-a", seed, top1=0.90 + 0.001 * seed, counts=(0, 640, 1))
        tree.metrics("resnet18-xnor", seed, top1=0.85 + 0.001 * seed, counts=(0, 6400, 1))
    row = judged(tree, "cifar-all-baselines")
    assert (row["verdict"], row["why"]) == (SUPPORTED, "beaten: resnet18-xnor")
    for seed, top1 in enumerate((0.89, 0.91, 0.90)):
        tree.metrics("nin-xnor", seed, top1=top1, counts=(0, 6400, 1))
    row = judged(tree, "cifar-all-baselines")
    assert (row["verdict"], row["why"]) == (NOISE, "beaten: resnet18-xnor; within noise: nin-xnor")
    tree.top1("wrn40-xnor", [0.5] * 3, counts=(0, 64, 1))  # worse, but no BARS network is cheaper
    row = judged(tree, "cifar-all-baselines")
    assert row["verdict"] == NOT_SUPPORTED
    assert row["why"].endswith("not beaten: wrn40-xnor")
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_fully_binarised_is_a_property_of_every_run(tree: Any) -> None:
    tree.top1("bars-a", [0.9, 0.9, 0.9])
    assert judged(tree, "fully-binarised")["verdict"] == SUPPORTED
    tree.metrics("bars-c", 0, fully_binarized=False)
    row = judged(tree, "fully-binarised")
    assert (row["verdict"], row["value"]) == (NOISE, 0.75)


# ------------------------------------------------------------------------------------------------------ test images
def write_predictions(tree: Any, gain: float, images: int = 2000) -> None:
    """BARS-B and ResNet-34 at 80 % and less, over the same images and three seeds."""
    for seed in range(3):
        draws = np.random.default_rng(seed).random(images)
        tree.predictions("bars-b", seed, draws < 0.8)
        tree.predictions("resnet34-xnor", seed, draws < 0.8 - gain)


def test_a_gain_is_also_judged_over_test_images(tree: Any) -> None:
    write_predictions(tree, 0.05)
    row = judged(tree, "cifar-gain")
    assert (row["verdict"], row["images_verdict"], row["n_images"]) == (SUPPORTED, SUPPORTED, 2000)
    assert row["images_low"] < row["value"] < row["images_high"]
    assert row["detectable"] == pytest.approx(row["high"] - row["value"], rel=0.5)


def test_a_gain_without_recorded_predictions_says_so(tree: Any) -> None:
    write_predictions(tree, 0.05)
    tree.path("bars-b", "evaluate", "predictions.parquet", 1).unlink()
    row = judged(tree, "cifar-gain")
    assert (row["verdict"], row["images_verdict"], row["n_images"]) == (SUPPORTED, None, None)
    assert "not recorded" in row["why"]


def test_predictions_of_another_evaluation_are_refused(tree: Any) -> None:
    write_predictions(tree, 0.05)
    tree.metrics("bars-b", 1, top1=0.5, n_examples=2000)
    with pytest.raises(RecordError, match=r"(?s)bars-b, seed 1.*1000 of 2000"):
        judged(tree, "cifar-gain")


def test_the_notes_count_what_chance_would_support(tree: Any, tmp_path: Path) -> None:
    write_predictions(tree, 0.05)
    text = write_table("claims", tree.params, None, tree.folder, tmp_path)[2].read_text()
    assert "By chance: 1 claims were judged by an interval with a spread, 1 of them supported." in text
    assert "2.5% of them, 0.0 on average" in text
    assert "2 seeds 11.5, 3 seeds 3.3, 5 seeds 1.7, 10 seeds 1.0" in text  # tables of the noncentral t


def test_the_notes_say_beforehand_what_so_many_seeds_will_show(tree: Any) -> None:
    """By the noncentral t as scipy.stats has it, of networks whose claims need not have been tested yet."""
    tree.top1("bars-b", [0.80, 0.82, 0.84])
    tree.top1("without-entropy-reg", [0.7, 0.7, 0.7])
    notes = [note for note in make_table("claims", tree.params, None, tree.folder).notes if "Beforehand" in note]
    spread = 2 * math.sqrt(2 / 4)  # 2 points in one of two groups of two degrees of freedom
    limit = nct_distance(2) / math.sqrt(3) * math.sqrt(2) * spread
    assert len(notes) == 1 and "CIFAR-10" in notes[0]
    assert f"{spread:.2f} points (4 degrees of freedom" in notes[0]
    assert f"3 seeds {limit:.1f}, " in notes[0] and limit == pytest.approx(6.5, abs=0.1)


def nct_distance(degrees: int) -> float:
    """Standard errors at which a two-sided test of 5 % finds a difference in 80 % of studies."""
    from scipy import optimize, stats

    critical = stats.t.ppf(0.975, degrees)
    return float(optimize.brentq(lambda far: stats.nct.sf(critical, degrees, far) - 0.8, 0.1, 50))


@pytest.mark.parametrize("top1", [[0.8], [0.8, 0.8, 0.8]])
def test_without_a_spread_nothing_is_said_beforehand(tree: Any, top1: list[float]) -> None:
    tree.top1("bars-b", top1)
    assert not any("Beforehand" in note for note in make_table("claims", tree.params, None, tree.folder).notes)


def test_claims_are_sentences() -> None:
    for claim in claims():
        assert re.fullmatch(r"[A-Z].{20,110}\.", claim.claim), claim.claim
        assert not re.match(r"(It|They|This|That|And|With) ", claim.claim), claim.claim


# ------------------------------------------------------------------------------------------------------ Figure 3
def test_fronts_are_compared_at_equal_cost() -> None:
    searched = [(30.0, 93.0), (10.0, 91.0)]
    assert pareto_gaps(searched, [(20.0, 91.5)]) == [pytest.approx(0.5)]  # the line passes 92 at cost 20
    assert pareto_gaps(searched, [(5.0, 80.0), (31.0, 80.0)]) == []
    assert pareto_gaps(searched, [(10.0, 90.0), (30.0, 94.0)]) == [pytest.approx(1.0), pytest.approx(-1.0)]


def test_the_capacity_search_claim(tree: Any) -> None:
    points = {
        "bars-a": 1,
        "bars-b": 2,
        "bars-c": 4,
        "compact": 1,
        "compact-x1.25": 2,
        "compact-x1.5": 3,
        "compact-x2": 9,
    }
    for seed in range(3):
        for name, cost in points.items():
            top1 = 0.80 + 0.01 * cost + 0.001 * seed - (0.02 if name.startswith("compact") else 0.0)
            tree.metrics(name, seed, top1=top1, counts=(0, 64 * cost, 1))
    row = judged(tree, "capacity-search")
    assert (row["verdict"], row["value"], row["n"]) == (SUPPORTED, pytest.approx(2.0), 3)


# ------------------------------------------------------------------------------------------------------ the search
@pytest.mark.parametrize(("failed", "verdict"), [(3, SUPPORTED), (1, NOISE), (0, NOT_SUPPORTED)])
def test_the_search_without_gumbel_softmax(tree: Any, failed: int, verdict: str) -> None:
    for seed in range(3):
        tree.metrics("without-gumbel-softmax", seed, search_status="diverged" if seed < failed else "completed")
    row = judged(tree, "ablation-without-gumbel-softmax")
    assert row["verdict"] == verdict
    assert row["value"] == pytest.approx(failed / 3)


def write_alphas(tree: Any, name: str, end: float, wobble: float = 0.01) -> None:
    """The shortcut's probability runs from a third to ``end``; the others share the rest."""
    for seed in range(3):
        final = end + wobble * (seed - 1)

        def probs(share: float, edge: int, final: float = final) -> dict[str, float]:
            shortcut = (1 - share) / 3 + share * final
            return {CONV3: (1 - shortcut) / 2, SHORTCUT: shortcut, "none": (1 - shortcut) / 2}

        tree.alphas(name, seed, probs)


@pytest.mark.parametrize(
    ("ours", "collapsed", "verdict"), [(0.3, 0.97, SUPPORTED), (0.9, 0.5, NOT_SUPPORTED), (0.5, 0.5, NOISE)]
)
def test_collapse_is_seen_in_the_final_shortcut_probability(
    tree: Any, ours: float, collapsed: float, verdict: str
) -> None:
    write_alphas(tree, "bars-b", ours)
    write_alphas(tree, "collapsed-search", collapsed)
    row = judged(tree, "collapse-prevented")
    assert row["value"] == pytest.approx(collapsed - ours)
    assert row["verdict"] == verdict


@pytest.mark.parametrize(("binary", "floats", "verdict"), [(0.97, 0.3, SUPPORTED), (0.3, 0.97, NOT_SUPPORTED)])
def test_a_collapse_in_floats_is_compared_with(tree: Any, binary: float, floats: float, verdict: str) -> None:
    write_alphas(tree, "collapsed-search", binary)
    assert judged(tree, "harder-collapse")["why"].startswith("collapsed-search-in-floats: no result yet")
    write_alphas(tree, "collapsed-search-in-floats", floats)
    row = judged(tree, "harder-collapse")
    assert (row["value"], row["verdict"]) == (pytest.approx(binary - floats), verdict)


def test_confidence_is_measured_on_the_last_epoch(tree: Any) -> None:
    write_alphas(tree, "bars-b", 0.97)
    row = judged(tree, "one-hot")
    assert (row["value"], row["verdict"]) == (pytest.approx(0.97), SUPPORTED)
    assert judged(tree, "late-confidence")["verdict"] == SUPPORTED
    write_alphas(tree, "bars-b", 0.91)  # three seeds 0.01 apart: 0.91 ± 0.025
    assert judged(tree, "one-hot")["verdict"] == NOISE
    write_alphas(tree, "bars-b", 0.5)
    assert judged(tree, "one-hot")["verdict"] == NOT_SUPPORTED


def test_the_derive_gap_is_supernet_minus_chosen_candidate(tree: Any) -> None:
    for name, derived in (("bars-b", 0.70), ("collapsed-search", 0.50)):
        for seed in range(3):
            tree.epochs(name, seed, 0.80 + 0.01 * seed)
            tree.candidates(name, seed, derived + 0.01 * seed)
    row = judged(tree, "derive-gap")
    assert row["value"] == pytest.approx(20.0)  # 30 points lost against 10
    assert row["verdict"] == SUPPORTED


# ------------------------------------------------------------------------------------------------------ cells
def test_claims_about_cells(tree: Any) -> None:
    def early_convolutions(cell: str, source: int, target: int) -> str:
        return CONV3 if cell == "normal-1" else SHORTCUT if cell == "normal-3" and source else CONV3

    for seed in range(3):
        tree.metrics("bars-b", seed)
        tree.genotype("bars-b", seed, early_convolutions)
        tree.genotype("failed-search", seed, lambda *edge: SHORTCUT)
        tree.metrics("failed-search", seed)
    assert judged(tree, "cells-not-collapsed")["verdict"] == SUPPORTED
    assert judged(tree, "failed-cells-collapsed")["verdict"] == SUPPORTED
    row = judged(tree, "convolutions-early")
    assert (row["value"], row["verdict"]) == (6.0, SUPPORTED)  # 10 convolutions against 4
    assert judged(tree, "shortcuts-late")["value"] == 6.0
    tree.genotype("bars-b", 1, lambda *edge: SHORTCUT)
    assert judged(tree, "cells-not-collapsed")["verdict"] == NOISE
    for seed in range(3):
        tree.genotype("bars-b", seed, lambda cell, *edge: CONV3 if cell == "normal-3" else SHORTCUT)
    assert judged(tree, "convolutions-early")["verdict"] == NOT_SUPPORTED
    assert judged(tree, "cells-not-collapsed")["verdict"] == NOT_SUPPORTED


def test_claims_about_cells_are_about_those_that_the_network_has(tree: Any) -> None:
    def wild_where_unused(cell: str, source: int, target: int) -> str:
        return {"normal-1": CONV3, "normal-2": SHORTCUT}.get(cell, CONV3 if source else SHORTCUT)

    for seed in range(3):
        tree.metrics("bars-b", seed)
        tree.genotype("bars-b", seed, wild_where_unused, depth=(1, 0, 2))
        tree.metrics("failed-search", seed)
        tree.genotype("failed-search", seed, lambda *edge: SHORTCUT, depth=0)
    assert judged(tree, "cells-not-collapsed")["verdict"] == SUPPORTED  # normal-2 is of shortcuts, and no part
    assert judged(tree, "convolutions-early")["value"] == 4.0  # 10 convolutions in the one cell, 6 in each of the two
    assert judged(tree, "failed-cells-collapsed")["value"] == 0.0  # no normal cell is not a cell of shortcuts
    tree.genotype("bars-b", 0, wild_where_unused, depth=(1, 1, 0))
    assert judged(tree, "convolutions-early")["n"] == 2
    assert judged(tree, "cells-not-collapsed")["verdict"] == NOISE


def test_kernel_sizes_are_counted_over_all_cells(tree: Any) -> None:
    for seed in range(3):
        tree.genotype("failed-search-stabilised", seed, lambda cell, source, target: CONV5 if source else CONV3)
    row = judged(tree, "bigger-kernels")
    assert (row["value"], row["verdict"]) == (4.0, SUPPORTED)  # (6 - 4) in two cell types


# ------------------------------------------------------------------------------------------------------ the whole table
def test_claims_are_many_distinct_and_located() -> None:
    assert len({claim.id for claim in claims()}) == len(claims()) >= 40
    text = " ".join(claim.where for claim in claims())
    assert all(
        place in text for place in ("Abstract", "Sec. 1", "Sec. 5.1", "Sec. 5.2", "Sec. 5.3", "Sec. 5.4", "caption")
    )


def test_the_written_table_judges_every_claim(whole: Any, tmp_path: Path) -> None:
    paths = write_table("claims", whole.params, None, whole.folder, tmp_path)
    assert [path.name for path in paths] == ["claims.csv", "claims.html", "claims.md"]
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert [row["id"] for row in rows] == [claim.id for claim in claims()]
    assert {row["verdict"] for row in rows} <= set(VERDICTS)
    assert sum(row["verdict"] == NOT_TESTED for row in rows) == sum(claim.measure is None for claim in claims())
    assert all(row["scale"] == "tiny" for row in rows)


def test_claims_of_an_empty_tree_are_all_untested(tree: Any, tmp_path: Path) -> None:
    paths = write_table("claims", tree.params, None, tree.folder, tmp_path)
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert {row["verdict"] for row in rows} == {NOT_TESTED}
    assert all(row["why"] for row in rows)


def test_ratio_tolerance_widens_a_claimed_ratio() -> None:
    value, rule = Interval(1.15, 1.12, 1.18, 3), at_most(1.0)
    assert [rule(value, block(ClaimsParams, ratio_tolerance=t))[0] for t in (0.05, 0.15, 0.2)] == [
        NOT_SUPPORTED,
        NOISE,
        SUPPORTED,
    ]
