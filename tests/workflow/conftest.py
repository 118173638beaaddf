from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workflow.planning import FakeTree, Job, copy_project, plan, snakemake


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """All jobs of the smoke scale."""
    return plan(["all", "datasets"], directory=tmp_path_factory.mktemp("plan"), scale="smoke")


@pytest.fixture(scope="session")
def fake_master(tmp_path_factory: pytest.TempPathFactory, everything: list[Job]) -> Path:
    root = copy_project(tmp_path_factory.mktemp("fake") / "project")
    for job in everything:
        for output in job.outputs:
            path = root / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"fake {output}\n")
    done = snakemake("--touch", "--forceall", "--quiet", "all", "--", "all", root=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def fake_tree(fake_master: Path, tmp_path: Path) -> FakeTree:
    """A tree of one's own."""
    root = tmp_path / "project"
    shutil.copytree(fake_master, root, symlinks=True)
    return FakeTree(root)
