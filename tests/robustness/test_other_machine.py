"""A run that is continued where ``auto`` comes to something else: it goes on as it began, or says why not."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bars.training import runtime
from bars.training.checkpoint import FileCheckpointer
from tests.calling import call
from tests.grids import TREE

SEARCH = Path("results/tiny/searched/a/seed-0/search")
pytestmark = pytest.mark.usefixtures("here")
needs_compiler = pytest.mark.skipif(runtime.shutil.which("g++") is None, reason="needs a C++ compiler")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def study(**choices: str) -> None:
    """A study with these values of ``runtime``, and its data."""
    tree = copy.deepcopy(TREE)
    tree["runtime"] |= choices
    Path("params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    assert call("data", "cifar10")[0] == 0


def multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch, units: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": units})


def interrupted(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Run a stage that is killed after its first epoch."""
    save = FileCheckpointer.save

    def save_and_die(self: FileCheckpointer, state: dict[str, Any]) -> None:
        save(self, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileCheckpointer, "save", save_and_die)
        assert call(stage, "a", "--seed", "0")[0] != 0


def finished(stage: str) -> tuple[bytes, dict[str, Any]]:
    """Run a stage; the log of its epochs, and its provenance."""
    status, err = call(stage, "a", "--seed", "0")
    assert status == 0, err
    folder = SEARCH.with_name(stage)
    return (folder / "epochs.csv").read_bytes(), json.loads((folder / "provenance.json").read_text())


@pytest.mark.parametrize("stage", ["search", "retrain"])
def test_precision_stays_as_it_began(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study(precision="auto", passes="eager")
    multiplies_bfloat16(monkeypatch, True)
    if stage == "retrain":
        assert call("search", "a", "--seed", "0")[0] == call("derive", "a", "--seed", "0")[0] == 0
    whole, record = finished(stage)
    assert record["precision"] == "bfloat16"
    shutil.rmtree(SEARCH.with_name(stage))
    interrupted(monkeypatch, stage)
    multiplies_bfloat16(monkeypatch, False)
    continued, record = finished(stage)
    assert (continued, record["precision"]) == (whole, "bfloat16")
    shutil.rmtree(SEARCH.with_name(stage))
    from_its_start, record = finished(stage)
    assert record["precision"] == "float32" and from_its_start != whole


@needs_compiler
def test_passes_stay_as_they_began_and_without_a_compiler_it_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    study(passes="auto")
    interrupted(monkeypatch, "search")
    with monkeypatch.context() as patch:
        patch.setattr(runtime.shutil, "which", lambda name: None)
        status, err = call("search", "a", "--seed", "0")
        assert status == 2, err
        assert "cannot go on here as it began" in err and "float32 and native passes" in err and "eager" in err
        assert "state.pt" in err and not SEARCH.exists()
    _, record = finished("search")
    assert record["passes"] == "native" and record["libraries"]["compiler"]


@needs_compiler
def test_a_run_without_native_passes_goes_on_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    study(passes="auto")
    with monkeypatch.context() as patch:
        patch.setattr(runtime.shutil, "which", lambda name: None)
        interrupted(monkeypatch, "search")
    _, record = finished("search")
    assert record["passes"] == "eager" and "compiler" not in record["libraries"]


def test_all_devices_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    study()
    with monkeypatch.context() as patch:
        patch.setattr(runtime.Runtime, "device_name", "another device")
        interrupted(monkeypatch, "search")
    assert finished("search")[1]["device"] == "another device, then cpu"
