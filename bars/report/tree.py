"""Reading a results tree: what the grid declares, what of it is there, and what is missing and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bars.errors import RecordError
from bars.pipeline import latency, records
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.latency_record import Latency, NetworkLatency
from bars.pipeline.load import Params
from bars.pipeline.predictions import Predictions, read_predictions
from bars.pipeline.records import AlphaRow, Candidate, Metrics, SearchEpoch, Verdict
from bars.report import text
from bars.report.artifacts import ALPHAS, CANDIDATES, DISTRIBUTION, EPOCHS, GENOTYPE, METRICS, PREDICTIONS, path_of
from bars.report.paper import table1, table2

if TYPE_CHECKING:
    from bars.space import Genotype

T = TypeVar("T")


@dataclass(frozen=True)
class Runs:
    """The runs of one experiment at one scale: its place in the grid, and the metrics of the seeds that are there."""

    name: str
    scale: str
    experiment: Experiment | None
    metrics: Mapping[int, Metrics]

    @property
    def declared(self) -> tuple[int, ...]:
        """Seeds the grid asks for; none where it is not run at this scale."""
        return () if self.experiment is None or self.experiment.reason else self.experiment.seeds

    @property
    def missing(self) -> tuple[int, ...]:
        """Declared seeds without a result."""
        return tuple(seed for seed in self.declared if seed not in self.metrics)

    @property
    def dataset(self) -> str | None:
        """Label of the data set that was evaluated."""
        return next((m.dataset for m in self.metrics.values()), None)

    @property
    def split(self) -> str | None:
        """Hash of the split that was evaluated."""
        return next((m.split_sha256 for m in self.metrics.values()), None)

    @property
    def files(self) -> tuple[str, ...]:
        """The metrics files read, relative to the results folder; the provenance.json beside each leads to the data."""
        if self.experiment is None:
            return ()
        return tuple(path_of(self.experiment, METRICS, seed) for seed in self.metrics)

    @property
    def absence(self) -> str:
        """Why there is no complete result; empty when every declared seed is there."""
        if self.experiment is None:
            return "not in the grid"
        if self.experiment.reason:
            return f"not run: {self.experiment.reason}"
        if not self.metrics:
            return f"no result yet ({text.seeds(self.declared)})"
        if self.missing:
            return f"incomplete: no result of {text.seeds(self.missing)}"
        return ""

    def values(self, key: str) -> dict[int, float]:
        """One number of metrics.json by seed."""
        return {seed: float(getattr(metrics, key)) for seed, metrics in self.metrics.items()}


class Results:
    """A results folder at one scale. Files are checked as they are read: a missing one is absent, a bad one raises."""

    def __init__(self, params: Params, scale: str | None, folder: Path) -> None:
        self.params, self.folder = params, folder
        self.grid = Grid(params, scale)
        self.scale = self.grid.scale
        self.opened: set[str] = set()
        self._runs: dict[str, Runs] = {}

    def experiment(self, name: str) -> Experiment | None:
        """The experiment, or None if the grid does not have it."""
        return self.grid.experiments.get(name)

    def label(self, name: str) -> str:
        """Name for tables and figures."""
        experiment = self.experiment(name)
        return experiment.label if experiment else name

    def beside(self, name: str, printed: str) -> str:
        """A printed name, and the label that params.yaml gives the experiment where it gives one."""
        label = self.label(name)
        return printed if label == name else f"{printed}: {label}"

    def title(self, name: str) -> str:
        """What an experiment is called: as the paper's tables print it, with the label that params.yaml gives it."""
        printed = {row.experiment: row.label for row in table1()} | {row.experiment: row.label for row in table2()}
        return self.beside(name, printed[name]) if name in printed else self.label(name)

    def aside(self, name: str) -> str:
        """The label that params.yaml gives an experiment, in brackets; nothing where it gives none."""
        label = self.label(name)
        return "" if label == name else f" ({label})"

    def absence(self, name: str, what: str) -> str:
        """Why an experiment has no ``what``."""
        experiment = self.experiment(name)
        if experiment is None:
            return "not in the grid"
        return f"not run: {experiment.reason}" if experiment.reason else f"no {what} yet"

    @property
    def read(self) -> list[Runs]:
        """The runs that were asked for so far."""
        return list(self._runs.values())

    def runs(self, name: str) -> Runs:
        """All declared runs of an experiment. Raises RecordError where its seeds are not of one data set."""
        if name not in self._runs:
            experiment = self.experiment(name)
            self._runs[name] = Runs(name, self.scale, experiment, self._each(name, METRICS, records.read_metrics))
            for seed, metrics in self._runs[name].metrics.items():
                assert experiment is not None
                path = self.folder / path_of(experiment, METRICS, seed)
                expected = {"scale": self.scale, "experiment": name, "seed": seed, "slot": experiment.slot}
                for key, value in expected.items():
                    _expect(path, key, getattr(metrics, key), value)
            check_one_split([self._runs[name]])
        return self._runs[name]

    def beyond(
        self, printed: Collection[str], *groups: str, only: Callable[[Experiment], bool] = lambda _: True
    ) -> list[Runs]:
        """Experiments of some groups that are trained at this scale, and not printed in the paper; ``only`` those."""
        rows = [e for e in self.grid if e.group in groups and e.name not in printed and only(e)]
        return [self.runs(e.name) for e in rows if e.reason is None and e.evaluated]

    def genotypes(self, name: str) -> dict[int, Genotype]:
        """Derived architectures by seed."""
        return self._each(name, GENOTYPE, records.read_genotype)

    def alphas(self, name: str) -> dict[int, list[AlphaRow]]:
        """Logged distributions of the search by seed."""
        return self._each(name, ALPHAS, records.read_alphas)

    def epochs(self, name: str) -> dict[int, list[SearchEpoch]]:
        """Log of the search by seed."""
        return self._each(name, EPOCHS, records.read_search_epochs)

    def search_verdicts(self, name: str) -> dict[int, Verdict]:
        """What the search said of itself when it ended, by seed."""
        return {
            seed: found.verdict for seed, found in self._each(name, DISTRIBUTION, records.read_distribution).items()
        }

    def candidates(self, name: str) -> dict[int, list[Candidate]]:
        """Candidates of the derivation by seed."""
        return self._each(name, CANDIDATES, records.read_candidates)

    def predictions(self, name: str) -> dict[int, Predictions]:
        """What the network said of each test image, by seed; none of a run without metrics. Raises RecordError."""
        metrics, found = self.runs(name).metrics, self._each(name, PREDICTIONS, read_predictions)
        for seed, predictions in found.items():
            if seed in metrics:
                got = (len(predictions.labels), int(predictions.right.sum()))
                wanted = (metrics[seed].n_examples, round(metrics[seed].top1 * metrics[seed].n_examples))
                if got != wanted:
                    raise RecordError(
                        "predictions of another evaluation than the metrics beside them",
                        where=f"{name}, seed {seed}, {PREDICTIONS}",
                        got=f"{got[1]} of {got[0]} right",
                        allowed=f"{wanted[1]} of {wanted[0]}",
                        do="remove the folder and run evaluate again",
                    )
        return {seed: predictions for seed, predictions in found.items() if seed in metrics}

    @cached_property
    def latency(self) -> Latency | None:
        """The times of the scale's networks, where they were taken. Raises RecordError for another scale's."""
        for name in latency.outputs(self.grid)[:1]:
            self.opened.add(name)
            if (self.folder / name).is_file():
                found = records.read_record(self.folder / name, Latency)
                _expect(self.folder / name, "scale", found.scale, self.scale)
                return found
        return None

    def times(self, name: str) -> NetworkLatency | None:
        """Those of one network. Raises RecordError where they are not of the network that was evaluated."""
        networks = self.latency.networks if self.latency else ()
        found = next((network for network in networks if network.experiment == name), None)
        metrics = None if found is None else self.runs(name).metrics.get(found.seed)
        if found is None or metrics is None:
            return None
        if found.checkpoint_sha256 != metrics.checkpoint_sha256:
            raise RecordError(
                "times of another network than the one that was evaluated",
                where=f"{name}, seed {found.seed}",
                got=f"checkpoint {found.checkpoint_sha256[:12]}",
                allowed=metrics.checkpoint_sha256[:12],
                do="take them again: bars latency",
            )
        return found

    def _each(self, name: str, file: str, read: Callable[[Path], T]) -> dict[int, T]:
        experiment = self.experiment(name)
        if experiment is None or experiment.reason or experiment.maker(file.partition("/")[0]) is None:
            return {}
        found = {}
        for seed in experiment.seeds:
            path = path_of(experiment, file, seed)
            self.opened.add(path)
            if (self.folder / path).is_file():
                found[seed] = read(self.folder / path)
        return found


