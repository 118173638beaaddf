"""One of several processes of test_parallel.py: ``python -m tests.training.two_processes OUT RANK SIZE``.

With SIZE 1 it computes the same as one process. Everything the test compares is saved by every process.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bars.data import make_split, open_part, read_split
from bars.models.network import Network
from bars.models.supernet import Sample, Supernet
from bars.params import BinarizeParams, DataParams, RetrainParams, RuntimeParams
from bars.pipeline.records import write_json
from bars.space import SearchSpace
from bars.stages.retrain import Trainer
from bars.stages.search import Search
from bars.strategy.distribution import Distribution
from bars.training.checkpoint import FileCheckpointer, NoCheckpoint
from bars.training.parallel import Parallel
from bars.training.progress import Silent
from tests.architectures import random_genotype, space_params
from tests.blocks import block, search_params

SPACE = space_params(stages=2, cells_per_stage=1, init_channels=4, nodes=2)
# Sums of an odd number of signs are never zero, where rounding would decide a gradient: equal to the last digits.
ODD = space_params(stages=1, cells_per_stage=2, init_channels=5, nodes=3, widths=(0.6, 1.0))
BINARIZE = block(BinarizeParams)
RUNTIME = block(RuntimeParams, device="cpu", threads=1)
DATA = block(DataParams, source="digits", image_size=8, max_train=50, max_test=10, crop_padding=1)
SEARCH = search_params(
    epochs=1,
    batch_size=16,
    warmup_epochs=0,
    temperature={"start": 1.0, "end": 0.5, "shape": "linear"},
    entropy_weight={"start": -0.01, "end": 0.01, "shape": "linear"},
    budget={"biops": 40000},
    weight_lr_end=0.001,
    alpha_lr=0.02,
)
RETRAIN = block(RetrainParams, epochs=1, batch_size=32, optimizer="sgd", lr=0.05)


def gradients(parallel: Parallel, sampling: str) -> dict[str, Tensor]:
    """In float64: the supernet's weight and sample gradients on this process's slice of one batch, put together."""
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    model = Supernet(ODD, BINARIZE, 8, 10).train()
    images, labels = torch.randn(12, 3, 8, 8), torch.randint(0, 10, (12,))
    distribution = Distribution(SearchSpace.from_params(ODD), 0.1, torch.Generator().manual_seed(2))
    drawn = distribution.sample(sampling, 1.0, torch.Generator().manual_seed(4))
    given = [t for t in (drawn.op, drawn.depth, drawn.width) if t is not None]
    leaves = [t.detach().double().requires_grad_() for t in given]
    parallel.synchronise(model)
    network = parallel.wrap(model, unused=sampling == "hard")
    share = slice(12 * parallel.rank // parallel.world_size, 12 * (parallel.rank + 1) // parallel.world_size)

    def loss(call: nn.Module) -> Tensor:
        logits = call(images[share], Sample(*leaves, genotype=drawn.genotype))
        return F.cross_entropy(logits, labels[share])

    loss(network).backward()
    found = {f"{sampling} {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for i, g in enumerate(torch.autograd.grad(loss(model), leaves, materialize_grads=True)):
        found[f"{sampling} sample {i}"] = parallel.mean(g.clone())
    torch.set_default_dtype(torch.float32)
    return found


def statistics(parallel: Parallel) -> dict[str, Tensor]:
    """In float64: running statistics and output of a derived network after two steps."""
    torch.manual_seed(4)
    torch.set_default_dtype(torch.float64)
    genotype = random_genotype(SearchSpace.from_params(ODD), random.Random(6))
    model = Network(ODD, BINARIZE, genotype, 8, 10).train()
    images = torch.randn(2, 12, 3, 8, 8)
    parallel.synchronise(model)
    network = parallel.wrap(model)
    share = slice(12 * parallel.rank // parallel.world_size, 12 * (parallel.rank + 1) // parallel.world_size)
    for batch in images:
        network(batch[share]).square().mean().backward()
    found = {f"network {name}": value for name, value in model.named_buffers()}
    found |= {f"network {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    found["network output"] = model.eval()(images[0]).detach()
    torch.set_default_dtype(torch.float32)
    return found


def stages(parallel: Parallel, folder: Path) -> dict[str, Any]:
    """Both stages as the command line calls them, one step each."""
    split_file = folder / f"split-{parallel.rank}.json"
    write_json(split_file, make_split(DATA))
    split = read_split(split_file, DATA)
    train, valid, whole = (open_part(DATA, split, name) for name in ("train", "valid", "train+valid"))
    searched = Search(SPACE, BINARIZE, SEARCH, RUNTIME, train, valid, 0, parallel).run(NoCheckpoint(), Silent())
    torch.manual_seed(0)
    genotype = random_genotype(SearchSpace.from_params(SPACE), random.Random(0))
    model = Network(SPACE, BINARIZE, genotype, 8, 10)
    trained = Trainer(model, RETRAIN, RUNTIME, whole, 0, parallel).run(NoCheckpoint(), Silent())
    return {
        "search": searched.epochs,
        "alphas": torch.tensor([row.logit for row in searched.alphas]),
        "supernet": searched.state,
        "retrain": trained.epochs,
        "weights": trained.state,
    }


def shared_checkpoint(parallel: Parallel, folder: Path) -> Any:
    """The main process's file is what every process loads; no other process writes."""
    own = FileCheckpointer(folder / f"state-{parallel.rank}.pt")
    shared = parallel.checkpointer(own)
    first = shared.load()
    shared.save({"rank": parallel.rank, "values": torch.arange(3) + parallel.rank})
    second = shared.load()
    return {"first": first, "second": second, "wrote": own.path.exists()}


def main(out: str, rank: int, size: int) -> None:
    torch.set_num_threads(1)
    folder = Path(out)
    own = folder / f"of-{size}"
    own.mkdir(exist_ok=True)
    with Parallel.join(rank, size, "cpu") as parallel:
        parts: dict[str, Callable[[], Any]] = {
            "float64": lambda: gradients(parallel, "gumbel") | gradients(parallel, "hard") | statistics(parallel),
            "stages": lambda: stages(parallel, own),
            "checkpoint": lambda: shared_checkpoint(parallel, own),
        }
        torch.save({name: part() for name, part in parts.items()}, folder / f"{rank}-of-{size}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
