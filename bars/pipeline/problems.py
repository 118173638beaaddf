"""Telling what is wrong with a tree of values: every problem in one line, with its dotted path."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from bars.errors import ParamsError

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,63}$"
NAME_WORDS = "1 to 64 lower-case letters, digits, dots and hyphens, the first a letter or digit"


def join(*parts: str) -> str:
    """Dotted path of the parts that are not empty."""
    return ".".join(part for part in parts if part)


def problems_error(what: str, problems: Iterable[str]) -> ParamsError:
    """One ParamsError that lists each problem once."""
    lines = list(dict.fromkeys(problems))
    count = f" ({len(lines)} problems)" if len(lines) > 1 else ""
    return ParamsError(what + count + ":\n" + "\n".join(f"  {line}" for line in lines))


class Problems:
    """Collects problems, to tell all of them at once; a value that many experiments lack is one problem."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._unwritten: dict[tuple[str, str], list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines or self._unwritten)

    def add(self, line: str) -> None:
        """One problem: ``dotted.path: what``."""
        self._lines.append(line)

    def unwritten(self, key: str, why: str, name: str) -> None:
        """Nobody writes this key of experiment ``name``."""
        self._unwritten.setdefault((key, why), []).append(name)

    def raise_any(self, what: str) -> None:
        """Raises ParamsError unless there is none."""
        lines = list(self._lines)
        for (key, why), names in self._unwritten.items():
            others = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"{key} of {', '.join(names[:3])}{others}: {why}")
        if lines:
            raise problems_error(what, lines)


def one_of(names: Iterable[str]) -> str:
    """Allowed words as text."""
    return "one of " + ", ".join(names)


def hint(name: str, names: Iterable[str]) -> str:
    """``; did you mean ...?`` if a known name is close to this one."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def check(model: type[BaseModel], tree: Mapping[str, Any]) -> list[str]:
    """Problems of a tree against a model, one line each: ``dotted.path: got ..., allowed ...``.

    Strict: no text for numbers, no booleans for counts.
    """
    try:
        model.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        return explain(error, model, tree)
    return []


def explain(
    error: ValidationError,
    model: type[BaseModel],
    tree: Mapping[str, Any],
    locate: Callable[[tuple[str, ...]], str] | None = None,
) -> list[str]:
    """A pydantic error as lines; a union's branches are one problem. ``locate`` says where a path was written."""
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
        fewest, most = schema.get("minItems", 0), schema.get("maxItems")
        words += f" of {fewest}" if fewest == most else f" of at least {fewest}" if fewest else ""
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        inner = _words(items) if isinstance(items, dict) else ""
        words += f", each {inner}" if inner else ""
    if kind == "object" and schema.get("properties"):
        words += " with some of: " + ", ".join(schema["properties"])
    if "pattern" in schema:
        words += f" that matches {schema['pattern']}" if schema["pattern"] != NAME_PATTERN else f" of {NAME_WORDS}"
    return words
