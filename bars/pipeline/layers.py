"""The layers of params.yaml behind an experiment, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bars import params as models
from bars.errors import GridError
from bars.pipeline.load import Params, Tree, merge_blocks
from bars.pipeline.problems import hint, join, one_of
from bars.pipeline.schema import BLOCKS, SCALE_BLOCKS

TYPES: dict[str, type[models.Block]] = {**BLOCKS, **SCALE_BLOCKS, "model": models.ModelParams}
_PAPER_SCALE_RECIPE = frozenset({"epochs", "batch_size"})


@dataclass(frozen=True)
class Layer:
    """A mapping of partial blocks and where it stands in params.yaml."""

    where: str
    values: Mapping[str, Any]

    def blocks(self) -> Tree:
        """What it says of blocks."""
        return {k: v for k, v in self.values.items() if k in TYPES}


def merged(layers: Iterable[Layer]) -> Tree:
    """The blocks of layers, each laid over those before it, and search_data over data."""
    tree: Tree = {}
    for layer in layers:
        tree = merge_blocks(tree, layer.blocks(), layer.where)
    return {**tree, "search_data": merge_blocks(tree.get("data", {}), tree.get("search_data", {}), "search_data")}


class Layers:
    """Everything that params.yaml says at one scale, by layer. Raises GridError for a scale that it has not."""

    def __init__(self, params: Params, scale: str) -> None:
        scales: Mapping[str, Any] = params.tree["scales"]
        if scale not in scales:
            raise GridError(f"no such scale{hint(scale, scales)}", got=scale, allowed=one_of(scales))
        self.params, self.scale = params, scale
        self.scale_layer: Mapping[str, Any] = scales[scale]
        self.group_of = {name: group for group, names in params.tree["experiments"].items() for name in names}

    def common(self) -> list[Layer]:
        """The layers that speak of the whole scale, first one first."""
        return [
            Layer("defaults", self.params.tree.get("defaults", {})),
            Layer(f"scales.{self.scale}", self.scale_layer),
        ]

    def base(self, slot: str) -> list[Layer]:
        """The layers that all experiments of a slot share, first one first."""
        runtime = Layer("", {"runtime": self.params.tree.get("runtime", {})})
        own = Layer(f"scales.{self.scale}.slots.{slot}", self.scale_layer["slots"].get(slot) or {})
        return [runtime, *self.common(), own]

    def own(self, name: str) -> list[Layer]:
        """The layers of one experiment, without its base: its own word, its recipe, the scale's word."""
        return [part for layer in self._words(name) for part in self._with_recipe(layer)]

    def _words(self, name: str) -> tuple[Layer, Layer]:
        """What its group says of an experiment, and what the scale says of it."""
        group, of_scale = self.group_of[name], self.scale_layer.get("experiments", {})
        own = Layer(f"experiments.{group}.{name}", self.params.tree["experiments"][group][name])
        return own, Layer(f"scales.{self.scale}.experiments.{name}", of_scale.get(name) or {})

    def _with_recipe(self, layer: Layer) -> list[Layer]:
        recipe: Mapping[str, Any] = layer.values.get("own_recipe") or {}
        if self.params.recipe != "own" or not recipe:
            return [layer]
        blocks = dict(recipe)
        if self.scale != "paper" and "retrain" in blocks:
            blocks["retrain"] = {k: v for k, v in blocks["retrain"].items() if k not in _PAPER_SCALE_RECIPE}
        return [layer, Layer(f"{layer.where}.own_recipe", blocks)]

    def chain(self, name: str) -> list[str]:
        """The experiment's bases, first one first, and itself."""
        chain = [name]
        while (base := self.key(chain[0], "base")) is not None:
            if base not in self.group_of:
                raise GridError(
                    f"no such experiment{hint(base, self.group_of)}", where=self.at(chain[0], "base"), got=base
                )
            if base in chain:
                raise GridError(
                    "experiments are each other's base", where=" -> ".join([name, *reversed(chain[:-1]), base])
                )
            chain.insert(0, base)
        return chain

    def key(self, name: str, key: str) -> Any:
        """An experiment's own value of a key, the scale's word first."""
        own, of_scale = self._words(name)
        return {**own.values, **of_scale.values}.get(key)

    def says(self, name: str, key: str) -> bool:
        """Whether an experiment itself writes a key."""
        return any(key in layer.values for layer in self.own(name))

    def at(self, name: str, *keys: str) -> str:
        """Where an experiment, or a key of it, stands."""
        return join("experiments", self.group_of[name], name, *keys)
