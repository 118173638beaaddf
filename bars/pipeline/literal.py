"""A genotype written in params.yaml, or in a file that it names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bars import params as models
from bars.errors import GenotypeError, ParamsError
from bars.pipeline.problems import join
from bars.space import Genotype, SearchSpace, StageGenotype


def literal_genotype(given: Any, space: models.SpaceParams, files: Iterable[Path], where: str) -> dict[str, Any]:
    """Its full JSON. A path stands beside one of ``files``, the params files. Raises ParamsError, GenotypeError."""
    value = given
    if isinstance(given, str):
        beside = [file.parent / given for file in files]  # an included file names its own neighbours
        path = next((path for path in beside if path.is_file()), beside[0])
        where = f"{where}: {path}"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ParamsError("cannot read the genotype", where=where, got=str(error)) from None
    try:
        return _genotype(value, SearchSpace.from_params(space)).to_json()
    except GenotypeError as error:
        raise error.at(join(where, error.where or "")) from None


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
