"""The stage ``evaluate``: test accuracy; the only stage that is handed the test split."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from bars.binarize.layers import is_fully_binarized
from bars.data import Part
from bars.params import EvaluateParams, RuntimeParams
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.files import sha256_file
from bars.pipeline.predictions import Predictions, write_predictions
from bars.stages.files import announce, distribution_of, genotype_of, open_for, split_of
from bars.stages.job import Job, Write
from bars.stages.networks import count, trained
from bars.training.runtime import Runtime


def run(job: Job) -> Write:
    """Evaluate: the trained network on the test part, which no other stage opens -> metrics, predictions."""
    announce(job)
    experiment, view, split = job.experiment, job.view, split_of(job)
    genotype, found = genotype_of(job), distribution_of(job)
    checkpoint = job.input("checkpoint.pt")
    model = trained(experiment.network, view, genotype, split, checkpoint)
    predictions, loss = evaluate(model, view.evaluate, view.runtime, open_for(job, split, "test"))
    cost = count(experiment.network, view, genotype, len(split.classes), split.image_size)
    fully_binarized, float_parts = is_fully_binarized(model)
    metrics = rec.Metrics(
        experiment=experiment.name,
        group=experiment.group,
        scale=experiment.scale,
        slot=experiment.slot,
        dataset=split.dataset,
        seed=job.seed,
        split="test",
        n_examples=len(predictions.labels),
        top1=predictions.top1,
        class_top1=predictions.class_top1(split.classes),
        loss=loss,
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

    def write(folder: Path) -> None:
        rec.write_record(folder / "metrics.json", metrics)
        write_predictions(folder, predictions, split.classes)

    return write


@torch.no_grad()
def evaluate(model: nn.Module, params: EvaluateParams, runtime: RuntimeParams, test: Part) -> tuple[Predictions, float]:
    """What ``model`` says of each image with its running BN statistics, and its mean cross-entropy over them.

    In float32 whatever ``runtime.precision`` says, as an exported network computes.
    """
    resolved = Runtime.resolve(runtime)
    model.to(resolved.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    loss_sum, seen, said = 0.0, list[torch.Tensor](), list[torch.Tensor]()
    for images, labels in test.batches(
        params.batch_size, device=resolved.device, augment=False, seed=0, epoch=0, drop_last=False
    ):
        logits = model(images)
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum").double())
        seen.append(labels)
        said.append(logits.argmax(1))
    predictions = Predictions(*(torch.cat(parts).cpu().numpy() for parts in (seen, said)))
    return predictions, loss_sum / test.size
