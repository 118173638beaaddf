"""Reading params.yaml: YAML to a checked plain tree; every problem is told at once, with its dotted path."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from bars.errors import ParamsError
from bars.pipeline import params as models

Tree = dict[str, Any]

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,63}$"
NAME_WORDS = "1 to 64 lower-case letters, digits, dots and hyphens, the first a letter or digit"
GROUPS = ("searched", "ablations", "widened", "baselines")
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
# Mappings that a later layer replaces whole: half of one budget and half of another make no budget.
ATOMIC = frozenset({"budget", "genotype"})

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


@dataclass(frozen=True)
class Params:
    """A params file whose every key and value was checked, layer by layer; ``Grid`` merges the layers."""

    path: Path
    files: tuple[Path, ...]
    tree: Tree = field(repr=False)
    report: models.ReportParams = field(repr=False)

    @property
    def scale(self) -> str:
        """The active scale."""
        return str(self.tree["scale"])

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of all scales."""
        return tuple(self.tree["scales"])

    @property
    def recipe(self) -> str:
        """``common`` or ``own`` (each baseline's original recipe)."""
        return str(self.tree.get("recipe", "common"))


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a params file and the files it includes. Raises ParamsError, once, for all problems."""
    path = Path(path)
    tree, files = _read_with_includes(path, ())
    tree.pop("include", None)
    problems = check(file_model(), tree)
    if not problems:
        problems = _check_references(tree)
    if problems:
        raise problems_error(f"{path} is not valid", problems)
    return Params(path, files, tree, models.ReportParams.model_validate(tree.get("report", {})))


# ----------------------------------------------------------------------------------------------------- YAML
class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice and reads 1e-3 as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is written twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _read_with_includes(path: Path, above: tuple[Path, ...]) -> tuple[Tree, tuple[Path, ...]]:
    """The merged tree of a file and its includes (the including file wins), and all files read."""
    if path.resolve() in {p.resolve() for p in above}:
        raise ParamsError(
            "params files include each other in a circle",
            where=" -> ".join(str(p) for p in (*above, path)),
            do="remove one `include:`",
        )
    tree = _read_yaml(path, above[-1] if above else None)
    include = tree.get("include")
    if include is None:
        return tree, (path,)
    if not isinstance(include, str):
        raise ParamsError(
            "include is not a path", where=f"include in {path}", got=repr(include), allowed="one file name"
        )
    below, files = _read_with_includes(path.parent / include, (*above, path))
    return merge_files(below, tree), (path, *files)


def _read_yaml(path: Path, included_by: Path | None) -> Tree:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParamsError(
            "cannot read the params file",
            where=f"{path}" + (f", included by {included_by}" if included_by else ""),
            got=error.strerror,
            do="run in the folder of the repository, or name a file with --params",
        ) from None
    except UnicodeDecodeError as error:
        raise ParamsError("the params file is not UTF-8 text", where=str(path), got=str(error)) from None
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise ParamsError("the params file is not valid YAML", where=place, got=error.problem) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParamsError("the params file is not valid YAML", where=str(path), got=str(error)) from None
    if not isinstance(tree, dict):
        raise ParamsError(
            "the params file is not a mapping",
            where=str(path),
            got="an empty file" if tree is None else type(tree).__name__,
            allowed="keys and values at the top level",
        )
    _check_plain(tree, path)
    return tree


def _check_plain(tree: Tree, path: Path) -> None:
    """Only what JSON can hold: no dates, no keys that YAML took for numbers or booleans, no circles."""
    problems: list[str] = []

    def walk(value: Any, at: str, above: tuple[int, ...]) -> None:
        if id(value) in above:
            problems.append(f"{at}: an alias to a mapping or list around itself")
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    problems.append(f"{join(at, str(key))}: YAML reads this key as {type(key).__name__}; quote it")
                else:
                    walk(item, join(at, key), (*above, id(value)))
        elif isinstance(value, list):
            for i, item in enumerate(value):
                walk(item, join(at, str(i)), (*above, id(value)))
        elif not isinstance(value, (str, int, float, bool, type(None))):
            problems.append(f"{at}: YAML reads this value as {type(value).__name__}; quote it")

    walk(tree, "", ())
    if problems:
        raise problems_error(f"{path} is not valid", problems)


# ----------------------------------------------------------------------------------------------------- merging
def join(*parts: str) -> str:
    """Dotted path of the parts that are not empty."""
    return ".".join(part for part in parts if part)


def merge_files(below: Tree, above: Tree) -> Tree:
    """Deep merge of two params files; null may replace a mapping, since a whole file is checked afterwards."""
    return _merge(below, above, "", null_replaces=True)


def merge_blocks(below: Mapping[str, Any], above: Mapping[str, Any], where: str = "") -> Tree:
    """Deep merge of two layers: mappings merge, all else is replaced; a mapping never becomes a plain value."""
    return _merge(below, above, where, null_replaces=False)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any], where: str, *, null_replaces: bool) -> Tree:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if key in ATOMIC or old is None or (value is None and null_replaces):
            merged[key] = value
        elif isinstance(old, Mapping) != isinstance(value, Mapping):
            raise ParamsError(
                "a mapping cannot be replaced by a plain value"
                if isinstance(old, Mapping)
                else "a plain value cannot be replaced by a mapping",
                where=join(where, key),
                got=repr(value),
                allowed=f"a mapping with some of: {', '.join(old)}" if isinstance(old, Mapping) else "a plain value",
            )
        elif isinstance(old, Mapping):
            merged[key] = _merge(old, value, join(where, key), null_replaces=null_replaces)
        else:
            merged[key] = value
    return merged


# ---------------------------------------------------------------------------------------------------- the file's shape
_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _model(name: str, doc: str, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    made: type[BaseModel] = create_model(name, __config__=_CONFIG, __doc__=doc, **dict(fields))  # type: ignore[call-overload]
    return made


def _dict_of(key: Any, value: type[BaseModel], *, null: bool = False) -> Any:
    return GenericAlias(dict, (key, value | None if null else value))


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


@functools.cache
def file_model() -> type[BaseModel]:
    """The whole params file as a pydantic model; also the source of workflow/schemas/params.schema.json."""
    blocks = {name: _optional(partial(model), (model.__doc__ or "").strip()) for name, model in BLOCKS.items()}
    width = _optional(Annotated[float, Field(gt=0)], "width multiplier of hand-made networks")
    seeds_type = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_unique)]
    recipe = _model("Recipe", "A network's original recipe.", {"retrain": _optional(partial(models.RetrainParams), "")})
    slot = _model("SlotLayer", "One slot of a scale.", {**blocks, "model_width": width})
    experiment = _model(
        "ExperimentLayer",
        "One experiment: where it comes from, and what it sets otherwise.",
        {
            **blocks,
            "slot": _optional(models.Slot, "the data set it runs on"),
            "base": _optional(Name, "experiment whose slot and settings it takes over"),
            "search_from": _optional(Name | None, "experiment whose search it derives from"),
            "genotype_from": _optional(Name | None, "experiment whose genotype of the same seed it trains"),
            "genotype": _optional(dict[str, Any] | str | None, "a genotype, or the path of a genotype.json"),
            "width_multiplier": _optional(Annotated[float, Field(gt=0)], "factor of space.init_channels"),
            "model": _optional(partial(models.ModelParams), "a hand-made network instead of a searched one"),
            "own_recipe": _optional(recipe, "training of the original authors, used with recipe: own"),
            "seeds": _optional(seeds_type, "seeds of this experiment, if not those of the scale"),
            "extra": _optional(bool, "not in the paper"),
            "label": _optional(str, "name in tables and figures"),
        },
    )
    by_name = _dict_of(Name, experiment)
    scale = _model(
        "ScaleLayer",
        "How big everything is.",
        {
            **blocks,
            "seeds": (seeds_type, Field(description="one independent run of every experiment per seed")),
            "slots": (_dict_of(models.Slot, slot, null=True), Field(description="data sets; null: none at this scale")),
            "model_width": width,
            "experiments": _optional(
                _dict_of(Name, experiment, null=True),
                "what this scale sets otherwise; null: not run at this scale",
            ),
        },
    )
    groups = _model("Experiments", "All runs.", {group: _optional(by_name, f"runs of {group}/") for group in GROUPS})
    defaults = _model("Defaults", "The first layer.", {k: v for k, v in blocks.items() if k != "runtime"})
    return _model(
        "Params",
        "The parameter file: layered, partial blocks, merged for each experiment.",
        {
            "scale": (Name, Field(description="the scale that is run")),
            "recipe": _optional(Literal["common", "own"], "one recipe for all networks, or each baseline's own"),
            "runtime": _optional(partial(models.RuntimeParams), "how a stage computes"),
            "defaults": _optional(defaults, "the first layer of every block"),
            "scales": (_dict_of(Name, scale), Field(description="scales by name")),
            "experiments": (groups, Field(description="the grid")),
            "report": _optional(models.ReportParams, "what tables and figures read"),
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


def _check_references(tree: Tree) -> list[str]:
    """What the shape cannot say: the active scale exists, names are unique and name something."""
    problems = []
    if tree["scale"] not in tree["scales"]:
        problems.append(
            f"scale: got {tree['scale']!r}, allowed {one_of(tree['scales'])}{hint(tree['scale'], tree['scales'])}"
        )
    home: dict[str, str] = {}
    for group, experiments in tree["experiments"].items():
        for name in experiments:
            if name in home:
                problems.append(f"experiments.{group}.{name}: this name is already one of experiments.{home[name]}")
            home.setdefault(name, group)
            if name in reserved_names():
                problems.append(f"experiments.{group}.{name}: this is the name of a data set")
    for scale, layer in tree["scales"].items():
        for name in layer.get("experiments", {}):
            if name not in home:
                problems.append(f"scales.{scale}.experiments.{name}: no such experiment{hint(name, home)}")
    return problems


def reserved_names() -> tuple[str, ...]:
    """Names of the slots' data sets, which no experiment may have."""
    return (*SLOTS, *(f"{slot}-search" for slot in SLOTS))