def _expect(path: Path, key: str, value: object, expected: object) -> None:
    if value != expected:
        raise RecordError(
            "a result of another run",
            where=f"{path}, {key}",
            got=value,
            allowed=str(expected),
            do="run it again; results are not to be moved between folders",
        )


def check_one_split(many: Iterable[Runs]) -> None:
    """Runs of one data set must have been evaluated on one split. Raises RecordError."""
    seen: dict[str, tuple[str, str, str]] = {}
    for runs in many:
        for seed, metrics in runs.metrics.items():
            assert runs.experiment is not None
            here = (metrics.dataset, metrics.split_sha256, f"{runs.name}, seed {seed}")
            first = seen.setdefault(runs.experiment.dataset, here)
            if first[:2] != here[:2]:
                raise RecordError(
                    "results of different data sets or splits cannot stand in one row or table",
                    where=f"{here[2]} against {first[2]}",
                    got=f"{here[0]} {here[1][:12]}, {first[0]} {first[1][:12]}",
                    do="run the older one again",
                )


def refuse_empty(results: Results, many: Sequence[Runs], name: str) -> None:
    """Raise RecordError where no experiment of a table or figure has a result."""
    if not any(runs.metrics for runs in many):
        target = f"results/{name}.csv" if name.startswith("table") else f"figures/{name}.pdf"
        raise RecordError(
            f"nothing to put into {name}: no experiment of it has a result at scale {results.scale}",
            where=str(results.folder / results.scale),
            allowed="at least one evaluate/metrics.json",
            do=f"run the experiments first: snakemake --cores 2 {target}",
        )
