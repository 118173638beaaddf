"""The audit finds what is known to be wrong in the paper, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from bars.cost import genotype_cost, uniform_genotype
from bars.models.baselines import build
from bars.models.counting import count_model
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.records import read_genotype
from bars.report.paper import numbers, row2, table2
from bars.report.tables.audit import (
    AGREES,
    DIFFERS,
    FLOOR,
    RECONSTRUCTED,
    UNKNOWN,
    VERDICTS,
    Finding,
    built_counts,
    findings,
    table,
)
from bars.space import SearchSpace


@pytest.fixture(scope="module")
def by_id() -> dict[str, Finding]:
    return {finding.row()["id"]: finding for finding in findings()}


def test_every_printed_number_is_audited_once_or_more(by_id: dict[str, Finding]) -> None:
    assert {number.id for number in numbers()} == {finding.number.id for finding in by_id.values()}
    assert len(by_id) == len(findings())
    assert {finding.verdict for finding in by_id.values()} == set(VERDICTS)


def test_equivalent_ops_are_recomputed_both_ways(by_id: dict[str, Finding]) -> None:
    thirty_two = {r.experiment: by_id[f"table2/{r.experiment}/equivalent_ops/32"] for r in table2() if r.flops != "-"}
    assert len(thirty_two) == 19
    misfits = {name for name, finding in thirty_two.items() if finding.verdict == DIFFERS}
    assert misfits == {"nin-xnor", "bars-c", "bars-d", "bars-e"}
    sixty_four = [finding for key, finding in by_id.items() if key.endswith("equivalent_ops/64")]
    assert len(sixty_four) == 19
    assert all(finding.verdict == DIFFERS for finding in sixty_four)
    assert thirty_two["bars-d"].recomputed == 129 + 1499 / 32
    assert thirty_two["imagenet-resnet18-xnor-fp"].verdict == FLOOR  # 278.156, printed 278.1


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        ("table1/bars-b/top1", DIFFERS),
        ("table1/without-gumbel-softmax/top1", UNKNOWN),
        ("table2/resnet18-xnor/flops", AGREES),
        ("table2/resnet18-xnor/biops", FLOOR),
        ("table2/resnet34-xnor/flops", DIFFERS),
        ("table2/resnet34-xnor/params", DIFFERS),
        ("table2/imagenet-resnet18-xnor/params", DIFFERS),
        ("table2/imagenet-resnet18-xnor/params/without-stem-and-classifier", AGREES),
        ("table2/bars-a/params", UNKNOWN),
        ("table2/bars-a/top1", UNKNOWN),
        ("text/abstract/cifar-gain/resnet34-xnor", AGREES),
        ("text/abstract/cifar-biops/resnet34-xnor", DIFFERS),
        ("text/5.1/cifar-params/resnet34-xnor", DIFFERS),
        ("text/5.1/imagenet-gain/imagenet-resnet18-xnor-fp", AGREES),
        ("text/5.1/imagenet-gain/imagenet-resnet18-pcnn", DIFFERS),
        ("text/5.1/with-fp", AGREES),
        ("text/table2/divisor", DIFFERS),
        ("text/4.1.1/depths", AGREES),
        ("text/4.3/samples", UNKNOWN),
    ],
)
def test_known_verdicts(by_id: dict[str, Finding], key: str, verdict: str) -> None:
    assert by_id[key].verdict == verdict


def test_what_cannot_be_recomputed_has_no_value_and_a_reason(by_id: dict[str, Finding]) -> None:
    for finding in by_id.values():
        assert (finding.recomputed is None) == (finding.verdict == UNKNOWN)
        assert finding.note or finding.verdict != UNKNOWN


def test_built_counts_are_of_printed_baselines() -> None:
    counts = built_counts()
    mains = {experiment for experiment, variant in counts if not variant}
    assert mains == {row.experiment for row in table2() if not row.ours}
    assert counts["resnet18-xnor", ""] == {"flops": 16.132096, "biops": 1094.713344, "params": 11.173066}


def test_built_counts_are_those_of_the_built_networks() -> None:
    grid = Grid(load_params(Path(__file__).parents[2] / "params.yaml"), "paper")
    sizes = {"cifar10": (32, 10), "imagenet": (224, 1000)}
    for (name, variant), counts in built_counts().items():
        if variant:
            continue
        experiment = grid[name]
        size, classes = sizes[experiment.slot]
        params = experiment.model.model_copy(update={"width": 1.0})
        with torch.device("meta"):
            network = build(params, classes, size, experiment.slot, experiment.binarize)
        cost, uncounted = count_model(network, (1, 3, size, size))
        assert not uncounted
        assert {key: value / 1e6 for key, value in cost._asdict().items()} == counts, name


@pytest.mark.parametrize("name", RECONSTRUCTED)
def test_reconstructed_architectures_have_the_printed_counts(name: str) -> None:
    root = Path(__file__).parents[2]
    experiment = Grid(load_params(root / "params.yaml"), "paper")[f"{name}-printed"]
    genotype = read_genotype(root / "genotypes" / f"{name}-printed.json")
    cost = genotype_cost(experiment.space, genotype, 32, 10)
    for column, value in cost._asdict().items():
        assert row2(name).number(column).agrees(value / 1e6) in (AGREES, FLOOR), column


@pytest.mark.parametrize("name", [f"bars-{letter}" for letter in "abcde"])
def test_the_spaces_of_the_paper_scale_hold_networks_of_the_printed_counts(name: str) -> None:
    experiment = Grid(load_params(Path(__file__).parents[2] / "params.yaml"), "paper")[name]
    space = SearchSpace.from_params(experiment.space)
    sizes = {"cifar10": (32, 10), "imagenet": (224, 1000)}[experiment.slot]
    ends = [("none", 0, space.width_choices[0]), ("binary_conv_3x3", space.cells_per_stage, 1.0)]
    least, most = (genotype_cost(experiment.space, uniform_genotype(space, *end), *sizes)._asdict() for end in ends)
    for column in least:
        printed = 1e6 * row2(name).number(column).value
        assert least[column] < printed < most[column], column


def test_the_caption_counts_the_verdicts(by_id: dict[str, Finding]) -> None:
    made = table()
    for verdict, count in Counter(finding.verdict for finding in by_id.values()).items():
        assert f"{verdict}: {count}" in made.caption
    assert made.markdown().count("\n| table") == sum(key.startswith("table") for key in by_id)
