"""Reading params.yaml: YAML to a checked plain tree; every problem is told at once, with its dotted path."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bars import params as models
from bars.errors import ParamsError
from bars.pipeline.home import included
from bars.pipeline.problems import check, hint, join, one_of, problems_error
from bars.pipeline.schema import GROUPS, SLOTS, file_model

__all__ = ["GROUPS", "Params", "Tree", "load_params", "merge_blocks", "merge_files"]

Tree = dict[str, Any]

# Mappings that a later layer replaces whole: half of one budget and half of another make no budget.
ATOMIC = frozenset({"budget", "genotype"})
_TEMPORARY = ".tmp-"  # bars.pipeline.files removes what is left over of such names


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
        return str(self.tree["recipe"])


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
    return Params(path, files, tree, models.ReportParams.model_validate(tree["report"]))


# ----------------------------------------------------------------------------------------------------- YAML
class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice and, as YAML 1.2 and DVC do, reads 1e-3 as a number, off as text."""

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


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
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
    below, files = _read_with_includes(_find(include, path), (*above, path))
    return merge_files(below, tree), (path, *files)


def _find(include: str, including: Path) -> Path:
    """The included file: beside the including one, in the nearest folder above it, or in the working directory.

    So a study finds params.yaml wherever in the project it is copied to.
    """
    beside = included(include, including)
    others = [*including.absolute().parent.parents, Path.cwd()]
    tried = (path for path in (beside, *(folder / include for folder in others)) if path.is_file())
    return next((path for path in tried if not path.samefile(including)), beside)


@functools.lru_cache(maxsize=8)  # kept for the forks of a process (bars/preloading.py)
def _parsed(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


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
        tree = copy.deepcopy(_parsed(text))
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


# ----------------------------------------------------------------------------------------------------- references
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
            if _TEMPORARY in name:
                problems.append(f"experiments.{group}.{name}: {_TEMPORARY} is how temporary folders are named")
    for scale, layer in tree["scales"].items():
        for name in layer.get("experiments", {}):
            if name not in home:
                problems.append(f"scales.{scale}.experiments.{name}: no such experiment{hint(name, home)}")
    return problems


def reserved_names() -> tuple[str, ...]:
    """Names of the slots' data sets, which no experiment may have."""
    return (*SLOTS, *(f"{slot}-search" for slot in SLOTS))