# ---------------------------------------------------------------------------------------------------- telling problems
def problems_error(what: str, problems: Iterable[str]) -> ParamsError:
    """One ParamsError that lists each problem once."""
    lines = list(dict.fromkeys(problems))
    count = f" ({len(lines)} problems)" if len(lines) > 1 else ""
    return ParamsError(what + count + ":\n" + "\n".join(f"  {line}" for line in lines))


def one_of(names: Iterable[str]) -> str:
    """Allowed words as text."""
    return "one of " + ", ".join(names)


def hint(name: str, names: Iterable[str]) -> str:
    """``; did you mean ...?`` if a known name is close to this one."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def check(
    model: type[BaseModel], tree: Mapping[str, Any], locate: Callable[[tuple[str, ...]], str] | None = None
) -> list[str]:
    """Problems of a tree against a model, one line each: ``dotted.path: got ..., allowed ...``.

    Strict (no text for numbers, no booleans for counts); ``locate`` turns a path into where it was written.
    """
    try:
        model.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        return explain(error, model, tree, locate)
    return []


def explain(
    error: ValidationError,
    model: type[BaseModel],
    tree: Mapping[str, Any],
    locate: Callable[[tuple[str, ...]], str] | None = None,
) -> list[str]:
    """A pydantic error as lines; the branches of a union count as one problem."""
    lines: dict[str, str] = {}
    for item in error.errors(include_url=False):
        path, value, found = _walk(tree, item["loc"])
        path = tuple(part for part in path if part != "[key]")
        where = locate(path) if locate else join(*path)
        lines.setdefault(where, f"{where}: {_say(item, path, value, found, model)}")
    return list(lines.values())


def _walk(tree: Any, loc: tuple[int | str, ...]) -> tuple[tuple[str, ...], Any, bool]:
    """The part of a pydantic location that exists in the tree (the rest names union branches), and its value."""
    path: list[str] = []
    for i, part in enumerate(loc):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[str(part)]
        elif isinstance(tree, Sequence) and not isinstance(tree, str) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif i == len(loc) - 1 and isinstance(tree, Mapping):
            return (*path, str(part)), None, False  # a missing key
        else:
            break
        path.append(str(part))
    return tuple(path), tree, True


def _say(item: Any, path: tuple[str, ...], value: Any, found: bool, model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "missing" and not found:
        return f"missing, {_allowed(model, path)}"
    if kind == "extra_forbidden":
        known = _keys(model, path[:-1])
        near = hint(path[-1], known)
        return f"no such key{near}" if near or not known else f"no such key, allowed: {', '.join(known)}"
    if kind == "string_pattern_mismatch" and "[key]" in item["loc"]:
        return f"not a valid name: {NAME_WORDS}"
    if kind == "value_error":
        return f"got {_short(value)}: {item['msg'].removeprefix('Value error, ')}"
    return f"got {_short(value)}, {_allowed(model, path)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _schema_at(model: type[BaseModel], path: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of the value at a path of a model, with references and ``or null`` resolved."""
    schema = _schema(model)
    defs = schema.get("$defs", {})
    node = _resolve(schema, defs)
    for part in path:
        if "properties" in node and part in node["properties"]:
            node = node["properties"][part]
        elif "patternProperties" in node:
            node = next(iter(node["patternProperties"].values()))
        elif isinstance(node.get("additionalProperties"), dict):
            node = node["additionalProperties"]
        elif "prefixItems" in node:
            node = node["prefixItems"][int(part)]
        elif "items" in node:
            node = node["items"]
        else:
            return {}
        node = _resolve(node, defs)
    return node


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(model).json_schema()


