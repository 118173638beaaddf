"""The stage ``evaluate``: test accuracy; the only stage that is handed the test split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bars.binarize.layers import is_fully_binarized
from bars.data import Part
from bars.params import EvaluateParams, RuntimeParams
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.files import sha256_file
from bars.stages.files import (
    CHECKPOINT,
    announce,
    distribution_of,
    genotype_of,
    load_state,
    open_for,
    read_state,
    split_of,
)
from bars.stages.job import Job, Write
from bars.stages.networks import build, count
from bars.training.runtime import Runtime


def run(job: Job) -> Write:
    """Evaluate: the trained network on the test part, which no other stage opens -> metrics."""
    announce(job)
    experiment, view, split = job.experiment, job.view, split_of(job)
    genotype, found = genotype_of(job), distribution_of(job)
    num_classes = len(split.classes)
    model = build(experiment.network, view, genotype, num_classes, split.image_size)
    checkpoint = job.input("checkpoint.pt")
    load_state(model, read_state(checkpoint, CHECKPOINT), checkpoint)
    result = evaluate(model, view.evaluate, view.runtime, open_for(job, split, "test"))
    cost = count(experiment.network, view, genotype, num_classes, split.image_size)
    fully_binarized, float_parts = is_fully_binarized(model)
    metrics = rec.Metrics(
        experiment=experiment.name,
        group=experiment.group,
        scale=experiment.scale,
        slot=experiment.slot,
        dataset=split.dataset,
        seed=job.seed,
        split="test",
        n_examples=result.n_examples,
        top1=result.top1,
        loss=result.loss,
        **cost._asdict(),
        equivalent_ops_64=cost.equivalent(64),
        equivalent_ops_32=cost.equivalent(32),
        fully_binarized=fully_binarized,
        float_parts=float_parts,
        search_status=None if found is None else found.status,
        search_failures=() if found is None else found.verdict.failures,
        genotype_sha256=None if genotype is None else genotype.sha256,
        split_sha256=sha256_file(job.input(paths.SPLIT)),
        checkpoint_sha256=sha256_file(checkpoint),
    )
    return lambda folder: rec.write_record(folder / "metrics.json", metrics)


@dataclass(frozen=True)
class EvaluateResult:
    """Top-1 accuracy (a fraction) and mean cross-entropy over ``n_examples`` test images."""

    n_examples: int
    top1: float
    loss: float


@torch.no_grad()
def evaluate(model: nn.Module, params: EvaluateParams, runtime: RuntimeParams, test: Part) -> EvaluateResult:
    """Evaluate ``model`` with its running BN statistics."""
    resolved = Runtime.resolve(runtime)
    model.to(resolved.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    loss_sum, correct = 0.0, 0
    for images, labels in test.batches(
        params.batch_size, device=resolved.device, augment=False, seed=0, epoch=0, drop_last=False
    ):
        with resolved.autocast():
            logits = model(images).float()
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum").double())
        correct += int((logits.argmax(1) == labels).sum())
    return EvaluateResult(test.size, correct / test.size, loss_sum / test.size)
