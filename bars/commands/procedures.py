"""The stages' procedures between files and values: one small function each, which returns what writes its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bars.binarize.layers import is_fully_binarized
from bars.commands.job import Job, Write
from bars.commands.networks import build_network, network_cost
from bars.cost import genotype_cost
from bars.data import Part, Split, open_part, read_split
from bars.data.part import PartName
from bars.errors import CheckpointError
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.files import sha256_file
from bars.space import Genotype, SearchSpace
from bars.stages.checkpoint import FileCheckpointer, load_tensors, save_tensors
from bars.stages.derive import Draw, candidate_row, random_candidate
from bars.stages.derive import derive as run_derive
from bars.stages.evaluate import evaluate as run_evaluate
from bars.stages.parallel import Parallel
from bars.stages.ranking import rank
from bars.stages.retrain import retrain as run_retrain
from bars.stages.runtime import Runtime, seed_of
from bars.stages.search import search as run_search

SUPERNET, CHECKPOINT = "bars-supernet/1", "bars-checkpoint/1"


def search(job: Job) -> Write:
    """Search: the split's train and valid halves -> logs, distribution, supernet."""
    _announce(job)
    view, split = job.view, _split(job)
    with Parallel.join(*job.processes, Runtime.resolve(view.runtime).device) as parallel:
        result = run_search(
            view.space,
            view.binarize,
            view.search,
            view.runtime,
            _open(job, split, "train"),
            _open(job, split, "valid"),
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


def derive(job: Job) -> Write:
    """Derive: distribution and supernet (or a budget, or a given genotype) -> candidates and one genotype."""
    sources = {
        "searched": _derive_searched,
        "random": _derive_random,
        "ranked": _derive_ranked,
        "fixed": _derive_fixed,
    }
    genotype, rows = sources[job.experiment.kind](job)
    candidates = [rec.Candidate.model_validate(row) for row in rows]

    def write(folder: Path) -> None:
        rec.write_candidates(folder / "candidates.csv", candidates)
        rec.write_json(folder / "genotype.json", genotype.to_json())

    return write


def _derive_searched(job: Job) -> tuple[Genotype, list[dict[str, Any]]]:
    _announce(job)
    view = job.view
    result = run_derive(
        view.space,
        view.binarize,
        view.derive,
        view.runtime,
        view.budget_biops,
        _open(job, _split(job), "valid"),
        rec.read_distribution(job.input("distribution.json")).model_dump(mode="json"),
        read_state(job.input("supernet.pt"), SUPERNET),
        job.seed,
    )
    return result.genotype, result.candidates


def _derive_random(job: Job) -> tuple[Genotype, list[dict[str, Any]]]:
    view, split = job.view, _split(job)
    draw = random_candidate(view.space, view.derive, view.budget_biops, split.image_size, len(split.classes), job.seed)
    return draw.genotype, [_unscored(job, draw, split)]


def _derive_ranked(job: Job) -> tuple[Genotype, list[dict[str, Any]]]:
    _announce(job)
    view = job.view
    states = [read_state(path, SUPERNET) for path in job.inputs("supernet.pt")]
    ranked = rank(
        view.space,
        view.binarize,
        view.derive,
        view.runtime,
        view.budget_biops,
        _open(job, _split(job), "valid"),
        dict(zip(view.rank_seeds, states, strict=True)),
        job.seed,
    )
    return ranked.genotype, ranked.candidates


def _derive_fixed(job: Job) -> tuple[Genotype, list[dict[str, Any]]]:
    genotype = Genotype.from_json(job.view.genotype, SearchSpace.from_params(job.view.space))
    return genotype, [_unscored(job, Draw(genotype, 0), _split(job))]


def _unscored(job: Job, draw: Draw, split: Split) -> dict[str, Any]:
    """The only candidate of a derivation without a supernet to score it."""
    cost = genotype_cost(job.view.space, draw.genotype, split.image_size, len(split.classes))
    return candidate_row(0, draw, cost, None, chosen=True)


def retrain(job: Job) -> Write:
    """Retrain: the network, from scratch, on train and valid together -> log and checkpoint."""
    _announce(job)
    view, part = job.view, _open(job, _split(job), "train+valid")
    torch.manual_seed(seed_of(job.seed, "network"))
    model = _network(job, part.num_classes, part.image_size)
    checkpointer = FileCheckpointer(job.checkpoint)
    with Parallel.join(*job.processes, Runtime.resolve(view.runtime).device) as parallel:
        result = run_retrain(model, view.retrain, view.runtime, part, job.seed, checkpointer, job.progress, parallel)

    def write(folder: Path) -> None:
        epochs = [rec.RetrainEpoch.model_validate(row) for row in result.epochs]
        rec.write_retrain_epochs(folder / "epochs.csv", epochs)
        content = {"format": CHECKPOINT, "state": result.state, "num_classes": part.num_classes}
        save_tensors(content, folder / "checkpoint.pt")

    return write


def evaluate(job: Job) -> Write:
    """Evaluate: the trained network on the test part, which no other stage opens -> metrics."""
    _announce(job)
    experiment, view, split = job.experiment, job.view, _split(job)
    genotype, found = _genotype(job), _distribution(job)
    num_classes = len(split.classes)
    model = build_network(view, genotype, num_classes, split.image_size)
    checkpoint = job.input("checkpoint.pt")
    load_state(model, read_state(checkpoint, CHECKPOINT), checkpoint)
    result = run_evaluate(model, view.evaluate, view.runtime, _open(job, split, "test"))
    cost = network_cost(view, genotype, num_classes, split.image_size)
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


PROCEDURES: Mapping[str, Callable[[Job], Write]] = {
    "search": search,
    "derive": derive,
    "retrain": retrain,
    "evaluate": evaluate,
}


def device_memory_mb() -> float | None:
    """Peak memory of this process on a CUDA device in MiB; None if it used none."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return round(peak / 2**20, 1) if peak else None


def forget(checkpoint: Path) -> None:
    """Remove a checkpoint whose stage is done."""
    FileCheckpointer(checkpoint).clear()
    with contextlib.suppress(OSError):
        checkpoint.parent.rmdir()


# ----------------------------------------------------------------------------------------------------- helpers
def _announce(job: Job) -> None:
    """Resolve the device once, loudly, and keep its name for the provenance."""
    runtime = job.view.runtime
    device = Runtime.resolve(runtime, job.progress.note).device
    job.run.device = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    job.run.threads = runtime.threads


def _split(job: Job) -> Split:
    return read_split(job.input(paths.SPLIT), job.view.data)


def _open(job: Job, split: Split, part: PartName) -> Part:
    return open_part(job.view.data, split, part)


def _genotype(job: Job) -> Genotype | None:
    if job.experiment.kind == "baseline":
        return None
    return rec.read_genotype(job.input("genotype.json"), SearchSpace.from_params(job.view.space))


def _network(job: Job, num_classes: int, image_size: int) -> nn.Module:
    return build_network(job.view, _genotype(job), num_classes, image_size)


def _distribution(job: Job) -> rec.Distribution | None:
    """The outcome of the search behind the network, if there is one."""
    return rec.read_distribution(job.input("distribution.json")) if job.experiment.searches() else None


def read_state(path: Path, expected: str) -> dict[str, torch.Tensor]:
    """The weights in a stage's file of tensors. Raises CheckpointError."""
    content = load_tensors(path)
    state = content.get("state")
    if content.get("format") != expected or not isinstance(state, dict):
        raise CheckpointError(
            "not the expected file of weights", where=str(path), got=content.get("format"), allowed=expected, do=_AGAIN
        )
    foreign = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if foreign:
        raise CheckpointError(
            "not only weights are in the file of weights", where=str(path), got=str(foreign[:3]), do=_AGAIN
        )
    return state


def load_state(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give a network its weights. Raises CheckpointError, naming the file, if they are another one's."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError("the weights are of another network", where=str(path), got=reason, do=_AGAIN) from None


_AGAIN = "remove the folder and run its stage again"
