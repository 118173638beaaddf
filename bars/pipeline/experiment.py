"""One resolved row of the grid: its blocks, its stages, and the files, parameters and code of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bars import params as models
from bars.errors import GridError
from bars.pipeline import paths
from bars.pipeline.paths import STAGES, Stage
from bars.pipeline.problems import one_of

Kind = Literal["searched", "widened", "random", "matched", "ranked", "fixed", "baseline"]
DATA_MODULES = ("bars.data", "bars.pipeline.records")  # the code of the data stage, and what writes its file

_STAGES_OF: dict[str, tuple[Stage, ...]] = {
    "searched": STAGES,
    "widened": ("retrain", "evaluate"),
    "random": ("derive", "retrain", "evaluate"),
    "matched": ("derive", "retrain", "evaluate"),
    "ranked": ("derive", "retrain", "evaluate"),
    "fixed": ("derive", "retrain", "evaluate"),
    "baseline": ("retrain", "evaluate"),
}


class Blocks:
    """The parameter blocks by name, of which a stage or an experiment has some."""

    data: models.DataParams  # of retrain and evaluate; in the view of search and derive, that of the search
    search_data: models.DataParams  # of search and derive
    space: models.SpaceParams  # its channels already multiplied by width_multiplier
    binarize: models.BinarizeParams
    search: models.SearchParams  # its budget in absolute BiOps
    derive: models.DeriveParams
    retrain: models.RetrainParams
    evaluate: models.EvaluateParams
    runtime: models.RuntimeParams
    model: models.ModelParams  # the hand-made network


class StageView(Blocks):
    """The values one stage may read; reading any other block is an error, so a stage's parameter list is complete."""

    slot: models.Slot  # picks a hand-made network's stem
    budget_biops: int  # of random draws
    rank_seeds: list[int]  # of the supernets that score a ranked architecture, in the order of their files
    genotype: dict[str, Any]  # given in params.yaml

    def __init__(self, stage: str, values: Mapping[str, Any]) -> None:
        vars(self).update(values, _stage=stage)

    if not TYPE_CHECKING:  # which would then let any name pass

        def __getattr__(self, name: str) -> Any:
            """Asked for what was not given."""
            known = vars(self)
            read = ", ".join(key for key in known if key != "_stage")
            raise AttributeError(f"stage {known.get('_stage')} does not read {name}; it reads {read}")


