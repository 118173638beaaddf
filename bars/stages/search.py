"""The stage ``search``: first-order bilevel optimisation of supernet weights and alphas (BARS Sec. 3.2, 4.2)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bars.cost import ExpectedBiops
from bars.data import Part
from bars.errors import ParamsError
from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, RuntimeParams, SearchParams, SpaceParams
from bars.pipeline import records as rec
from bars.space import SearchSpace
from bars.stages.files import SUPERNET, announce, open_for, split_of
from bars.stages.job import Job, Write
from bars.strategy.distribution import Distribution
from bars.strategy.health import judge
from bars.strategy.objective import AlphaGradient, Objective
from bars.strategy.schedules import cosine, ramp
from bars.strategy.start import move_to_budget
from bars.training.batches import Batches
from bars.training.checkpoint import Checkpointer, FileCheckpointer, save_tensors
from bars.training.divergence import diverged
from bars.training.loop import Row, run_epochs
from bars.training.optimizers import Adam, make_optimizer
from bars.training.parallel import SINGLE, Parallel
from bars.training.progress import Progress
from bars.training.runtime import Runtime
from bars.training.sampled import SampleGradient, WeightStep, score
from bars.training.seeds import generator, seed_of
from bars.training.trained import Trained


def run(job: Job) -> Write:
    """Search: the split's train and valid halves -> logs, distribution, supernet."""
    runtime, view, split = announce(job), job.view, split_of(job)
    with Parallel.join(*job.processes, Runtime.resolve(runtime).device) as parallel:
        parts = open_for(job, split, "train"), open_for(job, split, "valid")
        running = Search(view.space, view.binarize, view.search, runtime, *parts, job.seed, parallel)
        result = running.run(FileCheckpointer(job.checkpoint), job.progress)

    def write(folder: Path) -> None:
        epochs = [rec.search_epoch(row) for row in result.epochs]
        rec.write_search_epochs(folder / "epochs.csv", epochs, view.space.primitives)
        rec.write_alphas(folder / "alphas.parquet", result.alphas)
        rec.write_json(folder / "distribution.json", result.distribution, wide=True)
        save_tensors({"format": SUPERNET, "state": result.state}, folder / "supernet.pt")

    return write


@dataclass(frozen=True)
class SearchResult:
    """Everything a search leaves behind: rows of epochs.csv and alphas.parquet, distribution.json, supernet weights."""

    epochs: list[dict[str, float]]
    alphas: list[rec.AlphaRow]
    distribution: dict[str, Any]
    state: dict[str, Tensor]


