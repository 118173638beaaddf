"""Snakemake's configuration as a params file: what --configfile and --config say, above the file they build on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bars.errors import ParamsError
from bars.pipeline.files import atomic_write
from bars.pipeline.home import included
from bars.pipeline.load import merge_files
from bars.pipeline.paths import MERGED
from bars.pipeline.problems import hint
from bars.pipeline.schema import file_model


def study_file(
    config: Mapping[str, Any], configfiles: Sequence[Path | str], default: str, typed: Mapping[str, Any]
) -> tuple[str, str | None]:
    """The params file that a configuration amounts to, and the scale if it names one. Raises ParamsError.

    ``params`` names a file; other keys are those of params.yaml and win over it, or over the file they ``include``.
    ``typed`` came by --config, which leaves numbers inside of mappings as text.
    """
    tree: dict[str, Any] = json.loads(json.dumps(config))  # plain dictionaries, to be compared and written
    tree = merge_files(tree, {key: _read_text(value) for key, value in typed.items() if key in tree})
    base = os.path.relpath(tree.pop("params", default))
    scale = tree.pop("scale", None)
    keys = tuple(file_model().model_fields)
    for key in tree:
        if key not in keys:
            raise ParamsError(
                f"--config: no such key: {key}{hint(key, keys)}",
                allowed=f"params=FILE, and the keys of params.yaml: {', '.join(keys)}",
                do="name targets before --config, or put -- between",
            )
    if scale is not None and not isinstance(scale, str):
        raise ParamsError("scale is not a name", where="--config", got=repr(scale), allowed="a name of scales")
    if "include" in tree:
        owner = _owner(tree["include"], configfiles)
        if owner is not None and _says(owner) == tree:  # all of it stands in one file
            return os.path.relpath(owner), scale
        base = str(included(tree.pop("include"), owner or Path("params.yaml")))
    return (_write(base, tree) if tree else base), scale


def _owner(include: str, configfiles: Sequence[Path | str]) -> Path | None:
    """The file that has this include, beside which the included one lies."""
    return next((Path(f) for f in reversed(configfiles) if _read(Path(f)).get("include") == include), None)


def _says(path: Path) -> dict[str, Any]:
    return {key: value for key, value in _read(path).items() if key not in ("params", "scale")}


def _read(path: Path) -> dict[str, Any]:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tree if isinstance(tree, dict) else {}


def _read_text(value: Any) -> Any:
    """Text inside of a value as YAML reads it."""
    if isinstance(value, Mapping):
        return {key: _read_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_read_text(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def _write(base: str, tree: Mapping[str, Any]) -> str:
    text = yaml.safe_dump({"include": os.path.relpath(base, MERGED), **tree}, sort_keys=True, allow_unicode=True)
    path = MERGED / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.is_file():
        atomic_write(path, text)
    return str(path)
