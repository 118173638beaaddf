"""Derive: from the architecture distribution to one genotype (BARS Sec. 4.3)."""

from __future__ import annotations

import importlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from bars.cost import Cost, genotype_cost
from bars.data import Part, Split
from bars.errors import BudgetError
from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, DeriveParams, RuntimeParams, SpaceParams
from bars.pipeline import records as rec
from bars.space import Genotype, SearchSpace, StageGenotype
from bars.stages.files import SUPERNET, announce, open_for, read_state, split_of
from bars.stages.job import Job, Write
from bars.strategy.distribution import Distribution
from bars.training.runtime import Runtime
from bars.training.seeds import generator, seed_of

RANKING = "bars.stages.ranking"  # named apart: only ranked architectures have it in their code


def run(job: Job) -> Write:
    """Derive: distribution and supernet (or a budget, or a given genotype) -> candidates and one genotype."""
    sources = {
        "searched": _derive_searched,
        "random": _derive_random,
        "matched": _derive_matched,
        "ranked": _derive_ranked,
        "fixed": _derive_fixed,
    }
    result = sources[job.experiment.kind](job)
    candidates = [rec.Candidate.model_validate(row) for row in result.candidates]

    def write(folder: Path) -> None:
        rec.write_candidates(folder / "candidates.csv", candidates)
        rec.write_json(folder / "genotype.json", result.genotype.to_json())

    return write


@dataclass(frozen=True)
class DeriveResult:
    """The chosen genotype and the rows of candidates.csv."""

    genotype: Genotype
    candidates: list[dict[str, Any]]


def _derive_searched(job: Job) -> DeriveResult:
    announce(job)
    view = job.view
    return derive(
        view.space,
        view.binarize,
        view.derive,
        view.runtime,
        view.budget_biops,
        open_for(job, split_of(job), "valid"),
        rec.read_distribution(job.input("distribution.json")).model_dump(mode="json"),
        read_state(job.input("supernet.pt"), SUPERNET),
        job.seed,
    )


def _derive_random(job: Job) -> DeriveResult:
    view, split = job.view, split_of(job)
    window = Window.of(view.derive, view.budget_biops)
    draw = random_candidate(view.space, view.derive, window, split.image_size, len(split.classes), job.seed)
    return _unscored(job, draw, split)


def _derive_matched(job: Job) -> DeriveResult:
    """As random, but with the FLOPs and BiOps of another experiment's network of this seed instead of a budget."""
    view, split = job.view, split_of(job)
    of_images = split.image_size, len(split.classes)
    other = rec.read_genotype(job.input("genotype.json"), SearchSpace.from_params(view.space))
    cost = genotype_cost(view.space, other, *of_images)
    window = Window.of(view.derive, cost.biops, cost.flops)
    draw = random_candidate(view.space, view.derive, window, *of_images, job.seed, "matched architecture")
    return _unscored(job, draw, split)


def _derive_ranked(job: Job) -> DeriveResult:
    announce(job)
    view = job.view
    states = [read_state(path, SUPERNET) for path in job.inputs("supernet.pt")]
    ranked: DeriveResult = importlib.import_module(RANKING).rank(
        view.space,
        view.binarize,
        view.derive,
        view.runtime,
        view.budget_biops,
        open_for(job, split_of(job), "valid"),
        dict(zip(view.rank_seeds, states, strict=True)),
        job.seed,
    )
    return ranked


def _derive_fixed(job: Job) -> DeriveResult:
    genotype = Genotype.from_json(job.view.genotype, SearchSpace.from_params(job.view.space))
    return _unscored(job, Draw(genotype, 0), split_of(job))


def _unscored(job: Job, draw: Draw, split: Split) -> DeriveResult:
    """The only candidate of a derivation without a supernet to score it."""
    cost = genotype_cost(job.view.space, draw.genotype, split.image_size, len(split.classes))
    return DeriveResult(draw.genotype, [candidate_row(0, draw, cost, None, chosen=True)])


@dataclass(frozen=True)
class Window:
    """The operations that a candidate may have: within ``tolerance`` (a share) of the budget in BiOps; None: any.

    ``nearest``: where too few are, those nearest to the budget take their places. ``flops``: within it of these, too.
    """

    budget: int
    tolerance: float | None
    nearest: bool = False
    flops: int | None = None

    @classmethod
    def of(cls, params: DeriveParams, budget: int, flops: int | None = None) -> Window:
        """As declared."""
        return cls(budget, params.budget_tolerance, params.shortfall == "nearest", flops)

    def distance(self, cost: Cost) -> float:
        """Relative distance from the budget, the greater one of two."""
        biops = abs(cost.biops / self.budget - 1.0)
        return biops if self.flops is None else max(biops, abs(cost.flops / self.flops - 1.0))

    def holds(self, cost: Cost) -> bool:
        """Whether these operations are within the tolerance."""
        return self.tolerance is None or self.distance(cost) <= self.tolerance

    def __str__(self) -> str:
        """For people."""
        flops = "" if self.flops is None else f" and {self.flops:,} FLOPs"
        return f"{self.budget:,} BiOps{flops}, plus or minus {self.tolerance:.0%}"