class Search:
    """A running search on the two halves of train.

    Every epoch draws from its own seeds, so that a continued run equals an unbroken one.
    """

    def __init__(
        self,
        space: SpaceParams,
        binarize: BinarizeParams,
        params: SearchParams,
        runtime: RuntimeParams,
        train: Part,
        valid: Part,
        seed: int,
        parallel: Parallel = SINGLE,
    ) -> None:
        if params.budget.biops is None:
            raise ParamsError("the budget is not resolved", where="search.budget", got=params.budget, allowed="BiOps")
        resolved = Runtime.resolve(runtime)
        self.train, self.valid = (
            Batches(part, params.batch_size, resolved.device, parallel, "search.batch_size") for part in (train, valid)
        )
        self.params, self.seed, self.parallel = params, seed, parallel
        self.space = SearchSpace.from_params(space)
        torch.manual_seed(seed_of(seed, "supernet"))
        sizes = train.image_size, train.num_classes
        supernet = Supernet(space, binarize, *sizes, params.width_mask, params.operations)
        self.trained = trained(supernet, params, resolved, parallel)
        self.distribution = Distribution(self.space, params.alpha_init_std, generator(seed, "alphas"))
        self._uniform = Distribution(self.space)  # all logits zero
        self.expected_biops = ExpectedBiops(space, train.image_size, lambda v: torch.tensor(v, dtype=torch.float64))
        self.objective = Objective(params, float(params.budget.biops))
        if params.alpha_start == "budget":
            move_to_budget(self.distribution, self.expected_biops, self.objective.budget_biops)
        self.alpha_optimizer = Adam(
            self.distribution.parameters(),
            params.alpha_lr,
            betas=params.alpha_betas,
            weight_decay=params.alpha_weight_decay,
        )
        self._weight_update = WeightStep(self.trained, self.space)
        self._sample_gradient = SampleGradient(self.trained, self.space)
        self.history = [self._logits()]  # before the first epoch, and after each one

    @property
    def model(self) -> Supernet:
        """The supernet."""
        supernet = self.trained.model
        assert isinstance(supernet, Supernet)
        return supernet

    # ---------------------------------------------------------------- the run
    def run(self, checkpoint: Checkpointer, progress: Progress) -> SearchResult:
        """All epochs, or those that are left. Raises DivergenceError unless ``params.may_fail``."""
        params, checkpoint = self.params, self.parallel.checkpointer(checkpoint)
        rows, bad = run_epochs(self, "search", params.epochs, checkpoint, progress, keep_start=params.may_fail)
        if bad is not None:
            if not params.may_fail:
                remedy = "lower search.weight_lr, search.alpha_lr or search.grad_clip"
                raise diverged("the search", bad, params.epochs, remedy, checkpoint)
            self._step_back(len(rows), checkpoint)
        status = "completed" if bad is None else "diverged"
        verdict = judge(rows[-1] if rows else {}, status, params, self.train.part.num_classes)
        return SearchResult(
            epochs=rows,
            alphas=[row for i, logits in enumerate(self.history) for row in _alpha_rows(self.space, i, logits)],
            distribution={**self.distribution.to_json(status, len(rows)), "verdict": verdict},
            state=self.trained.weights_on_cpu(),
        )

    def epoch(self, epoch: int, progress: Progress) -> Row:
        """One pass over the weight half, with an alpha step on the other half after every weight step."""
        params = self.params
        torch.manual_seed(seed_of(self.seed, "epoch", epoch))
        noise = generator(self.seed, "gumbel", epoch)
        temperature = ramp(params.temperature, epoch, params.epochs)
        warm = epoch < params.warmup_epochs
        searching = max(1, params.epochs - params.warmup_epochs)
        entropy_weight = 0.0 if warm else ramp(params.entropy_weight, epoch - params.warmup_epochs, searching)
        lr = cosine(params.weight_lr, params.weight_lr_end, epoch / max(1, params.epochs - 1))
        self.trained.optimizer.lr = lr
        train_sums, valid_sums = (torch.zeros(3, device=self.train.device) for _ in range(2))
        valid_batches = self._endless(epoch)
        parts = AlphaGradient(self.distribution.alphas())
        for step, (images, labels) in enumerate(self.train.epoch(epoch, seed_of(self.seed, "train"))):
            train_sums += self._weight_step(images, labels, temperature, noise)
            progress.step(step + 1, self.train.per_epoch, params.batch_size)
            if step % params.alpha_every == 0 and not warm:
                valid_sums += self._alpha_step(*next(valid_batches), temperature, entropy_weight, noise, parts)
        if warm:
            valid_sums += self._score(*next(valid_batches), temperature, noise)
        train_sums = self.parallel.sum(train_sums)
        self.history.append(self._logits())
        schedule = {"temperature": temperature, "entropy_weight": entropy_weight, "weight_lr": lr}
        return self._row(epoch, schedule, train_sums.tolist(), valid_sums.tolist(), parts)

    def _endless(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the valid half, round after round, each in an order of its own."""
        for round_ in itertools.count():
            yield from self.valid.epoch(epoch, seed_of(self.seed, "valid", round_))

    # ---------------------------------------------------------------- one step
    def _weight_step(self, images: Tensor, labels: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
        with torch.no_grad():
            sample = self._weight_sample(temperature, noise).to(self.train.device)
        return self._weight_update(images, labels, sample)

    def _weight_sample(self, temperature: float, noise: torch.Generator) -> Sample:
        """The architecture of a weight step: as for the alphas, or any of the space alike ("uniform")."""
        if self.params.weight_sampling == "uniform":
            return Sample.one_hot(self._uniform.draw(noise))
        return self._drawn(temperature, noise)

    def _drawn(self, temperature: float, noise: torch.Generator) -> Sample:
        return self.distribution.sample(self.params.sampling, temperature, noise, self.params.straight_through)

    def _alpha_step(
        self,
        images: Tensor,
        labels: Tensor,
        temperature: float,
        entropy_weight: float,
        noise: torch.Generator,
        parts: AlphaGradient,
    ) -> Tensor:
        """The network's part of the gradient is taken with respect to the sample, the rest on the alphas' own side.

        Everything is computed, so that what was not drawn is heard, too; ``hard`` is the estimator that does not.
        """
        drawn = self._drawn(temperature, noise)
        drawn = drawn if self.params.sampling == "hard" else drawn.whole()
        leaves = drawn.leaves(self.valid.device)
        sums, *gradients = self._sample_gradient(images, labels, leaves)
        sums, gradients = self.parallel.sum(sums), [self.parallel.mean(g) for g in gradients]
        through = [(t * g.cpu()).sum() for t, g in zip(drawn.tensors(), gradients, strict=True)]
        biops = self.expected_biops(*self.distribution.probs())
        terms = self.objective.terms(
            (sums[0] / sums[2]).cpu().double(),
            torch.stack(through).sum(),
            biops,
            self.distribution.entropy(),
            entropy_weight,
        )
        parts.set(terms)
        self.alpha_optimizer.step()
        return sums

    def _score(self, images: Tensor, labels: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
        with torch.no_grad():
            sample = self._drawn(temperature, noise).to(self.valid.device)
        return self.parallel.sum(score(self.trained, images, labels, sample))

    # ---------------------------------------------------------------- records and state
    def _row(
        self,
        epoch: int,
        schedule: dict[str, float],
        train: list[float],
        valid: list[float],
        parts: AlphaGradient,
    ) -> dict[str, float]:
        with torch.no_grad():
            probs = self.distribution.probs()
            biops = float(self.expected_biops(*probs))
            normal = probs[0][: len(self.space.normal_types)].mean((0, 1)).tolist()
        flips, flip_rate = self.trained.flips.measure()
        theta = self.objective.theta
        return {
            "epoch": epoch + 1,
            **schedule,
            "train_loss": train[0] / train[2],
            "train_top1": train[1] / train[2],
            "valid_loss": valid[0] / valid[2],
            "valid_top1": valid[1] / valid[2],
            "flips": flips,
            "flip_rate": flip_rate,
            "entropy": self.distribution.mean_entropy(),
            "expected_biops": biops,
            "budget_ratio": biops / self.objective.budget_biops,
            "capacity_exponent": theta,
            "capacity_factor": (biops / self.objective.budget_biops) ** theta,
            **parts.norms(),
            **{f"share_{name}": value for name, value in zip(self.space.primitives, normal, strict=True)},
        }

    def _logits(self) -> list[Tensor | None]:
        return [None if a is None else a.detach().clone() for a in self.distribution.alphas()]

    @torch.no_grad()
    def _step_back(self, epochs: int, checkpoint: Checkpointer) -> None:
        """To the end of the last good epoch, or derive would score weights that are not numbers."""
        del self.history[epochs + 1 :]
        for parameter, value in zip(self.distribution.alphas(), self.history[-1], strict=True):
            if parameter is not None and value is not None:
                parameter.copy_(value)
        if (good := checkpoint.load()) is not None:
            self.restore(good)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {
            "trained": self.trained.state(),
            "distribution": self.distribution.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "multiplier": self.objective.capacity.multiplier,
            "theta": self.objective.theta,
            "history": self.history,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.trained.restore(saved["trained"])
        self.distribution.load_state_dict(saved["distribution"])
        self.alpha_optimizer.load_state_dict(saved["alpha_optimizer"])
        self.objective.capacity.multiplier, self.objective.theta = saved["multiplier"], saved["theta"]
        self.history = list(saved["history"])


def _alpha_rows(space: SearchSpace, epoch: int, logits: list[Tensor | None]) -> Iterator[rec.AlphaRow]:
    """One row per choice of every decision, with its logit and its softmax in float64."""
    op, depth, width = logits
    assert op is not None
    decisions: list[tuple[str, str, int, int, tuple[Any, ...], Tensor]] = [
        ("op", name, source, target, space.primitives, op[t, i])
        for t, name in enumerate(space.all_types)
        for i, (source, target) in enumerate(space.edges)
    ]
    for s in range(space.stages):
        if depth is not None:
            decisions.append(("depth", f"stage-{s + 1}", -1, -1, space.depths, depth[s]))
        if width is not None:
            decisions.append(("width", f"stage-{s + 1}", -1, -1, space.width_choices, width[s]))
    for kind, group, source, target, choices, values in decisions:
        probs = torch.softmax(values.double(), -1).tolist()
        for choice, logit, prob in zip(choices, values.tolist(), probs, strict=True):
            yield rec.AlphaRow(epoch, kind, group, source, target, str(choice), logit, prob)


def trained(supernet: Supernet, params: SearchParams, runtime: Runtime, parallel: Parallel = SINGLE) -> Trained:
    """The supernet in training, its weights updated as params.yaml says."""
    optimizer = functools.partial(
        make_optimizer,
        params.weight_optimizer,
        lr=params.weight_lr,
        momentum=params.weight_momentum,
        weight_decay=params.weight_decay,
    )
    one_hot = params.sampling == "hard" or (params.sampling == "gumbel" and bool(params.straight_through))
    unused = one_hot or params.weight_sampling == "uniform"
    return Trained(supernet, runtime, optimizer, params.grad_clip, parallel=parallel, unused=unused)
