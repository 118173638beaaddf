"""The stage ``search``: first-order bilevel optimisation of supernet weights and alphas (BARS Sec. 3.2, 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.flips import SignFlips
from bars.binarize.layers import AfterStep
from bars.cost import ExpectedBiops
from bars.data import Part
from bars.errors import ParamsError
from bars.models.supernet import Sample, Supernet
from bars.models.unit import fuse
from bars.params import BinarizeParams, RuntimeParams, SearchParams, SpaceParams
from bars.pipeline import records as rec
from bars.space import SearchSpace
from bars.stages.alphas import alpha_rows
from bars.stages.checkpoint import Checkpointer, FileCheckpointer, restoring, save_tensors
from bars.stages.divergence import diverged, finite
from bars.stages.files import SUPERNET, announce, open_for, split_of
from bars.stages.job import Job, Write
from bars.stages.optimizers import SGD, Adam, Optimizer
from bars.stages.parallel import SINGLE, Parallel
from bars.stages.runtime import GraphedStep, Progress, Runtime, Silent, frozen, generator, seed_of
from bars.strategy.distribution import Distribution
from bars.strategy.health import Verdict, judge
from bars.strategy.objective import AlphaGradient, Objective
from bars.strategy.schedules import cosine, ramp

SampleStep = Callable[[Tensor, Tensor, Sample], tuple[Tensor, ...]]


def run(job: Job) -> Write:
    """Search: the split's train and valid halves -> logs, distribution, supernet."""
    announce(job)
    view, split = job.view, split_of(job)
    with Parallel.join(*job.processes, Runtime.resolve(view.runtime).device) as parallel:
        result = search(
            view.space,
            view.binarize,
            view.search,
            view.runtime,
            open_for(job, split, "train"),
            open_for(job, split, "valid"),
            job.seed,
            FileCheckpointer(job.checkpoint),
            job.progress,
            parallel,
        )

    def write(folder: Path) -> None:
        epochs = [rec.search_epoch(row) for row in result.epochs]
        rec.write_search_epochs(folder / "epochs.csv", epochs, view.space.primitives)
        rec.write_alphas(folder / "alphas.parquet", (rec.AlphaRow(**row) for row in result.alphas))
        rec.write_json(folder / "distribution.json", result.distribution, wide=True)
        save_tensors({"format": SUPERNET, "state": result.state}, folder / "supernet.pt")

    return write


@dataclass(frozen=True)
class SearchResult:
    """Everything a search leaves behind: rows of epochs.csv and alphas.parquet, distribution.json, supernet weights."""

    epochs: list[dict[str, float]]
    alphas: list[dict[str, Any]]
    distribution: dict[str, Any]
    state: dict[str, Tensor]


def search(
    space: SpaceParams,
    binarize: BinarizeParams,
    params: SearchParams,
    runtime: RuntimeParams,
    train: Part,
    valid: Part,
    seed: int,
    checkpoint: Checkpointer,
    progress: Progress,
    parallel: Parallel = SINGLE,
) -> SearchResult:
    """Search on the two halves of train. Raises DivergenceError unless ``params.may_fail``."""
    run = Search(space, binarize, params, runtime, train, valid, seed, parallel)
    return run.run(parallel.checkpointer(checkpoint), progress)


