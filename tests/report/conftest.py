"""Hand-written results trees: no training, every value a plain rule of experiment and seed."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bars.cost import genotype_cost
from bars.pipeline import paths, records
from bars.pipeline.experiments import Experiment, Grid, num_classes
from bars.pipeline.latency_record import Latency
from bars.pipeline.load import Params, load_params
from bars.pipeline.predictions import Predictions, write_predictions
from bars.report.tree import Results
from bars.space import NONE, SHORTCUT, Genotype, SearchSpace, StageGenotype
from bars.strategy.distribution import Distribution

PARAMS = Path(__file__).parent / "params.yaml"
CONV3, CONV5 = "binary_conv_3x3", "binary_conv_5x5"
RANKED_ORDER = {0: 3, 1: 0, 2: 4, 3: 1, 4: 2}  # from the worst architecture to the best
TOP1 = {
    "bars-a": 0.90, "bars-b": 0.93, "bars-c": 0.945, "bars-d": 0.60, "bars-e": 0.66,
    "normal-reduction-cell": 0.915, "without-width-search": 0.925, "without-depth-search": 0.922,
    "without-gumbel-softmax": 0.60, "without-cell-shortcut": 0.52, "without-entropy-reg": 0.926,
    "without-flops-reg": 0.931, "without-sampling-in-derive": 0.91, "collapsed-search": 0.62, "failed-search": 0.58,
    "failed-search-stabilised": 0.92,
    "compact": 0.87, "compact-x1.25": 0.885, "compact-x1.5": 0.90, "compact-x2": 0.915,
    "resnet18-xnor": 0.89, "resnet18-bireal": 0.895, "resnet34-xnor": 0.905, "wrn40-xnor": 0.91, "nin-xnor": 0.85,
    "resnet18-cbcn": 0.90, "resnet18-irnet": 0.902, "bnas": 0.92, "resnet18-react": 0.918,
    "resnet18-xnor-wider": 0.912, "without-op-shortcut": 0.9, "plain-strided-convolution": 0.92,
    "random-a": 0.88, "random-architecture": 0.915, "random-c": 0.925, "random-d": 0.55, "random-e": 0.6, "ranked": 0.9,
    "random-a-matched": 0.885, "random-b-matched": 0.917, "random-c-matched": 0.93, "random-d-matched": 0.56,
    "random-e-matched": 0.61,
    "imagenet-resnet18-abc": 0.50, "imagenet-resnet18-xnor": 0.55, "imagenet-resnet18-xnor-fp": 0.61,
    "imagenet-bidensenet-xnor": 0.60, "imagenet-resnet18-bireal": 0.63, "imagenet-resnet18-pcnn": 0.64,
    "imagenet-bnas": 0.65,
}  # fmt: skip
COUNTS = {"resnet34-xnor": (90_000, 40_000_000, 1_300_000), "bnas": (900_000, 30_000_000, 700_000)}


TIMED = ("bars-a", "bars-b", "bars-c", "resnet18-xnor", "nin-xnor", "bars-d")


def spread(value: float) -> dict[str, float]:
    """A median with quartiles a tenth around it."""
    return {"median": value, "low": 0.9 * value, "high": 1.1 * value}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Tree:
    """Writes stage files where the grid says they lie."""

    def __init__(self, folder: Path, scale: str = "tiny", params: Path = PARAMS) -> None:
        self.folder, self.params = folder, load_params(params)
        self.grid = Grid(self.params, scale)

    @property
    def results(self) -> Results:
        return Results(self.params, self.grid.scale, self.folder)

    def path(self, name: str, stage: str, file: str, seed: int) -> Path:
        return self.folder / self.grid[name].file(stage, file, seed)

    # ---------------------------------------------------------------------------------------------- metrics
    def metrics(self, name: str, seed: int, **values: Any) -> None:
        experiment = self.grid[name]
        flops, biops, params = values.pop("counts", COUNTS.get(name, (60_000, 20_000_000, 600_000)))
        searched = experiment.kind != "baseline"
        record = {
            "experiment": name,
            "group": experiment.group,
            "scale": self.grid.scale,
            "slot": experiment.slot,
            "dataset": experiment.data.name,
            "seed": seed,
            "split": "test",
            "n_examples": 360,
            "top1": 0.9,
            "class_top1": dict.fromkeys(map(str, range(10)), values.get("top1", 0.9)),
            "loss": 0.5,
            "flops": flops,
            "biops": biops,
            "params": params,
            "equivalent_ops_64": flops + biops / 64,
            "equivalent_ops_32": flops + biops / 32,
            "fully_binarized": searched or name in ("nin-xnor", "imagenet-resnet18-xnor", "imagenet-resnet18-abc"),
            "float_parts": "" if searched else "FP downsample",
            "search_status": "completed" if searched else None,
            "genotype_sha256": digest(name) if searched else None,
            "split_sha256": digest(experiment.dataset),
            "checkpoint_sha256": digest(f"{name}/{seed}"),
        }
        path = self.path(name, "evaluate", "metrics.json", seed)
        records.write_record(path, records.Metrics(**{**record, **values}))

    def top1(self, name: str, values: Iterable[float], **more: Any) -> None:
        """Metrics of the declared seeds in turn."""
        for seed, value in zip(self.grid[name].seeds, values, strict=False):
            self.metrics(name, seed, top1=value, **more)

    def predictions(self, name: str, seed: int, right: Sequence[bool]) -> None:
        """Write metrics.json and predictions.parquet of a network that is right about these of the test images."""
        labels = np.arange(len(right)) % 10
        said = Predictions(labels, np.where(right, labels, (labels + 1) % 10))
        path = self.path(name, "evaluate", "predictions.parquet", seed)
        write_predictions(path.parent, said, [str(digit) for digit in range(10)])
        self.metrics(name, seed, top1=float(np.mean(right)), n_examples=len(right))

    # ---------------------------------------------------------------------------------------------- search, derive
    def genotype(
        self,
        name: str,
        seed: int,
        choose: Callable[[str, int, int], str],
        depth: int | None | Iterable[int] = None,
        width: float | Iterable[float] = 1.0,
    ) -> Genotype:
        """Write genotype.json; ``choose(cell type, source, target)`` names each edge's primitive."""
        space = SearchSpace.from_params(self.grid[name].space)
        widths = [width] * space.stages if isinstance(width, float) else list(width)
        depth = space.cells_per_stage if depth is None else depth
        depths = [depth] * space.stages if isinstance(depth, int) else list(depth)
        stages = tuple(StageGenotype(d, w) for d, w in zip(depths, widths, strict=True))
        cells = {cell: {edge: choose(cell, *edge) for edge in space.edges} for cell in space.all_types}
        genotype = Genotype(space, stages, cells)
        records.write_json(self.path(name, "derive", "genotype.json", seed), genotype.to_json())
        return genotype

    def alphas(self, name: str, seed: int, probs: Callable[[float, int], Mapping[str, float]]) -> None:
        """Write alphas.parquet; ``probs(share of the search done, number of the edge)`` gives each edge's op probs."""
        experiment = self.grid[name]
        space, epochs = SearchSpace.from_params(experiment.space), experiment.search.epochs
        rows = []
        for epoch in range(epochs + 1):
            for i, (cell, edge) in enumerate(itertools.product(space.all_types, space.edges)):
                for choice, prob in probs(epoch / epochs, i).items():
                    rows.append(records.AlphaRow(epoch, "op", cell, *edge, choice, math.log(prob), prob))
            for stage in range(space.stages):
                n = len(space.depths)
                for depth in space.depths:
                    row = (epoch, "depth", f"stage-{stage + 1}", -1, -1, str(depth), 0.0, 1 / n)
                    rows.append(records.AlphaRow(*row))
        records.write_alphas(self.path(name, "search", "alphas.parquet", seed), rows)

    def epochs(
        self, name: str, seed: int, valid_top1: float, failures: Sequence[str] = (), guess: float | None = math.log(10)
    ) -> None:
        """Write epochs.csv and distribution.json of a search; ``guess`` is the loss of a guess."""
        values = dict.fromkeys(
            set(records.SearchEpoch.model_fields)
            - {"epoch", "train_top1", "valid_top1", "expected_biops", "flips", "flip_rate", "shares"},
            1.0,
        )
        values |= {"flips": 0.2, "flip_rate": 0.1}
        row = records.SearchEpoch(
            epoch=12, train_top1=0.5, valid_top1=valid_top1, expected_biops=1e6, **values, shares={CONV3: 0.5}
        )
        records.write_search_epochs(self.path(name, "search", "epochs.csv", seed), [row])
        end = Distribution(SearchSpace.from_params(self.grid[name].space)).to_json("completed", 12)
        verdict = {"guess_loss": guess, "failures": list(failures)}
        records.write_json(self.path(name, "search", "distribution.json", seed), end | {"verdict": verdict})

    def candidates(self, name: str, seed: int, valid_top1: float) -> None:
        rows = [
            records.Candidate(
                index=i, genotype_sha256=digest(str(i)), valid_loss=1.0 + i, valid_top1=valid_top1 - 0.01 * i,
                biops=1, flops=1, params=1, thrown_away=0, chosen=i == 0, argmax=False, genotype={},
            )
            for i in range(3)
        ]  # fmt: skip
        records.write_candidates(self.path(name, "derive", "candidates.csv", seed), rows)

    def ranked(self, name: str, seed: int) -> None:
        """Three supernets that order the architectures right but for the first two, parameters that do the reverse."""
        told = {0: 1, 1: 0}.get(RANKED_ORDER[seed], RANKED_ORDER[seed])
        rows = [
            records.Candidate(
                index=supernet, genotype_sha256=digest(str(seed)), valid_loss=2.0 - 0.1 * told,
                valid_top1=0.5 + 0.05 * RANKED_ORDER[seed], biops=100 + seed, flops=1, params=50 - RANKED_ORDER[seed],
                thrown_away=0, gradient_norm=1.0 + seed, naswot=None, chosen=supernet == 0, argmax=False, genotype={},
            )
            for supernet in range(3)
        ]  # fmt: skip
        records.write_candidates(self.path(name, "derive", "candidates.csv", seed), rows)

    # ---------------------------------------------------------------------------------------------- times
    def latency(self, ms: Mapping[str, float], speedup: float = 5.0, batch: int = 1, **values: Any) -> None:
        """Write latency.json: milliseconds of a packed image by network; one with "float" in its name has no packed."""
        networks = []
        for name, packed in ms.items():
            seed, floats = self.grid[name].seeds[0], "float" in name
            times = {"openvino float": packed * (1.0 if floats else speedup), "torch": 20 * packed}
            times |= {} if floats else {"packed": packed}
            networks.append(
                {
                    "experiment": name, "seed": seed, "slot": self.grid[name].slot, "image_size": 8,
                    "checkpoint_sha256": digest(f"{name}/{seed}"), "packed_bytes": None if floats else 12_345,
                    "float_bytes": 345_678, "reason": "no convolution of it is binary" if floats else "",
                    "packed_check": None if floats else {"images": 64, "same": 63, "largest_difference": 0.5},
                    "times": [
                        {
                            "batch": batch, "ms_per_image": {key: spread(value) for key, value in times.items()},
                            "speedup": None if floats else spread(speedup),
                        }
                    ],
                }
            )  # fmt: skip
        record = {
            "scale": self.grid.scale, "machine": {"cpu": "A planted CPU", "instructions": "avx2", "torch": "2.0"},
            "threads": 1, "cores": [0], "load": 0.5, "clock": "processor",
            "rounds": 5, "round_ms": 4.0, "networks": networks, **values,
        }  # fmt: skip
        path = self.folder / paths.latency_dir(self.grid.scale) / "latency.json"
        records.write_record(path, Latency.model_validate(record))

    # ---------------------------------------------------------------------------------------------- everything
    def everything(self) -> Tree:
        """Every file that any table or figure reads, told as the paper tells it."""
        for experiment in self.grid.runnable():
            for seed in experiment.seeds:
                self._run(experiment, seed)
        counts = {name: self.results.runs(name).metrics[0] for name in TIMED}
        self.latency({name: 1e-6 * (m.flops + m.biops / 40) for name, m in counts.items()})
        return self

    def _run(self, experiment: Experiment, seed: int) -> None:
        name = experiment.name
        if experiment.in_floats:
            self._search(experiment, seed)
            return
        values: dict[str, Any] = {"top1": TOP1[name] + 0.002 * (seed - 1) + 0.001 * (len(name) % 3 - 1) * (seed % 2)}
        if experiment.kind in ("searched", "random", "matched"):
            genotype = self.genotype(name, seed, chooser(name, seed), depth_of(name), widths_of(experiment))
            classes = num_classes(experiment.data) or 10
            values["counts"] = genotype_cost(experiment.space, genotype, experiment.data.image_size, classes)
            if "search" in experiment.stages:  # not random draws, nor a search taken over
                self._search(experiment, seed)
            self.candidates(name, seed, (0.5 if name == "collapsed-search" else 0.79) + 0.012 * seed)
        elif experiment.kind == "ranked":
            values["top1"] = 0.9 + 0.01 * RANKED_ORDER[seed]
            self.ranked(name, seed)
        elif experiment.kind == "widened":
            genotype = records.read_genotype(self.path(name, "derive", "genotype.json", seed))
            values["counts"] = genotype_cost(experiment.space, genotype, experiment.data.image_size, 10)
        else:
            values["counts"] = COUNTS.get(name, (40_000 + 7_000 * len(name), 1_000_000 * len(name), 30_000 * len(name)))
        self.metrics(name, seed, **values)

    def _search(self, experiment: Experiment, seed: int) -> None:
        collapses = experiment.name in ("collapsed-search", "failed-search", "without-gumbel-softmax")
        primitives = experiment.space.primitives
        self.alphas(experiment.name, seed, lambda share, edge: probs(primitives, share, edge + 7 * seed, collapses))
        self.epochs(experiment.name, seed, 0.8 + 0.01 * seed)


