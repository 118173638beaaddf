"""Blocks of parameters as params.yaml's defaults give them, for tests that need some and change a few."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar

from bars.params import Block, ClaimsParams, FiguresParams
from bars.pipeline.load import load_params
from bars.pipeline.schema import BLOCKS, SCALE_BLOCKS

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
B = TypeVar("B", bound=Block)


@functools.cache
def tree() -> dict[str, Any]:
    """params.yaml as it stands."""
    return load_params(PARAMS).tree


def block(model: type[B], **changes: Any) -> B:
    """The defaults of params.yaml with changes, validated."""
    defaults = {**tree()["defaults"], "runtime": tree()["runtime"]}
    given = {kind: defaults[name] for name, kind in {**BLOCKS, **SCALE_BLOCKS}.items() if name in defaults}
    given |= {ClaimsParams: tree()["report"]["claims"], FiguresParams: tree()["report"]["figures"]}
    return model.model_validate({**given[model], **changes})
