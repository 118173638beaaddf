"""The resolved grid: params.yaml's layers merged into one fully typed Experiment per name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from bars import cost
from bars import params as models
from bars.errors import BudgetError, GridError, OtherSpaceError, ParamsError
from bars.pipeline.budget import in_biops, with_budget
from bars.pipeline.datasets import DataSets, num_classes, placed
from bars.pipeline.experiment import DATA_MODULES, Experiment, Kind, StageView
from bars.pipeline.layers import TYPES, Layer, Layers, merged
from bars.pipeline.literal import literal_genotype
from bars.pipeline.load import Params, Tree, merge_blocks
from bars.pipeline.problems import Problems, explain, hint, join, one_of

__all__ = ["DATA_MODULES", "Experiment", "Grid", "Kind", "StageView", "num_classes"]

_NEEDS: dict[str, tuple[str, ...]] = {
    "searched": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "widened": ("data", "space", "binarize", "retrain", "evaluate", "runtime"),
    "random": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "matched": ("data", "search_data", "space", "binarize", "derive", "retrain", "evaluate", "runtime"),
    "ranked": ("data", "search_data", "space", "binarize", "search", "derive", "retrain", "evaluate", "runtime"),
    "fixed": ("data", "space", "binarize", "retrain", "evaluate", "runtime"),
    "baseline": ("data", "model", "binarize", "retrain", "evaluate", "runtime"),
}
_SEARCH_NEEDS = ("search_data", "space", "binarize", "search", "runtime")
# Keys of an experiment that are its own and not taken over from its base.
_OWN_KEYS = frozenset({"base", "label", "extra"})
_SOURCES: dict[str, Kind] = {
    "model": "baseline",
    "genotype": "fixed",
    "genotype_from": "widened",
    "search_from": "searched",
    "rank_with": "ranked",
    "matched_to": "matched",
}


class Grid:
    """All experiments at one scale, resolved and checked. Raises ParamsError, GridError or BudgetError."""

    def __init__(self, params: Params, scale: str | None = None) -> None:
        self.params = params
        self.scale = params.scale if scale is None else scale
        self._layers = Layers(params, self.scale)
        self._scale = self._layers.scale_layer
        self._where = self._layers.group_of
        self.seeds: tuple[int, ...] = tuple(self._scale["seeds"])
        self._problems, invalid = Problems(), f"{params.path} is not valid at scale {self.scale}"
        self._done: dict[str, Experiment] = {}
        self._datasets = DataSets()
        self._slots = {slot: self._slot_data(slot) for slot, layer in self._scale["slots"].items() if layer is not None}
        self.latency = self._latency()
        self._problems.raise_any(invalid)
        resolved = {name: self._resolve(name, ()) for name in self._where}
        self._problems.raise_any(invalid)
        self.experiments: Mapping[str, Experiment] = MappingProxyType(resolved)
        self.datasets: Mapping[str, models.DataParams] = MappingProxyType(self._datasets.by_name)

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

    # ---------------------------------------------------------------------------------------- one experiment
    def _resolve(self, name: str, asking: tuple[str, ...]) -> Experiment:
        if name in self._done:
            return self._done[name]
        if name in asking:
            raise GridError("experiments wait for each other's output", where=" -> ".join((*asking, name)))
        chain = self._layers.chain(name)
        slot, layers, tree, keys = self._said(name, chain)
        source = self._source(name, chain)
        kind = self._kind(name, source, tree)
        keys = {k: v for k, v in keys.items() if k == source or k not in _SOURCES}
        self._check_used(name, kind, tree)
        sources = self._sources(name, keys, asking)
        reference = self._reference(name, kind, tree, asking)
        reason = self._reason(name, slot, [*sources.values(), *([reference] if reference else [])])
        blocks: dict[str, models.Block] = {}
        genotype = None
        if reason is None:
            try:
                blocks = self._blocks(name, kind, slot, tree, layers, keys, reference)
                genotype = self._genotype(name, keys.get("genotype"), blocks)
            except (BudgetError, OtherSpaceError) as error:  # it alone cannot be; the others can
                reason, blocks = f"{error.what}: {error.got}, allowed {error.allowed}", {}
        dataset, search_dataset = ("", "") if reason else self._datasets.names(name, slot, blocks)
        experiment = Experiment(
            name=name,
            group=self._where[name],
            scale=self.scale,
            kind=kind,
            slot=slot,
            seeds=tuple(keys.get("seeds", self.seeds)),
            label=str(self._layers.key(name, "label") or name),
            extra=bool(self._layers.key(name, "extra")),
            reason=reason,
            dataset=dataset,
            search_dataset=search_dataset,
            blocks=MappingProxyType(blocks),
            search_from=keys.get("search_from"),
            genotype_from=keys.get("genotype_from"),
            rank_with=keys.get("rank_with"),
            matched_to=keys.get("matched_to"),
            width_multiplier=float(keys.get("width_multiplier", 1.0)),
            genotype=genotype,
            own_recipe=any(layer.where.endswith(".own_recipe") for layer in layers),
            _sources=sources,
        )
        if reason is None and not self._problems:
            self._check_sources(experiment)
        self._done[name] = experiment
        return experiment

    def _said(self, name: str, chain: list[str]) -> tuple[models.Slot, list[Layer], Tree, Tree]:
        """What params.yaml says of an experiment: its slot, all layers, their blocks merged, and its other keys."""
        own = [layer for link in chain for layer in self._layers.own(link)]
        keys: Tree = {}
        for layer in own:
            keys.update({k: v for k, v in layer.values.items() if k not in _OWN_KEYS and k not in TYPES})
        slot = keys.get("slot")
        if slot is None:
            raise ParamsError(
                "an experiment needs a slot, its own or its base's",
                where=self._layers.at(name),
                allowed=one_of(self._slots),
            )
        layers = [*self._layers.base(slot), *own]
        return slot, layers, merged(layers), keys

    def _source(self, name: str, chain: list[str]) -> str | None:
        """The key that says where the network comes from: the experiment's own word, else that of the nearest base.

        None: its own search. A key written as null undoes what a base says.
        """
        for link in reversed(chain):
            said = {key: self._layers.key(link, key) for key in _SOURCES if self._layers.says(link, key)}
            given = [key for key, value in said.items() if value is not None]
            if len(given) > 1:
                got = " and ".join(given)
                raise ParamsError(
                    "an experiment's network has more than one source", where=self._layers.at(link), got=got
                )
            if said:
                return given[0] if given else None
        return None

    def _kind(self, name: str, source: str | None, tree: Tree) -> Kind:
        random = tree.get("derive", {}).get("method") == "random"
        if random and source == "search_from":
            do = "remove one of them"
            raise ParamsError(
                "random draws need no search", where=self._layers.at(name), got="search_from, derive.method", do=do
            )
        if source == "matched_to" and not random:
            raise ParamsError(
                "architectures that match another's operations are drawn at random",
                where=self._layers.at(name),
                got=f"derive.method: {tree.get('derive', {}).get('method')}",
                do="set derive.method to random",
            )
        if random and source is None:
            return "random"
        return "searched" if source is None else _SOURCES[source]

    def _check_used(self, name: str, kind: Kind, tree: Tree) -> None:
        """A block that the experiment itself sets but its kind never reads would silently do nothing."""
        needs, what = _NEEDS[kind], f"a {kind} experiment"
        if kind == "searched" and tree.get("search", {}).get("operations") == "float":
            needs, what = _SEARCH_NEEDS, "a search in floats"
        for layer in self._layers.own(name):
            for block in layer.blocks():
                unread = block not in needs
                if kind == "random" and block == "search":
                    unread = bool(set(layer.values[block]) - {"budget"})
                if unread:
                    self._problems.add(f"{join(layer.where, block)}: {what} does not read it, {one_of(needs)}")

    def _sources(self, name: str, own: Tree, asking: tuple[str, ...]) -> dict[str, Experiment]:
        sources = {}
        for key in ("search_from", "genotype_from", "rank_with", "matched_to"):
            source = own.get(key)
            if source is None:
                continue
            if source not in self._where:
                raise GridError(
                    f"no such experiment{hint(source, self._where)}", where=self._layers.at(name, key), got=source
                )
            sources[source] = self._resolve(source, (*asking, name))
        return sources

    def _reference(self, name: str, kind: Kind, tree: Tree, asking: tuple[str, ...]) -> Experiment | None:
        """The experiment whose BiOps a budget is a multiple of."""
        budget = tree.get("search", {}).get("budget")
        wanted = budget.get("reference") if isinstance(budget, Mapping) and "search" in _NEEDS[kind] else None
        if wanted is None:
            return None
        where = self._layers.at(name, "search", "budget", "reference")
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

    def _reason(self, name: str, slot: str, sources: Iterable[Experiment]) -> str | None:
        overrides = self._scale.get("experiments", {})
        if name in overrides and overrides[name] is None:
            return f"switched off at scale {self.scale}"
        if slot not in self._slots:
            return f"no {slot} data at scale {self.scale}"
        for source in sources:
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
        layers: list[Layer],
        own: Tree,
        reference: Experiment | None,
    ) -> dict[str, models.Block]:
        tree = dict(tree)
        if kind == "baseline":
            tree["model"] = merge_blocks({"width": self._model_width(slot)}, tree["model"], "model")
        blocks: dict[str, models.Block] = {}
        for key in _NEEDS[kind]:
            block = self._block(key, tree.get(key, {}), layers, name)
            if block is not None:
                blocks[key] = block
        if len(blocks) < len(_NEEDS[kind]):
            return blocks  # problems were noted and will be raised
        for key in ("space", "model"):
            if key in blocks:
                blocks[key] = _widened(blocks[key], float(own.get("width_multiplier", 1.0)), self._layers.at(name))
        if "search" in blocks:
            blocks["search"] = self._search(name, slot, blocks, reference)
        return blocks

    def _block(self, key: str, tree: Tree, layers: list[Layer], name: str) -> models.Block | None:
        """A validated block; its problems are noted with the layer that wrote the value."""
        model = TYPES[key]

        def locate(path: tuple[str, ...]) -> str:
            for layer in reversed(layers):
                for block in (key, "data") if key == "search_data" else (key,):
                    if path and _contains(layer.values.get(block), path):
                        return join(layer.where, block, *path)
            return f"{join(key, *path)} of {name}"

        try:
            return placed(model.model_validate(tree), self.params.files)
        except ValidationError as error:
            lines = explain(error, model, tree, locate)
        for line in lines:
            key_path, unwritten, why = line.partition(f" of {name}: ")
            if unwritten:
                self._problems.unwritten(key_path, why, name)
            else:
                self._problems.add(line)
        return None

    def _model_width(self, slot: str) -> float:
        return float((self._scale["slots"].get(slot) or {}).get("model_width", self._scale.get("model_width", 1.0)))

    def _search(
        self, name: str, slot: str, blocks: Mapping[str, models.Block], reference: Experiment | None
    ) -> models.SearchParams:
        search, space, data = blocks["search"], blocks["space"], blocks["search_data"]
        shared, images = self._slots[slot]["space"], self._slots[slot]["search_data"]
        assert isinstance(search, models.SearchParams)
        assert isinstance(space, models.SpaceParams) and isinstance(shared, models.SpaceParams)
        assert isinstance(data, models.DataParams) and isinstance(images, models.DataParams)
        biops = in_biops(search.budget, shared, images, reference)
        where = f"{self._layers.at(name)}, search.budget, scale {self.scale}"
        return with_budget(search, biops, space, data, name, where)

    def _genotype(self, name: str, given: Any, blocks: Mapping[str, models.Block]) -> dict[str, Any] | None:
        """A genotype of params.yaml; None where there is none, it is not run, or problems are already noted."""
        space = blocks.get("space")
        if given is None or not isinstance(space, models.SpaceParams):
            return None
        return literal_genotype(given, space, self.params.files, self._layers.at(name, "genotype"))

    def _latency(self) -> models.LatencyParams | None:
        """How networks are timed; None where params.yaml says nothing of it, as before there was such a stage."""
        tree: Tree = {}
        for layer in self._layers.common():
            tree = merge_blocks(tree, layer.values.get("latency") or {}, join(layer.where, "latency"))
        block = self._block("latency", tree, self._layers.common(), f"scale {self.scale}") if tree else None
        assert block is None or isinstance(block, models.LatencyParams)
        return block

    # ---------------------------------------------------------------------------------------- data sets
    def _slot_data(self, slot: str) -> dict[str, models.Block]:
        """The slot's own data sets and search space, before any experiment speaks."""
        layers = self._layers.base(slot)
        tree = merged(layers)
        found = {key: self._block(key, tree.get(key, {}), layers, slot) for key in ("data", "search_data", "space")}
        blocks = {key: block for key, block in found.items() if block is not None}
        if "data" in blocks and "search_data" in blocks:
            self._datasets.names(slot, slot, blocks)
        return blocks

    # ---------------------------------------------------------------------------------------- sources
    def _check_sources(self, experiment: Experiment) -> None:
        """What is taken over must fit: the same space and search, the same cells, the same seeds."""
        shared = ("search_data", "space", "binarize", "search")
        counted = ("search_data", "space")
        over = "takes over the search"
        takes: dict[str, tuple[str, tuple[str, ...]]] = {
            "search_from": (over, shared),
            "genotype_from": (over, ()),
            "rank_with": (over, shared),
            "matched_to": ("matches the operations", counted),
        }
        for key, (what, same) in takes.items():
            source_name = getattr(experiment, key)
            if source_name is None:
                continue
            source, where = experiment._sources[source_name], self._layers.at(experiment.name, key)
            needed = "derive" if key in ("genotype_from", "matched_to") else "search"
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
            if source.in_floats:
                raise GridError(f"{source_name} searches in floats: nothing is derived from it", where=where)
            for block in same:
                if experiment.block(block) != source.block(block):
                    raise GridError(
                        f"{experiment.name} {what} of {source_name} but has another {block}",
                        where=where,
                        got=_difference(experiment.block(block), source.block(block)),
                        do=f"remove the override of {block}, or {key}",
                    )
            if key == "genotype_from" and _cells(experiment.space) != _cells(source.space):
                raise GridError(f"a genotype of {source_name} does not fit the space of {experiment.name}", where=where)


def _widened(block: models.Block, factor: float, where: str) -> models.Block:
    """The space or hand-made network with so many times the channels."""
    if isinstance(block, models.ModelParams):
        return block.model_copy(update={"width": block.width * factor})
    assert isinstance(block, models.SpaceParams)
    channels = math.floor(block.init_channels * factor + 0.5)
    if channels < 1:
        raise ParamsError("width_multiplier leaves no channel", where=where, got=f"{factor} * {block.init_channels}")
    return block.model_copy(update={"init_channels": channels})


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
