"""The search as a procedure, on random images: what each option changes, and that it continues bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from bars.cost import genotype_cost, max_biops, uniform_genotype
from bars.errors import BudgetError
from bars.models.cell_conv import CellConv2d
from bars.params import BinarizeParams, Budget, DeriveParams, Ramp, RetrainParams, RuntimeParams, SearchParams
from bars.space import Genotype, SearchSpace
from bars.stages.derive import Draw, Window, derive, draw_within, random_candidate
from bars.stages.retrain import learning_rate
from bars.stages.search import Search, SearchResult
from bars.strategy.capacity import Capacity
from bars.strategy.objective import AlphaGradient
from bars.training.checkpoint import NoCheckpoint
from bars.training.progress import Silent
from tests.architectures import space_params
from tests.blocks import block, search_params


class Images:
    """Sixteen fixed random images as a Part."""

    size, image_size, num_classes, name = 16, 8, 4, "noise"

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(16, 3, 8, 8, generator=generator)
        self.labels = torch.randint(0, 4, (16,), generator=generator)

    def steps(self, batch_size: int, drop_last: bool) -> int:
        return self.size // batch_size

    def batches(self, batch_size: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.size, batch_size):
            yield self.images[start : start + batch_size], self.labels[start : start + batch_size]


SPACE = space_params(stages=2, cells_per_stage=1, nodes=2, init_channels=4)
BINARIZE, CPU = block(BinarizeParams), block(RuntimeParams, device="cpu")


def params(**changes: Any) -> SearchParams:
    return search_params(**({"budget": Budget(biops=max_biops(SPACE, 8) // 4)} | changes))


def run(checkpoint: Any = None, seed: int = 0, **changes: Any) -> SearchResult:
    parts: tuple[Any, Any] = (Images(0), Images(1))
    running = Search(SPACE, BINARIZE, params(**changes), CPU, *parts, seed)
    return running.run(checkpoint or NoCheckpoint(), Silent())


class Memory:
    """A checkpoint that forgets what is saved after ``keep`` epochs, as if the process had been killed then."""

    def __init__(self, keep: int) -> None:
        self.keep, self.saved, self.state = keep, 0, None

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.saved += 1
        if self.saved > self.keep:
            raise KeyboardInterrupt
        import copy

        self.state = copy.deepcopy(state)


@pytest.mark.parametrize(
    "changes", [{"sampling": "gumbel"}, {"sampling": "softmax"}, {"sampling": "hard"}, {"operations": "float"}]
)
def test_a_continued_search_equals_an_unbroken_one(changes: dict[str, Any]) -> None:
    whole = run(**changes)
    memory = Memory(keep=2)
    with pytest.raises(KeyboardInterrupt):
        run(memory, **changes)
    memory.keep = 10
    continued = run(memory, **changes)
    assert continued.epochs == whole.epochs and continued.alphas == whole.alphas
    assert continued.distribution == whole.distribution
    assert all(torch.equal(whole.state[k], v) for k, v in continued.state.items())


def test_seeds_differ_and_repeat() -> None:
    assert run(seed=0).distribution == run(seed=0).distribution != run(seed=1).distribution


BASE = run()


OPTIONS: list[dict[str, Any]] = [
    {"operations": "float"},
    {"sampling": "softmax"},
    {"sampling": "hard"},
    {"straight_through": ()},
    {"straight_through": ("op", "depth")},
    {"straight_through": ("depth", "width")},
    {"temperature": Ramp(start=9.0, end=0.5, shape="exponential")},
    {"temperature": Ramp(start=2.0, end=0.5, shape="linear")},
    {"entropy_weight": Ramp(start=0.0, end=0.0, shape="constant")},
    {"budget": Budget(biops=max_biops(SPACE, 8) // 10)},
    {"capacity": "cap"},
    {"capacity": "none"},
    {"capacity_exponent": 0.1},
    {"capacity_rate": 0.0},
    {"weight_optimizer": "adam"},
    {"weight_sampling": "uniform"},
    {"width_mask": "feature"},
    {"weight_lr": 0.2},
    {"weight_lr_end": 0.04},
    {"weight_momentum": 0.0},
    {"weight_decay": 0.1},
    {"grad_clip": 0.01},
    {"alpha_lr": 0.1},
    {"alpha_betas": (0.9, 0.999)},
    {"alpha_weight_decay": 0.5},
    {"alpha_init_std": 0.5},
    {"alpha_start": "budget"},
    {"alpha_every": 2},
    {"batch_size": 4},
    {"warmup_epochs": 2},
    {"epochs": 4},
]


@pytest.mark.parametrize("changes", OPTIONS, ids=lambda c: ",".join(c))
def test_every_option_of_the_search_acts(changes: dict[str, Any]) -> None:
    assert run(**changes).distribution["op"] != BASE.distribution["op"]


def test_no_option_of_the_search_is_left_out() -> None:
    """``health`` has its tests in tests/strategy, ``may_fail`` in tests/commands/test_long_runs.py."""
    assert {key for changes in OPTIONS for key in changes} | {"health", "may_fail"} == set(SearchParams.model_fields)


def test_the_printed_reading_does_nothing_above_the_budget() -> None:
    tight: dict[str, Any] = {"budget": Budget(biops=max_biops(SPACE, 8) // 10)}
    logits = {reading: run(**tight, capacity=reading).distribution["op"] for reading in ("printed", "none", "target")}
    assert logits["printed"] == logits["none"] != logits["target"]


@pytest.mark.parametrize(
    "changes",
    [{"weight_scale": "channel"}, {"activation_clip": 0.5}, {"weight_clip": 0.03}, {"weight_gradient": "unscaled"}],
)
def test_every_option_of_binarisation_acts(changes: dict[str, Any]) -> None:
    parts: tuple[Any, Any] = (Images(0), Images(1))
    running = Search(SPACE, BINARIZE.model_copy(update=changes), params(), CPU, *parts, 0)
    result = running.run(NoCheckpoint(), Silent())
    assert result.distribution["op"] != BASE.distribution["op"]


def test_alphas_rest_during_warm_up_and_are_all_moved_after_it() -> None:
    by_epoch: dict[int, list[float]] = {}
    for row in BASE.alphas:
        by_epoch.setdefault(row.epoch, []).append(row.logit)
    assert by_epoch[0] == by_epoch[1]
    assert all(a != b for a, b in zip(by_epoch[1], by_epoch[2], strict=True))
    assert all(abs(sum(p.prob for p in BASE.alphas[i : i + 3]) - 1) < 1e-12 for i in range(0, 9, 3))


def test_no_batch_is_fetched_to_be_thrown_away() -> None:
    """Of valid: one batch to score in a warm epoch, and one per alpha step after it."""
    fetched: list[int] = []

    class Counted(Images):
        def batches(self, batch_size: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in super().batches(batch_size, **options):
                fetched.append(options["epoch"])
                yield batch

    parts: tuple[Any, Any] = (Images(0), Counted(1))
    Search(SPACE, BINARIZE, params(), CPU, *parts, 0).run(NoCheckpoint(), Silent())
    assert fetched == [0, 1, 1, 2, 2]  # epochs of two steps, the first one warm


@pytest.mark.parametrize("one_hot", [(), ("depth",), ("op", "depth", "width")])
def test_the_alpha_gradient_is_that_of_the_whole_objective(one_hot: tuple[str, ...]) -> None:
    """The step splits the chain rule at the sample; one backward pass through everything must give the same."""
    parts: tuple[Any, Any] = (Images(0), Images(1))
    tight = params(budget=Budget(biops=max_biops(SPACE, 8) // 10), alpha_weight_decay=0.0, straight_through=one_hot)
    state = Search(SPACE, BINARIZE, tight, CPU, *parts, 0)
    images, labels = parts[1].images[:8], parts[1].labels[:8]
    sample = state.distribution.sample("gumbel", 1.0, torch.Generator().manual_seed(3), one_hot).whole()
    loss = torch.nn.functional.cross_entropy(state.model(images, sample), labels)
    biops = state.expected_biops(*state.distribution.probs())
    violation = float((biops / state.objective.budget_biops).log().detach())
    theta = Capacity(tight).theta(violation)
    factor = (biops / state.objective.budget_biops) ** theta
    total = loss.double() * factor + 0.3 * state.distribution.entropy()
    assert theta > 0.1
    wanted = torch.autograd.grad(total, list(state.distribution.parameters()))
    seen: list[Tensor] = []
    state.alpha_optimizer.step = lambda: seen.extend(p.grad.clone() for p in state.distribution.parameters())  # type: ignore
    parts_of_it = AlphaGradient(state.distribution.alphas())
    state._alpha_step(images, labels, 1.0, 0.3, torch.Generator().manual_seed(3), parts_of_it)
    assert all(norm > 0 for norm in parts_of_it.norms().values())
    for got, expected in zip(seen, wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sampling", ["gumbel", "hard"])
def test_a_step_on_the_alphas_computes_no_weight_gradients(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: tuple[Any, Any] = (Images(0), Images(1))
    state = Search(SPACE, BINARIZE, params(sampling=sampling), CPU, *parts, 0)
    asked: list[bool] = []
    whole = CellConv2d.gradients

    def gradients(self: CellConv2d, grad: Tensor, x: Tensor, weight: Tensor, needs_weight: bool) -> Any:
        asked.append(needs_weight)
        return whole(self, grad, x, weight, needs_weight)

    monkeypatch.setattr(CellConv2d, "gradients", gradients)
    images, labels, noise = parts[1].images[:8], parts[1].labels[:8], torch.Generator().manual_seed(3)
    state._alpha_step(images, labels, 1.0, 0.3, noise, AlphaGradient(state.distribution.alphas()))
    assert asked
    assert not any(asked)
    asked.clear()
    state._weight_step(images, labels, 1.0, noise)
    assert asked
    assert all(asked)


def derived(budget: int, **options: Any) -> Any:
    valid: Any = Images(1)
    given = {"samples": 5, "batch_size": 8, "budget_tolerance": 0.2, "max_draws": 2000}
    chosen = block(DeriveParams, **(given | options))
    found = BASE.distribution, BASE.state
    return derive(SPACE, BINARIZE, chosen, CPU, budget, valid, *found, 0)


BUDGET = max_biops(SPACE, 8) // 4


def test_derive_keeps_the_lowest_validation_loss() -> None:
    found = {method: derived(BUDGET, method=method) for method in ("sample", "argmax")}
    for result in found.values():
        assert len(result.candidates) == 6 and sum(row["chosen"] for row in result.candidates) == 1
    drawn = found["sample"].candidates[:5]
    best = min(drawn, key=lambda row: row["valid_loss"])
    assert best["chosen"] and best["genotype_sha256"] == found["sample"].genotype.sha256
    assert found["argmax"].candidates[-1]["chosen"] and found["argmax"].candidates[-1]["argmax"]


def test_derive_keeps_the_most_correct_where_that_is_the_criterion() -> None:
    by_loss, by_top1 = (derived(BUDGET, criterion=criterion).candidates[:5] for criterion in ("loss", "top1"))
    scores = [(row["valid_loss"], row["valid_top1"]) for row in by_top1]
    assert scores == [(row["valid_loss"], row["valid_top1"]) for row in by_loss]
    (chosen,) = (row for row in by_top1 if row["chosen"])
    assert chosen["valid_top1"] == max(top1 for _, top1 in scores)
    (other,) = (row for row in by_loss if row["chosen"])
    assert other["genotype_sha256"] != chosen["genotype_sha256"]  # or the option would not have been seen


def test_a_batch_of_all_of_valid_has_other_statistics() -> None:
    small, whole = (derived(BUDGET, batch_size=size).candidates[:5] for size in (8, Images(1).size))
    assert [row["valid_loss"] for row in small] != [row["valid_loss"] for row in whole]


def test_candidates_are_within_the_tolerance_and_those_thrown_away_are_counted() -> None:
    def ratios(result: Any) -> list[float]:
        return [row["biops"] / BUDGET for row in result.candidates[:5]]

    free, tight = derived(BUDGET, budget_tolerance=None), derived(BUDGET, budget_tolerance=0.05)
    assert max(abs(ratio - 1) for ratio in ratios(free)) > 0.2
    assert max(abs(ratio - 1) for ratio in ratios(tight)) <= 0.05
    assert sum(row["thrown_away"] for row in free.candidates) == 0 < sum(row["thrown_away"] for row in tight.candidates)


def test_a_distribution_without_candidates_within_the_budget_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"0 of 5 in 50 draws; the nearest") as raised:
        derived(max_biops(SPACE, 8), budget_tolerance=0.001, max_draws=50)
    assert raised.value.exit_status == 2


def test_thrown_away_draws_are_those_between_two_candidates() -> None:
    space = SearchSpace.from_params(SPACE)
    small, large = (uniform_genotype(space, p, 1, 1.0) for p in ("none", "binary_conv_3x3"))
    drawn = iter([small, large, small, small, large, large])
    cost = partial(genotype_cost, SPACE, image_size=8, num_classes=4)
    window = Window(cost(large).biops, 0.01)
    assert draw_within(lambda: next(drawn), 3, window, 6, cost) == [Draw(large, 1), Draw(large, 2), Draw(large, 0)]


def test_the_nearest_take_the_places_of_candidates_that_are_not_there() -> None:
    cost = partial(genotype_cost, SPACE, image_size=8, num_classes=4)
    space = SearchSpace.from_params(SPACE)
    far, near, nearest = (uniform_genotype(space, "binary_conv_3x3", 1, width) for width in (1.0, 0.5, 0.25))
    window = Window(cost(nearest).biops, 0.001, nearest=True)

    def drawn(*genotypes: Genotype) -> list[Genotype]:
        left = iter(genotypes)
        found = draw_within(lambda: next(left), 2, window, len(genotypes), cost)
        return [draw.genotype for draw in found]

    assert drawn(far, near, nearest, far) == [nearest, near]
    assert drawn(far, near, near) == [near, far]
    assert drawn(far, far, far) == [far]  # a distribution of one architecture has one candidate
    with pytest.raises(BudgetError, match="1 of 2 in 3 draws"):
        left = iter([far, nearest, near])
        draw_within(lambda: next(left), 2, Window(window.budget, 0.001), 3, cost)


def test_derive_takes_the_nearest_where_that_is_declared() -> None:
    budget = max_biops(SPACE, 8)
    result = derived(budget, budget_tolerance=0.001, max_draws=50, shortfall="nearest")
    drawn = [row["biops"] for row in result.candidates if not row["argmax"]]
    assert len(drawn) == 5 and drawn == sorted(drawn, reverse=True)
    assert sum(row["chosen"] for row in result.candidates) == 1 == result.candidates[-1]["argmax"]
    assert min(drawn) > 0.3 * budget  # of fifty


def test_random_architectures_share_the_window_of_derived_ones() -> None:
    def ratios(tolerance: float) -> list[float]:
        options = block(DeriveParams, method="random", budget_tolerance=tolerance, max_draws=100_000)
        window = Window.of(options, BUDGET)
        drawn = [random_candidate(SPACE, options, window, 8, 4, seed).genotype for seed in range(8)]
        assert len({genotype.sha256 for genotype in drawn}) > 1
        assert all(genotype.space == SearchSpace.from_params(SPACE) for genotype in drawn)
        return [genotype_cost(SPACE, genotype, 8, 4).biops / BUDGET for genotype in drawn]

    assert max(abs(ratio - 1) for ratio in ratios(0.05)) <= 0.05 < max(abs(ratio - 1) for ratio in ratios(0.5))


def test_a_window_in_flops_holds_both_counts() -> None:
    options = block(DeriveParams, method="random", budget_tolerance=0.1, max_draws=100_000)

    def flops(window: Window) -> set[int]:
        drawn = [random_candidate(SPACE, options, window, 8, 4, seed).genotype for seed in range(12)]
        costs = [genotype_cost(SPACE, genotype, 8, 4) for genotype in drawn]
        assert all(0.9 * BUDGET <= cost.biops <= 1.1 * BUDGET for cost in costs)
        return {cost.flops for cost in costs}

    free = flops(Window.of(options, BUDGET))
    low, high = min(free), max(free)
    assert high > 1.3 * low  # BiOps alone leave the stem free
    assert all(0.9 * low <= count <= 1.1 * low for count in flops(Window.of(options, BUDGET, low)))
    assert all(0.9 * high <= count <= 1.1 * high for count in flops(Window.of(options, BUDGET, high)))
    with pytest.raises(BudgetError, match="and 1 FLOPs"):
        random_candidate(SPACE, options.model_copy(update={"max_draws": 9}), Window.of(options, BUDGET, 1), 8, 4, 0)


@pytest.mark.parametrize(
    ("schedule", "shares", "rates"),
    [
        ("cosine", (0.0, 0.5, 1.0), (1.0, 0.5, 0.0)),
        ("linear", (0.0, 0.25, 1.0), (1.0, 0.75, 0.0)),
        ("constant", (0.0, 0.5, 1.0), (1.0, 1.0, 1.0)),
        ("step", (0.0, 0.49, 0.5, 0.8), (1.0, 1.0, 0.1, 0.01)),
        ("one_cycle", (0.0, 0.45, 0.9, 1.0), (0.05, 1.0, 0.05, 0.0)),
    ],
)
def test_learning_rates(schedule: Any, shares: tuple[float, ...], rates: tuple[float, ...]) -> None:
    options = block(RetrainParams, epochs=1, batch_size=2, lr=1.0, schedule=schedule, milestones=(0.5, 0.8))
    assert [learning_rate(options, s) for s in shares] == pytest.approx(rates)
