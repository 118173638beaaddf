"""The resolved grid: params.yaml's layers merged into one fully typed Experiment per name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from bars import cost
from bars import params as models
from bars.errors import BudgetError, GenotypeError, GridError, OtherSpaceError, ParamsError
from bars.pipeline.experiment import DATA_MODULES, Experiment, Kind, StageView
from bars.pipeline.load import Params, Tree, merge_blocks
from bars.pipeline.problems import explain, hint, join, one_of, problems_error
from bars.pipeline.schema import BLOCKS
from bars.space import Genotype, SearchSpace, StageGenotype

__all__ = ["DATA_MODULES", "Experiment", "Grid", "Kind", "StageView", "num_classes"]

_NEEDS: dict[str, tuple[str, ...]] = {
    "searched": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "widened": ("data", "space", "binarize", "retrain", "evaluate", "runtime"),
    "random": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "ranked": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "fixed": ("data", "space", "binarize", "retrain", "evaluate", "runtime"),
    "baseline": ("data", "model", "binarize", "retrain", "evaluate", "runtime"),
}
_TYPES: dict[str, type[models.Block]] = {**BLOCKS, "model": models.ModelParams}
# Keys of an experiment that are its own and not taken over from its base.
_OWN_KEYS = frozenset({"base", "label", "extra"})
_SOURCES: dict[str, Kind] = {
    "model": "baseline",
    "genotype": "fixed",
    "genotype_from": "widened",
    "search_from": "searched",
    "rank_with": "ranked",
}
_PAPER_SCALE_RECIPE = frozenset({"epochs", "batch_size"})


@dataclass(frozen=True)
class _Layer:
    """A mapping of partial blocks and where it stands in params.yaml."""

    where: str
    values: Mapping[str, Any]

    def blocks(self) -> Tree:
        return {k: v for k, v in self.values.items() if k in _TYPES}


class Grid:
    """All experiments at one scale, resolved and checked. Raises ParamsError, GridError or BudgetError."""

    def __init__(self, params: Params, scale: str | None = None) -> None:
        self.params = params
        self.scale = params.scale if scale is None else scale
        scales: Mapping[str, Any] = params.tree["scales"]
        if self.scale not in scales:
            raise GridError(f"no such scale{hint(self.scale, scales)}", got=self.scale, allowed=one_of(scales))
        self._scale: Mapping[str, Any] = scales[self.scale]
        self.seeds: tuple[int, ...] = tuple(self._scale["seeds"])
        self._where = {n: g for g, names in params.tree["experiments"].items() for n in names}
        self._problems: list[str] = []
        self._done: dict[str, Experiment] = {}
        self._datasets: dict[str, models.DataParams] = {}
        self._slots = {slot: self._slot_data(slot) for slot, layer in self._scale["slots"].items() if layer is not None}
        self._raise_problems()
        resolved = {name: self._resolve(name, ()) for name in self._where}
        self._raise_problems()
        self.experiments: Mapping[str, Experiment] = MappingProxyType(resolved)
        self.datasets: Mapping[str, models.DataParams] = MappingProxyType(self._datasets)

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self.experiments.values())

    def __getitem__(self, name: str) -> Experiment:
        if name not in self.experiments:
            near = hint(name, self.experiments)
            raise GridError(f"no such experiment{near}", got=name, do="bars experiments lists them")
        return self.experiments[name]

    def runnable(self) -> list[Experiment]:
        """Experiments that are run at this scale."""
        return [e for e in self if e.reason is None]

    def dataset(self, name: str) -> models.DataParams:
        """Parameters of a data set: a slot, slot-search, or one that an experiment changes."""
        if name not in self.datasets:
            off = name.removesuffix("-search") in self._scale["slots"] and "there is none at this scale"
            raise GridError(
                f"no data set {name} at scale {self.scale}{hint(name, self.datasets)}",
                got=off or name,
                allowed=one_of(self.datasets),
            )
        return self.datasets[name]

    def dataset_params(self, name: str) -> dict[str, Any]:
        """JSON-able, canonical parameters of the data stage of a data set; it reruns when they change."""
        return {"data": self.dataset(name).deciding("data")}

    def _raise_problems(self) -> None:
        if self._problems:
            raise problems_error(f"{self.params.path} is not valid at scale {self.scale}", self._problems)

    # ---------------------------------------------------------------------------------------- layers
    def _base_layers(self, slot: str) -> list[_Layer]:
        tree, slots = self.params.tree, self._scale["slots"]
        layers = [_Layer("", {"runtime": tree.get("runtime", {})}), _Layer("defaults", tree.get("defaults", {}))]
        layers.append(_Layer(f"scales.{self.scale}", self._scale))
        return [*layers, _Layer(f"scales.{self.scale}.slots.{slot}", slots.get(slot) or {})]

    def _own_layers(self, name: str) -> list[_Layer]:
        """The layers of one experiment, without its base: its own word, its recipe, the scale's word."""
        group = self._where[name]
        layers = [_Layer(f"experiments.{group}.{name}", self.params.tree["experiments"][group][name])]
        layers.append(
            _Layer(f"scales.{self.scale}.experiments.{name}", self._scale.get("experiments", {}).get(name) or {})
        )
        return [part for layer in layers for part in self._with_recipe(layer)]

    def _with_recipe(self, layer: _Layer) -> list[_Layer]:
        recipe: Mapping[str, Any] = layer.values.get("own_recipe") or {}
        if self.params.recipe != "own" or not recipe:
            return [layer]
        blocks = dict(recipe)
        if self.scale != "paper" and "retrain" in blocks:
            blocks["retrain"] = {k: v for k, v in blocks["retrain"].items() if k not in _PAPER_SCALE_RECIPE}
        return [layer, _Layer(f"{layer.where}.own_recipe", blocks)]

    def _chain(self, name: str) -> list[str]:
        """The experiment's bases, first one first, and itself."""
        chain = [name]
        while (base := self._key(chain[0], "base")) is not None:
            if base not in self._where:
                raise GridError(
                    f"no such experiment{hint(base, self._where)}", where=self._at(chain[0], "base"), got=base
                )
            if base in chain:
                raise GridError(
                    "experiments are each other's base", where=" -> ".join([name, *reversed(chain[:-1]), base])
                )
            chain.insert(0, base)
        return chain

    def _key(self, name: str, key: str) -> Any:
        """An experiment's own value of a key, the scale's word first."""
        group = self._where[name]
        own: Mapping[str, Any] = self.params.tree["experiments"][group][name]
        return {**own, **(self._scale.get("experiments", {}).get(name) or {})}.get(key)

    def _says(self, name: str, key: str) -> bool:
        """Whether an experiment itself writes a key."""
        return any(key in layer.values for layer in self._own_layers(name))

    def _at(self, name: str, *keys: str) -> str:
        return join("experiments", self._where[name], name, *keys)

    # ---------------------------------------------------------------------------------------- one experiment
    def _resolve(self, name: str, asking: tuple[str, ...]) -> Experiment:
        if name in self._done:
            return self._done[name]
        if name in asking:
            raise GridError("experiments wait for each other's output", where=" -> ".join((*asking, name)))
        chain = self._chain(name)
        own = [layer for link in chain for layer in self._own_layers(link)]
        inherited: Tree = {}
        for layer in own:
            inherited.update({k: v for k, v in layer.values.items() if k not in _OWN_KEYS and k not in _TYPES})
        slot = inherited.get("slot")
        if slot is None:
            raise ParamsError(
                "an experiment needs a slot, its own or its base's", where=self._at(name), allowed=one_of(self._slots)
            )
        layers = [*self._base_layers(slot), *own]
        tree: Tree = {}
        for layer in layers:
            tree = merge_blocks(tree, layer.blocks(), layer.where)
        source = self._source(name, chain)
        kind = self._kind(name, source, tree)
        inherited = {k: v for k, v in inherited.items() if k == source or k not in _SOURCES}
        self._check_used(name, kind)
        sources = self._sources(name, inherited, asking)
        reference = self._reference(name, kind, tree, asking)
        reason = self._reason(name, slot, {**sources, **({} if reference is None else {reference.name: reference})})
        seeds = tuple(inherited.get("seeds", self.seeds))
        blocks: dict[str, models.Block] = {}
        genotype = None
        if reason is None:
            try:
                blocks = self._blocks(name, kind, slot, tree, layers, inherited, reference)
                genotype = self._literal_genotype(name, inherited.get("genotype"), blocks)
            except (BudgetError, OtherSpaceError) as error:  # it alone cannot be; the others can
                reason, blocks = f"{error.what}: {error.got}, allowed {error.allowed}", {}
        dataset, search_dataset = ("", "") if reason else self._name_datasets(name, slot, blocks)
        experiment = Experiment(
            name=name,
            group=self._where[name],
            scale=self.scale,
            kind=kind,
            slot=slot,
            seeds=seeds,
            label=str(self._key(name, "label") or name),
            extra=bool(self._key(name, "extra")),
            reason=reason,
            dataset=dataset,
            search_dataset=search_dataset,
            blocks=MappingProxyType(blocks),
            search_from=inherited.get("search_from"),
            genotype_from=inherited.get("genotype_from"),
            rank_with=inherited.get("rank_with"),
            width_multiplier=float(inherited.get("width_multiplier", 1.0)),
            genotype=genotype,
            own_recipe=any(layer.where.endswith(".own_recipe") for layer in own),
            _sources=sources,
        )
        if reason is None and not self._problems:
            self._check_sources(experiment)
        self._done[name] = experiment
        return experiment

    def _source(self, name: str, chain: list[str]) -> str | None:
        """The key that says where the network comes from: the experiment's own word, else that of the nearest base.

        None: its own search. A key written as null undoes what a base says.
        """
        for link in reversed(chain):
            said = {key: self._key(link, key) for key in _SOURCES if self._says(link, key)}
            given = [key for key, value in said.items() if value is not None]
            if len(given) > 1:
                got = " and ".join(given)
                raise ParamsError("an experiment's network has more than one source", where=self._at(link), got=got)
            if said:
                return given[0] if given else None
        return None

    def _kind(self, name: str, source: str | None, tree: Tree) -> Kind:
        random = tree.get("derive", {}).get("method") == "random"
        if random and source == "search_from":
            do = "remove one of them"
            raise ParamsError(
                "random draws need no search", where=self._at(name), got="search_from, derive.method", do=do
            )
        if random and source is None:
            return "random"
        return "searched" if source is None else _SOURCES[source]

    def _check_used(self, name: str, kind: Kind) -> None:
        """A block that the experiment itself sets but its kind never reads would silently do nothing."""
        for layer in self._own_layers(name):
            for block in layer.blocks():
                unread = block not in _NEEDS[kind]
                if kind == "random" and block == "search":
                    unread = bool(set(layer.values[block]) - {"budget"})
                if unread:
                    allowed = one_of(k for k in _NEEDS[kind])
                    self._problems.append(
                        f"{join(layer.where, block)}: a {kind} experiment does not read it, {allowed}"
                    )

    def _sources(self, name: str, own: Tree, asking: tuple[str, ...]) -> dict[str, Experiment]:
        sources = {}
        for key in ("search_from", "genotype_from", "rank_with"):
            source = own.get(key)
            if source is None:
                continue
            if source not in self._where:
                raise GridError(f"no such experiment{hint(source, self._where)}", where=self._at(name, key), got=source)
            sources[source] = self._resolve(source, (*asking, name))
        return sources

    def _reference(self, name: str, kind: Kind, tree: Tree, asking: tuple[str, ...]) -> Experiment | None:
        """The experiment whose BiOps a budget is a multiple of."""
        budget = tree.get("search", {}).get("budget")
        wanted = budget.get("reference") if isinstance(budget, Mapping) and "search" in _NEEDS[kind] else None
        if wanted is None:
            return None
        where = self._at(name, "search", "budget", "reference")
        if wanted not in self._where:
            raise GridError(f"no such experiment{hint(str(wanted), self._where)}", where=where, got=str(wanted))
        reference = self._resolve(wanted, (*asking, name))
        family = getattr(reference.blocks.get("model"), "family", None)
        if reference.reason is None and family not in cost.RESIDUAL_BLOCKS:
            got = f"{wanted}, {family or f'a {reference.kind} experiment'}"
            raise ParamsError(
                "a budget's reference must be a network whose operations are known without building it",
                where=where,
                got=got,
                allowed="an experiment of one of these families: " + ", ".join(cost.RESIDUAL_BLOCKS),
            )
        return reference

    def _reason(self, name: str, slot: str, sources: Mapping[str, Experiment]) -> str | None:
        overrides = self._scale.get("experiments", {})
        if name in overrides and overrides[name] is None:
            return f"switched off at scale {self.scale}"
        if slot not in self._slots:
            return f"no {slot} data at scale {self.scale}"
        for source in sources.values():
            if source.reason is not None:
                return f"needs {source.name}: {source.reason}"
        return None

    # ---------------------------------------------------------------------------------------- blocks
    def _blocks(
        self,
        name: str,
        kind: Kind,
        slot: str,
        tree: Tree,
        layers: list[_Layer],
        own: Tree,
        reference: Experiment | None,
    ) -> dict[str, models.Block]:
        tree = dict(tree)
        tree["search_data"] = merge_blocks(tree.get("data", {}), tree.get("search_data", {}), "search_data")
        if kind == "baseline":
            tree["model"] = merge_blocks({"width": self._model_width(slot)}, tree["model"], "model")
        blocks: dict[str, models.Block] = {}
        for key in _NEEDS[kind]:
            block = self._block(key, tree.get(key, {}), layers, name)
            if block is not None:
                blocks[key] = block
        if len(blocks) < len(_NEEDS[kind]):
            return blocks  # problems were noted and will be raised
        if "space" in blocks:
            blocks["space"] = _widened(blocks["space"], float(own.get("width_multiplier", 1.0)), self._at(name))
        elif "width_multiplier" in own:
            raise ParamsError(
                "width_multiplier is for searched networks", where=self._at(name), do="set model.width instead"
            )
        if "search" in blocks:
            blocks["search"] = self._with_budget(name, slot, blocks, reference)
        return blocks

    def _block(self, key: str, tree: Tree, layers: list[_Layer], name: str) -> models.Block | None:
        """A validated block; its problems are noted with the layer that wrote the value."""
        model = _TYPES[key]

        def locate(path: tuple[str, ...]) -> str:
            for layer in reversed(layers):
                for block in (key, "data") if key == "search_data" else (key,):
                    if path and _contains(layer.values.get(block), path):
                        return join(layer.where, block, *path)
            return f"{join(key, *path)} of {name}"

        try:
            return model.model_validate(tree)
        except ValidationError as error:
            self._problems.extend(explain(error, model, tree, locate))
            return None

    def _model_width(self, slot: str) -> float:
        return float((self._scale["slots"].get(slot) or {}).get("model_width", self._scale.get("model_width", 1.0)))

    def _literal_genotype(self, name: str, given: Any, blocks: Mapping[str, models.Block]) -> dict[str, Any] | None:
        """A genotype written in params.yaml, or read from the file it names, relative to the params file that does."""
        if given is None or "space" not in blocks:  # the latter: not run, or with problems already noted
            return None
        where, value = self._at(name, "genotype"), given
        if isinstance(given, str):
            beside = [file.parent / given for file in self.params.files]  # an included file names its own neighbours
            path = next((path for path in beside if path.is_file()), beside[0])
            where = f"{where}: {path}"
            try:
                value = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ParamsError("cannot read the genotype", where=where, got=str(error)) from None
        space = blocks["space"]
        assert isinstance(space, models.SpaceParams)
        try:
            return _genotype(value, SearchSpace.from_params(space)).to_json()
        except GenotypeError as error:
            where = join(where, error.where or "")
            raise type(error)(error.what, where=where, got=error.got, allowed=error.allowed, do=error.do) from None

    # ---------------------------------------------------------------------------------------- data sets
    def _slot_data(self, slot: str) -> dict[str, models.Block]:
        """The slot's own data sets and search space, before any experiment speaks."""
        layers = self._base_layers(slot)
        tree: Tree = {}
        for layer in layers:
            tree = merge_blocks(tree, layer.blocks(), layer.where)
        tree["search_data"] = merge_blocks(tree.get("data", {}), tree.get("search_data", {}), "search_data")
        found = {key: self._block(key, tree.get(key, {}), layers, slot) for key in ("data", "search_data", "space")}
        blocks = {key: block for key, block in found.items() if block is not None}
        if "data" in blocks and "search_data" in blocks:
            self._name_datasets(slot, slot, blocks)
        return blocks

    def _name_datasets(self, name: str, slot: str, blocks: Mapping[str, models.Block]) -> tuple[str, str]:
        """Names of an experiment's data sets: the slot's unless it changes them, then its own; registers them."""
        if "data" not in blocks:
            return "", ""
        dataset = self._name_dataset(blocks["data"], slot, name)
        search = blocks.get("search_data", blocks["data"])
        if search == blocks["data"]:
            return dataset, dataset
        return dataset, self._name_dataset(search, f"{slot}-search", f"{name}-search")

    def _name_dataset(self, data: models.Block, shared: str, own: str) -> str:
        assert isinstance(data, models.DataParams)
        if self._datasets.get(shared) == data:
            return shared
        if self._datasets.setdefault(own, data) == data:
            return own
        raise GridError("two data sets have one name", got=own, do="rename the experiment")

    # ---------------------------------------------------------------------------------------- budget and sources
    def _with_budget(
        self, name: str, slot: str, blocks: Mapping[str, models.Block], reference: Experiment | None
    ) -> models.SearchParams:
        """The search, its budget in BiOps. Raises BudgetError where the space has none like it."""
        search, space, data = blocks["search"], blocks["space"], blocks["search_data"]
        assert isinstance(search, models.SearchParams)
        assert isinstance(space, models.SpaceParams)
        assert isinstance(data, models.DataParams)
        biops = self._budget_biops(search.budget, slot, reference)
        classes = num_classes(data) or 1
        least, most = (count(space, data.image_size, classes) for count in (cost.min_biops, cost.max_biops))
        if not least <= biops <= most:
            said = search.budget.model_dump(exclude_none=True)
            raise BudgetError(
                f"no architecture of {name}'s search space meets its budget",
                where=f"{self._at(name)}, search.budget, scale {self.scale}",
                got=f"{biops:,} BiOps" + (f" ({said})" if search.budget.biops is None else ""),
                allowed=f"{least:,}, the smallest architecture, to {most:,}, the largest",
                do="change search.budget or space.init_channels",
            )
        return search.model_copy(update={"budget": models.Budget(biops=biops)})

    def _budget_biops(self, budget: models.Budget, slot: str, reference: Experiment | None) -> int:
        """A budget in BiOps: a fraction is one of the slot's space, before the experiment changes it."""
        if budget.biops is not None:
            return budget.biops
        if reference is not None and budget.factor is not None:
            return round(budget.factor * _reference_biops(reference))
        space, data = self._slots[slot]["space"], self._slots[slot]["search_data"]
        assert isinstance(space, models.SpaceParams)
        assert isinstance(data, models.DataParams)
        assert budget.fraction is not None
        return round(budget.fraction * cost.max_biops(space, data.image_size, num_classes(data) or 1))

    def _check_sources(self, experiment: Experiment) -> None:
        """What is taken over must fit: the same space and search, the same cells, the same seeds."""
        shared = ("search_data", "space", "binarize", "search")
        for key, same in (("search_from", shared), ("genotype_from", ()), ("rank_with", shared)):
            source_name = getattr(experiment, key)
            if source_name is None:
                continue
            source, where = experiment._sources[source_name], self._at(experiment.name, key)
            needed = "derive" if key == "genotype_from" else "search"
            if needed not in source.stages:
                raise GridError(
                    f"{source_name} has no {needed} stage to take over", where=where, got=f"a {source.kind} experiment"
                )
            if key != "rank_with" and (missing := sorted(set(experiment.seeds) - set(source.seeds))):
                raise GridError(
                    f"{source_name} is not run at every seed of {experiment.name}",
                    where=where,
                    got=f"missing {missing}",
                )
            for block in same:
                if experiment.block(block) != source.block(block):
                    raise GridError(
                        f"{experiment.name} takes over the search of {source_name} but has another {block}",
                        where=where,
                        got=_difference(experiment.block(block), source.block(block)),
                        do=f"remove the override of {block}, or {key}",
                    )
            if key == "genotype_from" and _cells(experiment.space) != _cells(source.space):
                raise GridError(f"a genotype of {source_name} does not fit the space of {experiment.name}", where=where)