def chooser(name: str, seed: int) -> Callable[[str, int, int], str]:
    """Convolutions early, shortcuts late; shortcuts only where the search fails."""

    def choose(cell: str, source: int, target: int) -> str:
        if name in ("failed-search", "collapsed-search", "without-gumbel-softmax") and cell.startswith("normal"):
            return SHORTCUT
        mark = (source + 2 * target + seed) % 5
        if name == "failed-search-stabilised":
            return (CONV5, SHORTCUT, CONV5, CONV3, NONE)[mark]
        stage = int(cell.split("-")[1]) if "-" in cell else 2
        late = {1: (CONV3, CONV3, CONV3, SHORTCUT, NONE), 3: (SHORTCUT, SHORTCUT, CONV3, NONE, SHORTCUT)}
        return late.get(stage, (CONV3, SHORTCUT, CONV3, SHORTCUT, NONE))[mark]

    return choose


def depth_of(name: str) -> int | None:
    return {"bars-a": 1}.get(name)


def widths_of(experiment: Experiment) -> float | tuple[float, ...]:
    if not experiment.space.search_width or experiment.slot == "imagenet":
        return 1.0
    return {"bars-a": (0.5, 0.5, 0.75), "bars-b": (0.75, 0.75, 0.75)}.get(experiment.name, 1.0)


def probs(primitives: tuple[str, ...], share: float, edge: int, collapses: bool) -> dict[str, float]:
    """Uniform at first; then either to shortcuts, or each edge to a primitive of its own."""
    favourite = SHORTCUT if collapses else primitives[edge % len(primitives)]
    speed = 9.0 if collapses else 6.0 * share
    logits = {
        p: (speed * share * (1 + 0.2 * math.sin(edge)) if p == favourite else 0.1 * math.sin(edge + i))
        for i, p in enumerate(primitives)
    }
    total = sum(math.exp(logit) for logit in logits.values())
    return {p: math.exp(logit) / total for p, logit in logits.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty results tree."""
    return Tree(tmp_path / "results")


@pytest.fixture(scope="session")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "results"
    Tree(folder).everything()
    return folder


@pytest.fixture
def whole(whole_folder: Path) -> Tree:
    """A complete tree, shared by tests that only read it."""
    return Tree(whole_folder)


@pytest.fixture
def editable(whole_folder: Path, tmp_path: Path) -> Tree:
    """A copy of the complete tree to break."""
    shutil.copytree(whole_folder, tmp_path / "results")
    return Tree(tmp_path / "results")


@pytest.fixture
def params() -> Params:
    return load_params(PARAMS)
