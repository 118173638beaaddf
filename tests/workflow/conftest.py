from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.planning import STUDY, FakeTree, Job, copy_project, plan, touch

# Of the ablations and baselines, those that the fake trees have.
KEPT = (
    "collapsed-search",
    "collapsed-search-in-floats",
    "without-flops-reg",
    "without-sampling-in-derive",
    "resnet18-xnor",
)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """All jobs of the smoke scale."""
    return plan(["all", "datasets"], directory=tmp_path_factory.mktemp("plan"), scale="smoke")


@pytest.fixture(scope="session")
def fake_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which every output exists, of which Snakemake knows nothing."""
    root = copy_project(tmp_path_factory.mktemp("fake") / "project")
    experiments = yaml.safe_load((root / "params.yaml").read_text())["experiments"]
    names = [name for group in ("ablations", "baselines") for name in experiments[group]]
    fewer: dict[str, Any] = {name: None for name in names if name not in KEPT}
    study = {"include": "params.yaml", "scales": {"smoke": {"experiments": fewer}}}
    (root / STUDY).write_text(yaml.safe_dump(study))
    for job in plan(["all", "datasets"], root=root, directory=root, params=STUDY):
        for output in job.outputs:
            path = root / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"fake {output}\n")
    return root


@pytest.fixture(scope="session")
def fake_master(fake_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("touched") / "project"
    shutil.copytree(fake_results, root)
    touch(["all", "datasets"], root=root, params=STUDY)
    return root


@pytest.fixture
def fake_tree(fake_master: Path, tmp_path: Path) -> FakeTree:
    """A tree of one's own."""
    root = tmp_path / "project"
    shutil.copytree(fake_master, root, symlinks=True)
    return FakeTree(root)