def _resolve(node: dict[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = {**{k: v for k, v in node.items() if k != "$ref"}, **defs[node["$ref"].rsplit("/", 1)[1]]}
    choices = [c for c in node.get("anyOf", ()) if c.get("type") != "null"]
    if len(choices) == 1:
        return {**{k: v for k, v in node.items() if k != "anyOf"}, **_resolve(choices[0], defs)}
    return node


def _keys(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    return list(_schema_at(model, path).get("properties", {}))


def _allowed(model: type[BaseModel], path: tuple[str, ...]) -> str:
    schema = _schema_at(model, path)
    meaning = schema.get("description", "")
    words = _words(schema)
    if not words:
        return f"allowed: {meaning}" if meaning else "which is not allowed here"
    return f"allowed {words}" + (f" ({meaning})" if meaning and schema.get("type") != "object" else "")


_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "null",
}
_LIMITS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))


def _words(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "enum" in schema:
        return one_of(str(v) for v in schema["enum"])
    if "anyOf" in schema:
        return ", or ".join(_words(choice) for choice in schema["anyOf"])
    kind = schema.get("type", "")
    words = _TYPES.get(kind, "")
    limits = [f"{sign} {schema[key]:,}" for key, sign in _LIMITS if key in schema]
    if limits:
        words += " " + " and ".join(limits)
    if kind == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        inner = _words(items) if isinstance(items, dict) else ""
        words += f", each {inner}" if inner else ""
    if kind == "object" and schema.get("properties"):
        words += " with some of: " + ", ".join(schema["properties"])
    if "pattern" in schema:
        words += f" that matches {schema['pattern']}" if schema["pattern"] != NAME_PATTERN else f" of {NAME_WORDS}"
    return words
