"""The shape of params.yaml: partial blocks in layers. Its JSON schema is workflow/schemas/params.schema.json.

``python -m bars.pipeline.schema`` writes that file again; a test keeps it in step.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from bars import params as models
from bars.pipeline.problems import NAME_PATTERN

SCHEMA = Path(__file__).resolve().parents[2] / "workflow" / "schemas" / "params.schema.json"
GROUPS = ("searched", "ablations", "widened", "baselines", "ranking")
SLOTS: tuple[str, ...] = get_args(models.Slot)
BLOCKS: dict[str, type[models.Block]] = {
    "data": models.DataParams,
    "search_data": models.DataParams,
    "space": models.SpaceParams,
    "binarize": models.BinarizeParams,
    "search": models.SearchParams,
    "derive": models.DeriveParams,
    "retrain": models.RetrainParams,
    "evaluate": models.EvaluateParams,
    "runtime": models.RuntimeParams,
}
# Blocks of a whole scale, which no slot or experiment may change: they stand in defaults and scales.
SCALE_BLOCKS: dict[str, type[models.Block]] = {"latency": models.LatencyParams}

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]

_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _model(name: str, doc: str, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    made: type[BaseModel] = create_model(name, __config__=_CONFIG, __doc__=doc, **dict(fields))  # type: ignore[call-overload]
    return made


def _dict_of(key: Any, value: Any, *, null: bool = False) -> Any:
    return GenericAlias(dict, (key, value | None if null else value))


def _list_of(value: Any) -> Any:
    return GenericAlias(list, (value,))


def _optional(kind: Any, description: str) -> tuple[Any, Any]:
    """A key that may be left out; written as null it is an error unless its type says otherwise."""
    return kind, Field(default=None, description=description)


@functools.cache
def partial(model: type[models.Block]) -> type[BaseModel]:
    """The block as a layer may write it: the same keys and types, none of them required."""
    fields: dict[str, tuple[Any, Any]] = {}
    for name, info in model.model_fields.items():
        kind: Any = info.annotation
        if kind is models.Ramp:
            kind = partial(models.Ramp)
        elif info.metadata:
            kind = Annotated[kind, *info.metadata]
        fields[name] = _optional(kind, info.description or "")
    return _model(model.__name__.removesuffix("Params"), (model.__doc__ or "").strip(), fields)


def _unique(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a seed is written twice")
    return values


def _genotype() -> type[BaseModel]:
    edge = {
        "source": (int, Field(description="node it leaves; 0 is the cell's input")),
        "target": (int, Field(description="node it enters")),
        "primitive": (str, Field(description="its operation")),
    }
    stage = {
        "depth": (int, Field(description="normal cells kept")),
        "width": (float, Field(description="relative width")),
    }
    return _model(
        "GenotypeLiteral",
        "A genotype, as in genotype.json; format, space and sha256 may be left out.",
        {
            "format": _optional(str, "bars-genotype/1"),
            "space": _optional(dict[str, Any], "the space it is of"),
            "stages": (_list_of(_model("StageLiteral", "A stage.", stage)), Field(description="one per stage")),
            "cells": (
                _dict_of(str, _list_of(_model("EdgeLiteral", "An edge.", edge))),
                Field(description="all edges of each cell type"),
            ),
            "sha256": _optional(str, "hash of its content"),
        },
    )


_SEEDS = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_unique)]


def _experiment(blocks: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    recipe = _model(
        "Recipe",
        "A network's original recipe.",
        {
            "retrain": _optional(partial(models.RetrainParams), "its training"),
            "model": _optional(partial(models.ModelParams), "what its training asks of the network, as options"),
            "binarize": _optional(partial(models.BinarizeParams), "and of its binarisation"),
        },
    )
    return _model(
        "ExperimentLayer",
        "One experiment: where it comes from, and what it sets otherwise.",
        {
            **blocks,
            "slot": _optional(models.Slot, "the data set it runs on"),
            "base": _optional(Name, "experiment whose slot and settings it takes over"),
            "search_from": _optional(Name | None, "experiment whose search it derives from"),
            "genotype_from": _optional(Name | None, "experiment whose genotype of the same seed it trains"),
            "rank_with": _optional(Name | None, "experiment whose supernets score architectures of its space"),
            "matched_to": _optional(
                Name | None, "experiment to whose network of the same seed random draws match FLOPs and BiOps"
            ),
            "genotype": _optional(_genotype() | str | None, "a genotype, or the path of a genotype.json"),
            "width_multiplier": _optional(
                Annotated[float, Field(gt=0)], "factor of space.init_channels, or of model.width"
            ),
            "model": _optional(partial(models.ModelParams), "a hand-made network instead of a searched one"),
            "own_recipe": _optional(recipe, "training of the original authors, used with recipe: own"),
            "seeds": _optional(_SEEDS, "seeds of this experiment, if not those of the scale"),
            "extra": _optional(bool, "not in the paper"),
            "label": _optional(str, "name in tables and figures"),
        },
    )


@functools.cache
def file_model() -> type[BaseModel]:
    """The whole params file as a pydantic model; also the source of workflow/schemas/params.schema.json."""
    blocks = {name: _optional(partial(model), (model.__doc__ or "").strip()) for name, model in BLOCKS.items()}
    of_scale = {name: _optional(partial(model), (model.__doc__ or "").strip()) for name, model in SCALE_BLOCKS.items()}
    width = _optional(Annotated[float, Field(gt=0)], "width multiplier of hand-made networks")
    slot = _model("SlotLayer", "One slot of a scale.", {**blocks, "model_width": width})
    experiment = _experiment(blocks)
    by_name = _dict_of(Name, experiment)
    scale = _model(
        "ScaleLayer",
        "How big everything is.",
        {
            **blocks,
            **of_scale,
            "seeds": (_SEEDS, Field(description="one independent run of every experiment per seed")),
            "slots": (_dict_of(models.Slot, slot, null=True), Field(description="data sets; null: none at this scale")),
            "model_width": width,
            "experiments": _optional(
                _dict_of(Name, experiment, null=True),
                "what this scale sets otherwise; null: not run at this scale",
            ),
        },
    )
    groups = _model("Experiments", "All runs.", {group: _optional(by_name, f"runs of {group}/") for group in GROUPS})
    first = {name: field for name, field in {**blocks, **of_scale}.items() if name != "runtime"}
    defaults = _model("Defaults", "The first layer.", first)
    return _model(
        "Params",
        "The parameter file: layered, partial blocks, merged for each experiment.",
        {
            "scale": (Name, Field(description="the scale that is run")),
            "recipe": (
                Literal["common", "own"],
                Field(description="one recipe for all networks, or each baseline's own"),
            ),
            "runtime": _optional(partial(models.RuntimeParams), "how a stage computes"),
            "defaults": _optional(defaults, "the first layer of every block"),
            "scales": (_dict_of(Name, scale), Field(description="scales by name")),
            "experiments": (groups, Field(description="the grid")),
            "report": (models.ReportParams, Field(description="what tables and figures read")),
            "include": _optional(str, "another params file, over which this one is laid"),
        },
    )


def params_schema() -> dict[str, Any]:
    """JSON schema of a params file (written to workflow/schemas/params.schema.json; a test keeps it in step)."""
    schema = file_model().model_json_schema()
    _drop_null_defaults(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _drop_null_defaults(node: Any) -> None:
    if isinstance(node, dict):
        if "default" in node and node["default"] is None:
            del node["default"]
        for value in node.values():
            _drop_null_defaults(value)
    elif isinstance(node, list):
        for value in node:
            _drop_null_defaults(value)


def schema_text() -> str:
    """The content of workflow/schemas/params.schema.json."""
    return json.dumps(params_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