@dataclass(frozen=True)
class Experiment(Blocks):
    """One row of the grid, resolved at one scale. Blocks that do not apply raise GridError when read."""

    name: str
    group: str
    scale: str
    kind: Kind
    slot: models.Slot
    seeds: tuple[int, ...]
    label: str
    extra: bool  # not in the paper
    reason: str | None  # why it is not run at this scale; None: it is run
    dataset: str  # names of its data sets: the slot's, or its own where it changes them
    search_dataset: str
    blocks: Mapping[str, models.Block] = field(repr=False)  # only those that apply; empty when it is not run
    search_from: str | None = None
    genotype_from: str | None = None
    rank_with: str | None = None
    matched_to: str | None = None
    width_multiplier: float = 1.0
    genotype: dict[str, Any] | None = None
    own_recipe: bool = False  # trained with its authors' recipe
    _sources: Mapping[str, Experiment] = field(default_factory=dict, repr=False, compare=False)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages it runs itself, in order."""
        stages = ("search",) if self.in_floats else _STAGES_OF[self.kind]
        return tuple(s for s in stages if s != "search") if self.search_from else stages

    @property
    def evaluated(self) -> bool:
        """Whether its runs end in an accuracy; a search that others are compared with has none."""
        return "evaluate" in self.stages

    @property
    def in_floats(self) -> bool:
        """Whether its search computes in floats: nothing is derived from that."""
        return self.kind == "searched" and self.has("search") and self.search.operations == "float"

    @property
    def network(self) -> str:
        """The module that builds and counts its network: a derived one or a hand-made one."""
        return "bars.models.baselines" if self.kind == "baseline" else "bars.models.network"

    def has(self, block: str) -> bool:
        """Whether a block applies."""
        return block in self.blocks

    def block(self, name: str) -> Any:
        """A block by name. Raises GridError if it does not apply or the experiment is not run at this scale."""
        if name not in self.blocks:
            raise GridError(
                f"{self.name} has no block {name}", where=f"scale {self.scale}", got=self.reason or self.kind
            )
        return self.blocks[name]

    if not TYPE_CHECKING:  # which would then let any name pass

        def __getattr__(self, name: str) -> Any:
            """The blocks, which are no fields."""
            if name not in Blocks.__annotations__:
                raise AttributeError(f"an experiment has no {name}")
            return self.block(name)

    @property
    def budget_biops(self) -> int | None:
        """The budget in BiOps of a searched or random experiment."""
        return self.search.budget.biops if self.has("search") else None

    # -------------------------------------------------------------------------------------------- files
    def dir(self, stage: str, seed: int) -> str:
        """Folder of a stage, relative to the results folder."""
        return paths.stage_dir(self.scale, self.group, self.name, seed, stage)

    def outputs(self, stage: str, seed: int) -> tuple[str, ...]:
        """Files a stage writes, relative to the results folder, provenance.json last."""
        return tuple(f"{self.dir(stage, seed)}/{name}" for name in (*paths.OUTPUTS[stage], paths.PROVENANCE))

    def maker(self, stage: str) -> Experiment | None:
        """Whose stage it is that the run goes through: ``search_from`` and ``genotype_from`` are followed."""
        if stage in self.stages:
            return self
        source = self.genotype_from if self.genotype_from else self.search_from
        return self._sources[source].maker(stage) if source and stage in ("search", "derive") else None

    def file(self, stage: str, name: str, seed: int) -> str:
        """A file of the run wherever it was made. Raises GridError for a stage it does not go through."""
        maker = self.maker(stage)
        if maker is None:
            raise GridError(
                f"{self.name} has no stage {stage}", where=f"scale {self.scale}", allowed=one_of(self.stages)
            )
        return f"{maker.dir(stage, seed)}/{name}"

    def searches(self) -> bool:
        """Whether a search, its own or another's, stands behind its network."""
        if self.kind == "widened" and self.genotype_from:
            return self._sources[self.genotype_from].searches()
        return self.kind == "searched"

    def inputs(self, stage: str, seed: int) -> tuple[str, ...]:
        """Files of earlier stages a stage reads, relative to the results folder."""
        self.require(stage, seed)
        split = paths.split_path(self.scale, self.dataset)
        search_split = paths.split_path(self.scale, self.search_dataset)
        if stage == "search":
            return (search_split,)
        found = [self.file("search", "distribution.json", seed)] if self.searches() else []
        genotype = [] if self.kind == "baseline" else [self.file("derive", "genotype.json", seed)]
        if stage == "derive" and self.kind == "ranked":
            source = self._sources[self.rank_with or ""]
            return (search_split, *(source.file("search", "supernet.pt", s) for s in source.seeds))
        if stage == "derive" and self.kind == "matched":
            return (search_split, self._sources[self.matched_to or ""].file("derive", "genotype.json", seed))
        if stage == "derive" and self.kind == "searched":
            return (search_split, *found, self.file("search", "supernet.pt", seed))
        if stage == "derive":
            return (search_split if self.kind == "random" else split,)
        if stage == "retrain":
            return (split, *genotype)
        return (split, self.file("retrain", "checkpoint.pt", seed), *genotype, *found)

    def modules(self, stage: str) -> tuple[str, ...]:
        """Modules whose import closures are the stage's code; the stage reruns when one of those files changes."""
        self.require(stage)
        if stage == "derive" and self.kind == "ranked":
            return ("bars.stages.derive", "bars.stages.ranking", "bars.data", "bars.models.network")
        trained = (self.network,) if stage in ("retrain", "evaluate") else ()
        return (f"bars.stages.{stage}", "bars.data", *trained)

    # -------------------------------------------------------------------------------------------- parameters
    def view(self, stage: str) -> StageView:
        """The blocks that a stage may read, with the device and the place of the data."""
        return StageView(stage, self._values(stage))

    def stage_params(self, stage: str) -> dict[str, Any]:
        """JSON-able, canonical parameters of a stage; it reruns when they change. Those marked NoRerun are left out."""
        return {
            name: value.deciding(stage) if isinstance(value, models.Block) else value
            for name, value in sorted(self._values(stage).items())
        }

    def _values(self, stage: str) -> dict[str, Any]:
        self.require(stage)
        if stage == "search":
            return self._pick("space", "binarize", "search", "runtime") | {"data": self.search_data}
        network = {"model": self.model, "slot": self.slot} if self.kind == "baseline" else {"space": self.space}
        if stage == "derive" and self.kind == "fixed":
            return network | {"data": self.data, "genotype": self.genotype}
        if stage == "derive":
            values = self._pick("space", "binarize", "derive", "runtime") | {"data": self.search_data}
            ranks = {"rank_seeds": list(self._sources[self.rank_with].seeds)} if self.rank_with else {}
            budget = {} if self.kind == "matched" else {"budget_biops": self.budget_biops}
            return values | budget | ranks
        return network | self._pick("data", "binarize", stage, "runtime")

    def _pick(self, *names: str) -> dict[str, Any]:
        return {name: self.block(name) for name in names}

    def require(self, stage: str, seed: int | None = None) -> None:
        """Refuse a stage or seed that it has not, or that is not run at this scale. Raises GridError."""
        if self.reason is not None:
            raise GridError(f"{self.name} is not run at scale {self.scale}", got=self.reason)
        if stage not in self.stages:
            got = "a search in floats, of which nothing is derived" if self.in_floats else f"a {self.kind} experiment"
            raise GridError(f"{self.name} has no stage {stage}", got=got, allowed=one_of(self.stages))
        if seed is not None and seed not in self.seeds:
            raise GridError(
                f"{self.name} has no seed {seed} at scale {self.scale}",
                got=str(seed),
                allowed=one_of(str(s) for s in self.seeds),
                do=f"add it to scales.{self.scale}.seeds",
            )