class Search:
    """State of a running search; every epoch draws from its own seeds, so a continued run equals an unbroken one."""

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
        for name, part in (("train", train), ("valid", valid)):
            if part.size < params.batch_size:
                raise ParamsError(
                    "a batch is larger than its half of the training images",
                    where="search.batch_size",
                    got=f"{params.batch_size}, with {part.size} images in {name}",
                    allowed=f"at most {min(train.size, valid.size)}",
                )
        parallel.require_divisible(params.batch_size, "search.batch_size")
        self.params, self.train, self.valid, self.seed, self.parallel = params, train, valid, seed, parallel
        self.runtime = Runtime.resolve(runtime)
        self.space = SearchSpace.from_params(space)
        torch.manual_seed(seed_of(seed, "supernet"))
        supernet = Supernet(space, binarize, train.image_size, train.num_classes, params.width_mask)
        self.supernet = supernet.to(self.runtime.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        parallel.synchronise(self.supernet)
        if self.runtime.compile:
            fuse(self.supernet)
        self.progress: Progress = Silent()
        self._forward = parallel.wrap(
            self.supernet, unused=params.sampling == "hard" or params.weight_sampling == "uniform"
        )
        self.distribution = Distribution(self.space, params.alpha_init_std, generator(seed, "alphas"))
        self._uniform = Distribution(self.space)  # all logits zero
        self.expected_biops = ExpectedBiops(space, train.image_size, lambda v: torch.tensor(v, dtype=torch.float64))
        self.objective = Objective(params, float(params.budget.biops))
        self._weights = list(self.supernet.parameters())
        self._after_step = AfterStep(self.supernet)
        self._flips = SignFlips(self.supernet)
        self.weight_optimizer = weight_optimizer(params, self._weights)
        self.alpha_optimizer = Adam(
            self.distribution.parameters(),
            params.alpha_lr,
            betas=params.alpha_betas,
            weight_decay=params.alpha_weight_decay,
        )
        capture = self.runtime.capture and parallel.world_size == 1
        self._weight_gradient = self._graphed(self._weight_gradient_eager, capture)
        self._sample_gradient = self._graphed(self._sample_gradient_eager, capture)

    # ---------------------------------------------------------------- the run
    def run(self, checkpoint: Checkpointer, progress: Progress) -> SearchResult:
        """All epochs, or those that are left."""
        self.progress = progress
        rows: list[dict[str, float]] = []
        history = [self._logits()]
        saved = checkpoint.load()
        if saved is not None:
            with restoring(checkpoint):
                rows, history = list(saved["rows"]), list(saved["history"])
                self._restore(saved)
        elif self.params.may_fail:
            checkpoint.save({"rows": rows, "history": history, **self._state()})
        status = "completed"
        for epoch in range(len(rows), self.params.epochs):
            row = self.epoch(epoch)
            if not finite(row, self.supernet):
                if not self.params.may_fail:
                    remedy = "lower search.weight_lr, search.alpha_lr or search.grad_clip"
                    raise diverged("the search", row, self.params.epochs, remedy, checkpoint)
                status = "diverged"
                self._set_logits(history[-1])
                if (good := checkpoint.load()) is not None:  # or derive would score weights that are not numbers
                    self._restore(good)
                break
            rows.append(row)
            history.append(self._logits())
            checkpoint.save({"rows": rows, "history": history, **self._state()})
            progress.epoch("search", epoch + 1, self.params.epochs, row)
        return SearchResult(
            epochs=rows,
            alphas=[row for i, logits in enumerate(history) for row in alpha_rows(self.space, i, logits)],
            distribution={**self.distribution.to_json(status, len(rows)), "verdict": self._verdict(rows, status)},
            state={k: v.detach().cpu().contiguous() for k, v in self.supernet.state_dict().items()},
        )

    def epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the weight half, with an alpha step on the other half after every weight step."""
        params = self.params
        torch.manual_seed(seed_of(self.seed, "epoch", epoch))
        noise = generator(self.seed, "gumbel", epoch)
        temperature = ramp(params.temperature, epoch, params.epochs)
        warm = epoch < params.warmup_epochs
        searching = max(1, params.epochs - params.warmup_epochs)
        entropy_weight = 0.0 if warm else ramp(params.entropy_weight, epoch - params.warmup_epochs, searching)
        lr = cosine(params.weight_lr, params.weight_lr_end, epoch / max(1, params.epochs - 1))
        self.weight_optimizer.lr = lr
        device = self.runtime.device
        train_sums, valid_sums = torch.zeros(3, device=device), torch.zeros(3, device=device)
        valid_batches = self._endless(self.valid, epoch)
        batches = self.train.batches(
            params.batch_size,
            device=device,
            augment=True,
            seed=seed_of(self.seed, "train"),
            epoch=epoch,
            drop_last=True,
            rank=self.parallel.rank,
            world_size=self.parallel.world_size,
        )
        parts = AlphaGradient(self.distribution.alphas())
        for step, (images, labels) in enumerate(batches):
            train_sums += self._weight_step(images, labels, temperature, noise)
            self.progress.step(step + 1, self.train.steps(params.batch_size, drop_last=True), params.batch_size)
            if step % params.alpha_every == 0 and not warm:
                valid_sums += self._alpha_step(*next(valid_batches), temperature, entropy_weight, noise, parts)
        if warm:
            valid_sums += self._score(*next(valid_batches), temperature, noise)
        train_sums = self.parallel.sum(train_sums)
        schedule = {"temperature": temperature, "entropy_weight": entropy_weight, "weight_lr": lr}
        return self._row(epoch, schedule, train_sums.tolist(), valid_sums.tolist(), parts)

    def _endless(self, part: Part, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        round_ = 0
        while True:
            yield from part.batches(
                self.params.batch_size,
                device=self.runtime.device,
                augment=True,
                seed=seed_of(self.seed, "valid", round_),
                epoch=epoch,
                drop_last=True,
                rank=self.parallel.rank,
                world_size=self.parallel.world_size,
            )
            round_ += 1

    # ---------------------------------------------------------------- one step
    def _graphed(self, step: SampleStep, capture: bool) -> SampleStep:
        """``step`` replayed as a CUDA graph, which takes tensors only; one-hot draws differ from step to step."""

        def relaxed(images: Tensor, labels: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            left = list(tensors)
            op = left.pop(0)
            depth = left.pop(0) if self.space.search_depth else None
            return step(images, labels, Sample(op, depth, left.pop(0) if left else None))

        graphed = GraphedStep(relaxed, capture)

        def call(images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, ...]:
            if sample.genotype is not None:
                return step(images, labels, sample)
            return graphed(images, labels, *sample.tensors())

        return call

    def _weight_step(self, images: Tensor, labels: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
        with torch.no_grad():
            sample = self._weight_sample(temperature, noise).to(self.runtime.device)
        (sums,) = self._weight_gradient(images, labels, sample)
        if self.params.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._weights, self.params.grad_clip, foreach=True)
        self.weight_optimizer.step()
        self._after_step()
        return sums

    def _weight_sample(self, temperature: float, noise: torch.Generator) -> Sample:
        """The architecture of a weight step: as for the alphas, or any of the space alike ("uniform")."""
        if self.params.weight_sampling == "uniform":
            return Sample.one_hot(self._uniform.draw(noise))
        return self.distribution.sample(self.params.sampling, temperature, noise)

    def _weight_gradient_eager(self, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor]:
        self.weight_optimizer.zero_grad()
        loss, sums = self._loss(self._forward, images, labels, sample)
        loss.backward()  # type: ignore[no-untyped-call]
        return (sums,)

    def _alpha_step(
        self,
        images: Tensor,
        labels: Tensor,
        temperature: float,
        entropy_weight: float,
        noise: torch.Generator,
        parts: AlphaGradient,
    ) -> Tensor:
        """The network's part of the gradient is taken with respect to the sample, the rest on the alphas' own side."""
        drawn = self.distribution.sample(self.params.sampling, temperature, noise)
        leaves = drawn.leaves(self.runtime.device)
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

    def _sample_gradient_eager(self, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, ...]:
        tensors = sample.tensors()
        with frozen(self._weights):
            loss, sums = self._loss(self.supernet, images, labels, sample)
            gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
        return (sums, *(torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)))

    @torch.no_grad()
    def _score(self, images: Tensor, labels: Tensor, temperature: float, noise: torch.Generator) -> Tensor:
        sample = self.distribution.sample(self.params.sampling, temperature, noise).to(self.runtime.device)
        return self.parallel.sum(self._loss(self.supernet, images, labels, sample)[1])

    def _loss(self, network: nn.Module, images: Tensor, labels: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy, and [sum of losses, correct, images]."""
        with self.runtime.autocast():
            logits = network(images, sample)
        loss = F.cross_entropy(logits.float(), labels)
        with torch.no_grad():
            n = (
                labels.new_tensor(labels.shape[0])
                if not labels.is_cuda
                else torch.full_like(labels[0], labels.shape[0])
            )
            correct = (logits.argmax(1) == labels).sum()
            sums = torch.stack([loss.detach() * n, correct.float(), n.float()])
        return loss, sums

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
        flips, flip_rate = self._flips.measure()
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

    def _verdict(self, rows: list[dict[str, float]], status: str) -> Verdict:
        return judge(rows[-1] if rows else {}, status, self.params)

    def _logits(self) -> list[Tensor | None]:
        return [None if a is None else a.detach().clone() for a in self.distribution.alphas()]

    @torch.no_grad()
    def _set_logits(self, logits: list[Tensor | None]) -> None:
        for parameter, value in zip(self.distribution.alphas(), logits, strict=True):
            if parameter is not None and value is not None:
                parameter.copy_(value)

    def _state(self) -> dict[str, Any]:
        return {
            "supernet": self.supernet.state_dict(),
            "distribution": self.distribution.state_dict(),
            "multiplier": self.objective.capacity.multiplier,
            "theta": self.objective.theta,
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.supernet.load_state_dict(saved["supernet"])
        self.distribution.load_state_dict(saved["distribution"])
        self.weight_optimizer.load_state_dict(saved["weight_optimizer"])
        self.alpha_optimizer.load_state_dict(saved["alpha_optimizer"])
        self.objective.capacity.multiplier, self.objective.theta = saved["multiplier"], saved["theta"]
        self._flips.restart()


def weight_optimizer(params: SearchParams, weights: list[nn.Parameter]) -> Optimizer:
    """The update rule of the supernet's weights that params.yaml names."""
    if params.weight_optimizer == "adam":
        return Adam(weights, params.weight_lr, weight_decay=params.weight_decay)
    return SGD(weights, params.weight_lr, momentum=params.weight_momentum, weight_decay=params.weight_decay)