def num_classes(data: models.DataParams) -> int | None:
    """Number of classes without opening an image; None if only the absent image folder knows it."""
    if isinstance(data.classes, int):
        return data.classes
    if data.classes is not None:
        return len(data.classes)
    if data.source != "imagefolder":
        return 10
    root = Path(data.path or "").expanduser()
    folder = root / "train" if (root / "train").is_dir() else root
    if not data.path or not folder.is_dir():
        return None
    return sum(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())


def _reference_biops(reference: Experiment) -> int:
    """BiOps of a hand-made residual network as it is trained at this scale."""
    model = reference.model
    stem = model.options.get("stem") or ("cifar" if reference.slot == "cifar10" else "imagenet")
    return cost.residual_biops(
        model.family,
        model.width,
        reference.data.image_size,
        imagenet_stem=stem != "cifar",
        binary_downsample=model.options.get("downsample") == "binary",
    )


def _genotype(value: Any, space: SearchSpace) -> Genotype:
    """From the full file, or from its stages and cells alone."""
    if not isinstance(value, dict) or set(value) != {"stages", "cells"}:
        return Genotype.from_json(value, space)
    stages = tuple(StageGenotype(stage["depth"], float(stage["width"])) for stage in value["stages"])
    cells = {
        name: {(edge["source"], edge["target"]): edge["primitive"] for edge in edges}
        for name, edges in value["cells"].items()
    }
    return Genotype(space, stages, cells)


def _widened(space: models.Block, factor: float, where: str) -> models.SpaceParams:
    assert isinstance(space, models.SpaceParams)
    channels = math.floor(space.init_channels * factor + 0.5)
    if channels < 1:
        raise ParamsError("width_multiplier leaves no channel", where=where, got=f"{factor} * {space.init_channels}")
    return space.model_copy(update={"init_channels": channels})


def _cells(space: models.SpaceParams) -> tuple[Any, ...]:
    """What a genotype is a choice from."""
    return (space.stages, space.cells_per_stage, space.nodes, space.widths, space.primitives, space.cell_types)


def _contains(tree: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        elif isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        else:
            return False
    return True


def _difference(one: models.Block, other: models.Block) -> str:
    pairs = ((key, getattr(one, key), getattr(other, key)) for key in type(one).model_fields)
    return ", ".join(f"{key}: {a} instead of {b}" for key, a, b in pairs if a != b)
