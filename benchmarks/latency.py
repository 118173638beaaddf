"""Time of an image at the paper's size: packed, in floats in the same runtime, in ONNX Runtime, in torch.

The architectures that have the printed counts of BARS-A, -B and -C, and ResNet-18 at full width, on images of 32 x 32.
Their weights are those that training starts from: a time does not depend on them, an accuracy would.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bars.packed.compared import compared
from bars.packed.machine import describe
from bars.packed.network import Network
from bars.packed.timing import by_round, clock_of, quartiles
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.load import load_params
from bars.space import Genotype, SearchSpace
from bars.stages.latency import pinned, written
from bars.stages.networks import build
from benchmarks.options import Options, Tables

NETWORKS = ("bars-a-printed", "bars-b-printed", "bars-c-printed", "resnet18-xnor", "resnet18-bireal", "resnet18-float")
BATCHES, CLASSES, ROUND_S = (1, 64), 10, 0.02


def measure(options: Options) -> Tables:
    """One table per batch size, one row per network; every network and runtime takes its turn in every round."""
    grid = Grid(load_params(Path(__file__).parents[1] / "params.yaml"), "smoke" if options.quick else "paper")
    names = NETWORKS[-2:] if options.quick else NETWORKS
    machine = ", ".join(f"{key} {value}" for key, value in describe().items())
    clock = "processor" if options.threads == 1 else "wall"
    load = f"load average {os.getloadavg()[0]:.1f} before"
    title = f"{options.threads} thread(s), {clock} time, {options.rounds} rounds, {load}; {machine}"
    with pinned(options.threads), tempfile.TemporaryDirectory() as folder:
        many = [_Candidate(grid[name], options.threads, Path(folder)) for name in names]
        for batch in BATCHES:
            yield f"batches of {batch}, {title}", _rows(many, batch, options)


class _Candidate:
    """An untrained network and its files."""

    def __init__(self, experiment: Experiment, threads: int, folder: Path) -> None:
        torch.manual_seed(0)
        view, self.name, self.size = experiment.view("evaluate"), experiment.name, experiment.data.image_size
        genotype = None
        if experiment.genotype is not None:
            genotype = Genotype.from_json(experiment.genotype, SearchSpace.from_params(view.space))
        self.model: nn.Module = build(experiment.network, view, genotype, CLASSES, self.size).eval()
        card: dict[str, Any] = {"classes": [str(i) for i in range(CLASSES)], "image_size": self.size}
        card["genotype"] = None if genotype is None else genotype.to_json()
        network, self.sizes, reason = written(self.model, card, threads, folder)
        if network is None:
            raise RuntimeError(f"{self.name}: {reason}")
        self.network: Network = network
        self.model.to(memory_format=torch.channels_last)

    def calls(self, batch: int, threads: int) -> dict[str, Callable[[], object]]:
        """By runtime."""
        images = np.random.default_rng(0).standard_normal((batch, 3, self.size, self.size), dtype=np.float32)
        features = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        found = {name: functools.partial(run, images) for name, run in compared(self.network, batch, threads).items()}
        return found | {"torch": functools.partial(self.model, features)}


def _rows(many: list[_Candidate], batch: int, options: Options) -> list[dict[str, Any]]:
    calls = {(one.name, name): call for one in many for name, call in one.calls(batch, options.threads).items()}
    with torch.inference_mode():
        seconds, clock = 1e-4 if options.quick else ROUND_S, clock_of(options.threads)
        measured = by_round(calls, max(2, options.rounds), seconds, clock)
    return [_row(one, batch, {name: ms for (of, name), ms in measured.items() if of == one.name}) for one in many]


def _row(one: _Candidate, batch: int, measured: dict[str, list[float]]) -> dict[str, Any]:
    """Milliseconds of an image, median and quartiles; how many times as fast packed is, by the rounds' own ratios."""
    row: dict[str, Any] = {"network": one.name, "batch": batch}
    for name in ("packed", "openvino float", "onnxruntime float", "torch"):
        values = [value / batch for value in measured.get(name, [])]
        row[f"{name} [ms]"] = "{:.3g} ({:.3g} to {:.3g})".format(*quartiles(values)) if values else None
    for name in ("openvino float", "onnxruntime float"):
        pairs = zip(measured[name], measured.get("packed", []), strict=False)
        ratios = [floats / packed for floats, packed in pairs]
        row[f"times as fast as {name}"] = quartiles(ratios)[0] if ratios else None
    return row | {f"{name} [kB]": round(size / 1e3, 1) for name, size in one.sizes.items()}
