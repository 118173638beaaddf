"""The stage ``retrain``: training a network from scratch: derived networks and baselines alike (BARS Sec. 5.1)."""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bars.binarize.layers import set_progress
from bars.data import Part
from bars.models.cell import DropPath
from bars.params import RetrainParams, RuntimeParams
from bars.pipeline import records as rec
from bars.stages.files import CHECKPOINT, announce, genotype_of, open_for, split_of
from bars.stages.job import Job, Write
from bars.stages.networks import build
from bars.strategy.schedules import cosine
from bars.training.batches import Batches
from bars.training.checkpoint import Checkpointer, FileCheckpointer, save_tensors
from bars.training.divergence import diverged
from bars.training.loop import Row, run_epochs
from bars.training.optimizers import make_optimizer
from bars.training.parallel import SINGLE, Parallel
from bars.training.progress import Progress
from bars.training.runtime import Runtime
from bars.training.seeds import seed_of
from bars.training.steps import TrainStep
from bars.training.trained import Trained


def run(job: Job) -> Write:
    """Retrain: the network, from scratch, on train and valid together -> log and checkpoint."""
    runtime = announce(job)
    view, part = job.view, open_for(job, split_of(job), "train+valid")
    torch.manual_seed(seed_of(job.seed, "network"))
    model = build(job.experiment.network, view, genotype_of(job), part.num_classes, part.image_size)
    with Parallel.join(*job.processes, Runtime.resolve(runtime).device) as parallel:
        trainer = Trainer(model, view.retrain, runtime, part, job.seed, parallel)
        result = trainer.run(FileCheckpointer(job.checkpoint), job.progress)

    def write(folder: Path) -> None:
        epochs = [rec.RetrainEpoch.model_validate(row) for row in result.epochs]
        rec.write_retrain_epochs(folder / "epochs.csv", epochs)
        content = {"format": CHECKPOINT, "state": result.state, "num_classes": part.num_classes}
        save_tensors(content, folder / "checkpoint.pt")

    return write


@dataclass(frozen=True)
class RetrainResult:
    """Rows of epochs.csv, and the trained state."""

    epochs: list[dict[str, float]]
    state: dict[str, Tensor]


def learning_rate(params: RetrainParams, share: float) -> float:
    """The learning rate when ``share`` in [0, 1] of all steps is done."""
    if params.schedule == "cosine":
        return cosine(params.lr, params.lr_end, share)
    if params.schedule == "linear":
        return params.lr + (params.lr_end - params.lr) * share
    if params.schedule == "step":
        return float(params.lr * params.decay ** bisect_right(sorted(params.milestones), share))
    if params.schedule == "one_cycle":
        # From lr / 20 up to lr and back over 90 % of training, then linearly down to lr_end.
        low = params.lr / 20
        if share <= 0.9:
            return low + (params.lr - low) * (1 - abs(share / 0.45 - 1))
        return low + (params.lr_end - low) * (share - 0.9) / 0.1
    return params.lr


class Trainer:
    """A running training on one part; everything random is seeded per epoch, so that it continues bit by bit."""

    def __init__(
        self,
        model: nn.Module,
        params: RetrainParams,
        runtime: RuntimeParams,
        part: Part,
        seed: int,
        parallel: Parallel = SINGLE,
    ) -> None:
        resolved = Runtime.resolve(runtime)
        self.batches = Batches(part, params.batch_size, resolved.device, parallel, "retrain.batch_size")
        self.params, self.seed, self.parallel = params, seed, parallel
        for module in model.modules():
            if isinstance(module, DropPath):
                module.rate = params.drop_path
        # A derived cell may hold units that nothing reads: all edges of their node chose "none".
        self.trained = trained(model, params, resolved, parallel, unused=True)
        # A schedule inside the model (IR-Net's estimator, drop path) would be frozen into a captured graph.
        scheduled = params.drop_path > 0 or any(
            hasattr(m, "set_progress") and not isinstance(m, DropPath) for m in model.modules()
        )
        self._step = TrainStep(self.trained, params.label_smoothing, capture=not scheduled)

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.trained.model

    def run(self, checkpoint: Checkpointer, progress: Progress) -> RetrainResult:
        """All epochs, or those that are left. Raises DivergenceError at a loss that is not finite."""
        checkpoint = self.parallel.checkpointer(checkpoint)
        outcome = run_epochs(self, "retrain", self.params.epochs, checkpoint, progress)
        if outcome.diverged is not None:
            remedy = "lower retrain.lr or retrain.grad_clip"
            raise diverged("training", outcome.diverged, self.params.epochs, remedy, checkpoint)
        return RetrainResult(outcome.rows, self.trained.weights_on_cpu())

    def epoch(self, epoch: int, progress: Progress) -> Row:
        """One pass over the training images."""
        params = self.params
        torch.manual_seed(seed_of(self.seed, "epoch", epoch) + self.parallel.rank)
        set_progress(self.model, epoch / params.epochs)
        steps = self.batches.per_epoch
        last = max(1, steps * params.epochs - 1)
        sums = torch.zeros(3, device=self.batches.device)
        lr = params.lr
        for step, (images, labels) in enumerate(self.batches.epoch(epoch, seed_of(self.seed, "retrain"))):
            lr = learning_rate(params, (epoch * steps + step) / last)
            self.trained.optimizer.lr = lr
            sums += self._step(images, labels)
            progress.step(step + 1, steps, params.batch_size)
        loss, correct, n = self.parallel.sum(sums).tolist()
        flips, flip_rate = self.trained.flips.measure()
        measured = {"train_loss": loss / n, "train_top1": correct / n, "flips": flips, "flip_rate": flip_rate}
        return {"epoch": epoch + 1, "lr": lr, **measured}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"trained": self.trained.state()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.trained.restore(saved["trained"])


def trained(
    model: nn.Module, params: RetrainParams, runtime: Runtime, parallel: Parallel = SINGLE, *, unused: bool = False
) -> Trained:
    """The network in training, its weights updated as params.yaml says."""
    optimizer = functools.partial(
        make_optimizer,
        params.optimizer,
        lr=params.lr,
        momentum=params.momentum,
        weight_decay=params.weight_decay,
        nesterov=params.nesterov,
    )
    return Trained(model, runtime, optimizer, params.grad_clip, parallel=parallel, unused=unused)
