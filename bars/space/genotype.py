"""An architecture of the space as a validated value with a canonical hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from bars.errors import GenotypeError, OtherSpaceError, SpaceError
from bars.space.search_space import REDUCTION, Edge, SearchSpace

FORMAT = "bars-genotype/1"


@dataclass(frozen=True)
class StageGenotype:
    """Depth (normal cells kept, from the first) and relative width of one stage."""

    depth: int
    width: float


@dataclass(frozen=True, eq=False)
class Genotype:
    """Depth and width of each stage, and a primitive for every edge of every cell type; ``none`` is written out."""

    space: SearchSpace
    stages: tuple[StageGenotype, ...]
    cells: Mapping[str, Mapping[Edge, str]]

    def __post_init__(self) -> None:
        space = self.space
        if len(self.stages) != space.stages:
            _refuse("stages", len(self.stages), f"{space.stages} stages")
        for s, stage in enumerate(self.stages):
            if stage.depth not in range(space.cells_per_stage + 1):
                _refuse(f"stages[{s}].depth", stage.depth, f"0 to {space.cells_per_stage}")
            if stage.width not in space.widths:
                _refuse(f"stages[{s}].width", stage.width, f"one of {list(space.widths)}")
        if set(self.cells) != set(space.all_types):
            _refuse("cells", sorted(self.cells), f"exactly {list(space.all_types)}")
        for name, edges in self.cells.items():
            if set(edges) != set(space.edges):
                _refuse(f"cells.{name}", sorted(edges), f"each of the {len(space.edges)} edges once")
            for edge, primitive in edges.items():
                if primitive not in space.primitives:
                    _refuse(f"cells.{name}{list(edge)}", primitive, f"one of {list(space.primitives)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genotype) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def normal(self, stage: int, cell: int) -> Mapping[Edge, str]:
        """Primitive of each edge of normal cell ``cell`` of ``stage`` (both from 0)."""
        return self.cells[self.space.cell_type(stage, cell)]

    @property
    def reduction(self) -> Mapping[Edge, str]:
        """Primitive of each edge of the reduction cells."""
        return self.cells[REDUCTION]

    @cached_property
    def used_types(self) -> tuple[str, ...]:
        """The cell types that the network has cells of: a type whose stages keep no cell is none of its parts."""
        normal = {self.space.cell_type(s, k) for s, stage in enumerate(self.stages) for k in range(stage.depth)}
        return tuple(name for name in self.space.all_types if name in normal or name == REDUCTION)

    def counts(self) -> dict[str, dict[str, int]]:
        """Edges per primitive, for each cell type that the network has."""
        return {
            name: {p: sum(1 for chosen in self.cells[name].values() if chosen == p) for p in self.space.primitives}
            for name in self.used_types
        }

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "space": self.space.signature(),
            "stages": [{"depth": s.depth, "width": s.width} for s in self.stages],
            "cells": {
                name: [{"source": e[0], "target": e[1], "primitive": self.cells[name][e]} for e in self.space.edges]
                for name in self.space.all_types
            },
        }

    @cached_property
    def sha256(self) -> str:
        """Hash of the canonical JSON: the same architecture of the same space always has the same one."""
        return _digest(self._body())

    def to_json(self) -> dict[str, Any]:
        """The canonical form with its hash, ready for ``json.dumps``."""
        return {**self._body(), "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any, space: SearchSpace | None = None) -> Genotype:
        """Validate and build; with ``space``, a genotype of another space is refused. Raises GenotypeError."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            _refuse("format", value.get("format") if isinstance(value, dict) else type(value).__name__, FORMAT)
        own = _space_of(value.get("space"))
        if space is not None and own.signature() != space.signature():
            raise OtherSpaceError(
                "the genotype belongs to another search space",
                got=json.dumps(own.signature()),
                allowed=json.dumps(space.signature()),
                do="derive it again, or give the experiment the space it was found in",
            )
        genotype = cls(space or own, _stages_of(value.get("stages")), _cells_of(value.get("cells")))
        if value.get("sha256") != genotype.sha256:
            _refuse(
                "sha256",
                value.get("sha256"),
                f"{genotype.sha256}, the hash of its content",
                do="it was edited; derive it again",
            )
        return genotype


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refuse(where: str, got: object, allowed: str, do: str | None = None) -> NoReturn:
    raise GenotypeError("not a valid genotype", where=where, got=got, allowed=allowed, do=do)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _space_of(value: Any) -> SearchSpace:
    keys = {"stages", "cells_per_stage", "nodes", "widths", "primitives", "cell_types"}
    if not isinstance(value, dict) or set(value) != keys:
        _refuse("space", value, f"a mapping with {sorted(keys)}")
    for key in ("stages", "cells_per_stage", "nodes"):
        if not _is_int(value[key]) or not 1 <= value[key] <= 64:
            _refuse(f"space.{key}", value[key], "a whole number from 1 to 64")
    widths, primitives = value["widths"], value["primitives"]
    if not isinstance(widths, list) or not all(isinstance(w, float | int) and not isinstance(w, bool) for w in widths):
        _refuse("space.widths", widths, "a list of numbers")
    if not isinstance(primitives, list) or not all(isinstance(p, str) for p in primitives):
        _refuse("space.primitives", primitives, "a list of names")
    if value["cell_types"] not in ("stage", "shared", "cell"):
        _refuse("space.cell_types", value["cell_types"], "stage, shared or cell")
    try:
        return SearchSpace(
            stages=value["stages"],
            cells_per_stage=value["cells_per_stage"],
            nodes=value["nodes"],
            widths=tuple(float(w) for w in widths),
            primitives=tuple(primitives),
            cell_types=value["cell_types"],
        )
    except SpaceError as error:
        raise GenotypeError("not a valid genotype", where="space", got=str(error)) from error


def _stages_of(value: Any) -> tuple[StageGenotype, ...]:
    if not isinstance(value, list):
        _refuse("stages", value, "a list")
    stages = []
    for i, stage in enumerate(value):
        if not isinstance(stage, dict) or set(stage) != {"depth", "width"} or not _is_int(stage["depth"]):
            _refuse(f"stages[{i}]", stage, "a depth (whole number) and a width")
        if not isinstance(stage["width"], float | int) or isinstance(stage["width"], bool):
            _refuse(f"stages[{i}].width", stage["width"], "a number")
        stages.append(StageGenotype(stage["depth"], float(stage["width"])))
    return tuple(stages)


def _cells_of(value: Any) -> dict[str, dict[Edge, str]]:
    if not isinstance(value, dict):
        _refuse("cells", value, "a mapping from cell types to lists of edges")
    cells: dict[str, dict[Edge, str]] = {}
    for name, edges in value.items():
        if not isinstance(edges, list):
            _refuse(f"cells.{name}", edges, "a list of edges")
        cell: dict[Edge, str] = {}
        for i, edge in enumerate(edges):
            if not isinstance(edge, dict) or set(edge) != {"source", "target", "primitive"}:
                _refuse(f"cells.{name}[{i}]", edge, "a source, a target and a primitive")
            key = (edge["source"], edge["target"])
            if not all(_is_int(node) for node in key) or not isinstance(edge["primitive"], str):
                _refuse(f"cells.{name}[{i}]", edge, "whole numbers as nodes and a name as primitive")
            if key in cell:
                _refuse(f"cells.{name}[{i}]", edge, "each edge once")
            cell[key] = edge["primitive"]
        cells[name] = cell
    return cells
