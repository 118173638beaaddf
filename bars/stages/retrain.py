"""The stage ``retrain``: training a network from scratch: derived networks and baselines alike (BARS Sec. 5.1)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.binarize.flips import SignFlips
from bars.binarize.layers import AfterStep, auxiliary_loss, set_progress
from bars.data import Part
from bars.errors import ParamsError
from bars.models.cell import DropPath
from bars.models.unit import fuse
from bars.params import RetrainParams, RuntimeParams
from bars.pipeline import records as rec
from bars.stages.checkpoint import Checkpointer, FileCheckpointer, restoring, save_tensors
from bars.stages.divergence import diverged, finite
from bars.stages.files import CHECKPOINT, announce, genotype_of, open_for, split_of
from bars.stages.job import Job, Write
from bars.stages.networks import build
from bars.stages.optimizers import SGD, Adam, Optimizer
from bars.stages.parallel import SINGLE, Parallel
from bars.stages.runtime import GraphedStep, Progress, Runtime, Silent, seed_of
from bars.strategy.schedules import cosine


def run(job: Job) -> Write:
    """Retrain: the network, from scratch, on train and valid together -> log and checkpoint."""
    announce(job)
    view, part = job.view, open_for(job, split_of(job), "train+valid")
    torch.manual_seed(seed_of(job.seed, "network"))
    model = build(job.experiment.network, view, genotype_of(job), part.num_classes, part.image_size)
    checkpointer = FileCheckpointer(job.checkpoint)
    with Parallel.join(*job.processes, Runtime.resolve(view.runtime).device) as parallel:
        result = retrain(model, view.retrain, view.runtime, part, job.seed, checkpointer, job.progress, parallel)

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


def retrain(
    model: nn.Module,
    params: RetrainParams,
    runtime: RuntimeParams,
    part: Part,
    seed: int,
    checkpoint: Checkpointer,
    progress: Progress,
    parallel: Parallel = SINGLE,
) -> RetrainResult:
    """Train ``model`` on ``part`` (train and valid together). Raises DivergenceError at a loss that is not finite."""
    return Trainer(model, params, runtime, part, seed, parallel).run(parallel.checkpointer(checkpoint), progress)


class Trainer:
    """State of a running training; everything random is seeded per epoch, so that it continues bit by bit."""

    def __init__(
        self,
        model: nn.Module,
        params: RetrainParams,
        runtime: RuntimeParams,
        part: Part,
        seed: int,
        parallel: Parallel = SINGLE,
    ) -> None:
        if part.size < params.batch_size:
            raise ParamsError(
                "a batch is larger than the training set",
                where="retrain.batch_size",
                got=f"{params.batch_size}, with {part.size} images",
                allowed=f"at most {part.size}",
            )
        parallel.require_divisible(params.batch_size, "retrain.batch_size")
        self.params, self.part, self.seed, self.parallel = params, part, seed, parallel
        self.runtime = Runtime.resolve(runtime)
        self.model = model.to(self.runtime.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        parallel.synchronise(self.model)
        for module in model.modules():
            if isinstance(module, DropPath):
                module.rate = params.drop_path
        if self.runtime.compile:
            fuse(self.model)
        self.progress: Progress = Silent()
        # A derived cell may hold units that nothing reads: all edges of their node chose "none".
        self._forward = parallel.wrap(self.model, unused=True)
        self._weights = list(self.model.parameters())
        self._after_step = AfterStep(self.model)
        self._flips = SignFlips(self.model)
        self.optimizer = _optimizer(self._weights, params)
        # A schedule inside the model (IR-Net's estimator, drop path) would be frozen into a captured graph.
        scheduled = params.drop_path > 0 or any(
            hasattr(m, "set_progress") and not isinstance(m, DropPath) for m in model.modules()
        )
        capture = self.runtime.capture and not scheduled and parallel.world_size == 1
        self._gradient = GraphedStep(self._gradient_eager, capture, self.model.buffers())

    def run(self, checkpoint: Checkpointer, progress: Progress) -> RetrainResult:
        """All epochs, or those that are left."""
        self.progress = progress
        rows: list[dict[str, float]] = []
        saved = checkpoint.load()
        if saved is not None:
            with restoring(checkpoint):
                rows = list(saved["rows"])
                self.model.load_state_dict(saved["model"])
                self.optimizer.load_state_dict(saved["optimizer"])
                self._flips.restart()
        for epoch in range(len(rows), self.params.epochs):
            row = self.epoch(epoch)
            if not finite(row, self.model):
                remedy = "lower retrain.lr or retrain.grad_clip"
                raise diverged("training", row, self.params.epochs, remedy, checkpoint)
            rows.append(row)
            checkpoint.save({"rows": rows, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})
            progress.epoch("retrain", epoch + 1, self.params.epochs, row)
        return RetrainResult(rows, {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()})

    def epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training images."""
        params = self.params
        torch.manual_seed(seed_of(self.seed, "epoch", epoch) + self.parallel.rank)
        set_progress(self.model, epoch / params.epochs)
        steps = self.part.size // params.batch_size
        total = steps * params.epochs
        sums = torch.zeros(3, device=self.runtime.device)
        lr = params.lr
        batches = self.part.batches(
            params.batch_size,
            device=self.runtime.device,
            augment=True,
            seed=seed_of(self.seed, "retrain"),
            epoch=epoch,
            drop_last=True,
            rank=self.parallel.rank,
            world_size=self.parallel.world_size,
        )
        for step, (images, labels) in enumerate(batches):
            lr = learning_rate(params, (epoch * steps + step) / max(1, total - 1))
            self.optimizer.lr = lr
            (batch_sums,) = self._gradient(images, labels)
            sums += batch_sums
            if params.grad_clip is not None:
                nn.utils.clip_grad_norm_(self._weights, params.grad_clip, foreach=True)
            self.optimizer.step()
            self._after_step()
            self.progress.step(step + 1, steps, params.batch_size)
        loss, correct, n = self.parallel.sum(sums).tolist()
        flips, flip_rate = self._flips.measure()
        measured = {"train_loss": loss / n, "train_top1": correct / n, "flips": flips, "flip_rate": flip_rate}
        return {"epoch": epoch + 1, "lr": lr, **measured}

    def _gradient_eager(self, images: Tensor, labels: Tensor) -> tuple[Tensor]:
        self.optimizer.zero_grad()
        with self.runtime.autocast():
            logits = self._forward(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.params.label_smoothing)
        extra = auxiliary_loss(self.model)
        (loss if extra is None else loss + extra).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            n = torch.full((), labels.shape[0], device=labels.device)
            return (torch.stack([loss.detach() * n, (logits.argmax(1) == labels).sum().float(), n.float()]),)


def _optimizer(weights: list[nn.Parameter], params: RetrainParams) -> Optimizer:
    if params.optimizer == "adam":
        return Adam(weights, params.lr, weight_decay=params.weight_decay)
    return SGD(weights, params.lr, momentum=params.momentum, weight_decay=params.weight_decay, nesterov=params.nesterov)
