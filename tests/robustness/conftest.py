"""Tests of inputs work in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bars.data import manifest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory and a place for manifests that are this test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "MANIFESTS", tmp_path / "manifests")
