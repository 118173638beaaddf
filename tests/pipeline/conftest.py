from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from tests.grids import TREE, Edits, edited

# Timings on a shared machine say nothing: a first example may import a library.
settings.register_profile("bars", deadline=None)
settings.load_profile("bars")


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[..., Path]:
    """Write the tiny params file, with edits by slashed path."""

    def write(edits: Edits | None = None, name: str = "params.yaml", tree: dict[str, Any] | None = None) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(edited(TREE if tree is None else tree, edits or {}), sort_keys=False))
        return path

    return write


@pytest.fixture
def make_grid(write_params: Callable[..., Path]) -> Callable[..., Grid]:
    """The grid of the tiny params file, with edits by slashed path."""

    def make(edits: Edits | None = None, scale: str | None = None) -> Grid:
        return Grid(load_params(write_params(edits)), scale)

    return make