def derive(
    space: SpaceParams,
    binarize: BinarizeParams,
    params: DeriveParams,
    runtime: RuntimeParams,
    budget_biops: int,
    valid: Part,
    distribution_json: dict[str, Any],
    state: dict[str, torch.Tensor],
    seed: int,
) -> DeriveResult:
    """Draw K architectures within the budget, score each with the supernet's weights on all of valid, keep the best.

    The most likely architecture is scored too and marked; ``method: argmax`` takes it, whatever it costs. One-hot
    architectures are scored, with the batch's own BN statistics (the authors scored relaxed samples and ranked them the
    wrong way round). Raises BudgetError where the distribution holds too few candidates.
    """
    distribution = Distribution.from_json(distribution_json, SearchSpace.from_params(space))
    cost = partial(genotype_cost, space, image_size=valid.image_size, num_classes=valid.num_classes)
    draws = generator(seed, "derive")
    window = Window.of(params, budget_biops)
    found = draw_within(lambda: distribution.draw(draws), params.samples, window, params.max_draws, cost)
    found.append(Draw(distribution.argmax(), 0))  # the last row
    score = Scorer(space, binarize, runtime, state, valid, params)
    scores = {g: score(g) for g in dict.fromkeys(draw.genotype for draw in found)}
    chosen = len(found) - 1
    if params.method != "argmax":
        of, sign = {"loss": (0, 1), "top1": (1, -1)}[params.criterion]
        chosen = min(range(chosen), key=lambda i: sign * scores[found[i].genotype][of])
    rows = [
        candidate_row(
            i, draw, cost(draw.genotype), scores[draw.genotype], chosen=i == chosen, argmax=i == len(found) - 1
        )
        for i, draw in enumerate(found)
    ]
    return DeriveResult(found[chosen].genotype, rows)


@dataclass(frozen=True)
class Draw:
    """A candidate, and how many draws before it were thrown away because they missed the budget."""

    genotype: Genotype
    thrown_away: int


def draw_within(
    draw: Callable[[], Genotype], count: int, window: Window, most: int, cost: Callable[[Genotype], Cost]
) -> list[Draw]:
    """``count`` draws within the window; of fewer in ``most`` draws, the nearest others too, or a BudgetError."""
    found, missed, thrown_away = list[Draw](), list[tuple[Cost, Genotype]](), 0
    for _ in range(most):
        genotype = draw()
        of_genotype = cost(genotype)
        if window.holds(of_genotype):
            found.append(Draw(genotype, thrown_away))
            thrown_away = 0
        else:
            thrown_away += 1
            missed.append((of_genotype, genotype))
            if not window.nearest:  # only the message names one; all of them would fill the memory
                missed = [min(missed, key=lambda one: window.distance(one[0]))]
        if len(found) == count:
            return found
    missed.sort(key=lambda one: window.distance(one[0]))
    if window.nearest:
        others = dict.fromkeys(genotype for _, genotype in missed)
        return found + [Draw(genotype, 0) for genotype in itertools.islice(others, count - len(found))]
    near = f"; the nearest other one had {missed[0][0].biops:,} BiOps" if missed else ""
    raise BudgetError(
        "too few architectures within the budget were drawn",
        where="derive.budget_tolerance",
        got=f"{len(found)} of {count} in {most:,} draws{near}",
        allowed=str(window),
        do="raise derive.budget_tolerance or derive.max_draws, set derive.shortfall to nearest, or search so that "
        "E[BiOps] ends at the budget",
    )


def candidate_row(
    index: int, draw: Draw, cost: Cost, score: tuple[float, float] | None, *, chosen: bool, argmax: bool = False
) -> dict[str, Any]:
    """A row of candidates.csv; without a score its loss and accuracy are empty."""
    return {
        "index": index,
        "genotype_sha256": draw.genotype.sha256,
        "valid_loss": None if score is None else score[0],
        "valid_top1": None if score is None else score[1],
        **cost._asdict(),
        "thrown_away": draw.thrown_away,
        "chosen": chosen,
        "argmax": argmax,
        "genotype": draw.genotype.to_json(),
    }


class Scorer:
    """Mean loss and top-1 accuracy of an architecture on all of valid, with the weights of one supernet."""

    def __init__(
        self,
        space: SpaceParams,
        binarize: BinarizeParams,
        runtime: RuntimeParams,
        state: dict[str, torch.Tensor],
        valid: Part,
        params: DeriveParams,
    ) -> None:
        self._runtime, self._valid, self._batch_size = Runtime.resolve(runtime), valid, params.batch_size
        self._supernet = Supernet(space, binarize, valid.image_size, valid.num_classes)
        self._supernet.load_state_dict(state)
        self._supernet.to(self._runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def __call__(self, genotype: Genotype) -> tuple[float, float]:
        """[mean cross-entropy, share of correct] with the batch's own BN statistics."""
        sample = Sample.one_hot(genotype)
        sums = torch.zeros(2, dtype=torch.float64)
        for images, labels in self._valid.batches(
            self._batch_size, device=self._runtime.device, augment=False, seed=0, epoch=0, drop_last=False
        ):
            with self._runtime.autocast():
                logits = self._supernet(images, sample).float()
            loss = F.cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([loss, (logits.argmax(1) == labels).sum()]).cpu().double()
        loss_sum, correct = sums.tolist()
        return loss_sum / self._valid.size, correct / self._valid.size


def _uniform_draw(space: SearchSpace, rng: random.Random) -> Genotype:
    stages = tuple(
        StageGenotype(rng.choice(space.depths), rng.choice(space.width_choices)) for _ in range(space.stages)
    )
    cells = {name: {edge: rng.choice(space.primitives) for edge in space.edges} for name in space.all_types}
    return Genotype(space, stages, cells)


def random_candidate(
    space: SpaceParams,
    params: DeriveParams,
    window: Window,
    image_size: int,
    num_classes: int,
    seed: int,
    purpose: str = "random architecture",
) -> Draw:
    """One uniform draw among the architectures in the window, another for another purpose. Raises BudgetError."""
    combinations, rng = SearchSpace.from_params(space), random.Random(seed_of(seed, purpose))
    cost = partial(genotype_cost, space, image_size=image_size, num_classes=num_classes)
    (draw,) = draw_within(lambda: _uniform_draw(combinations, rng), 1, window, params.max_draws, cost)
    return draw
