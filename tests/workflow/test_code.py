"""A rule's code inputs are the real import closure of its command, found here by other means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from bars.pipeline.experiments import DATA_MODULES, Grid
from bars.pipeline.load import load_params
from bars.report.inputs import FIGURES, TABLES
from tests.workflow.planning import ROOT, Job

# The command line and what it reads and writes files with: no result depends on it but through the modules it calls.
PLUMBING = ("bars.__main__", "bars.cli", "bars.commands", "bars.pipeline")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("bars", exclude_type_checking_imports=True)


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid(load_params(ROOT / "params.yaml"), "smoke")


def code(job: Job) -> set[str]:
    """Modules among a job's inputs."""
    paths = [Path(*Path(path).parts[Path(path).parts.index("bars") :]) for path in job.inputs if path.endswith(".py")]
    return {module(path) for path in paths if path.parts[0] == "bars"}


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def closure(graph: grimp.ImportGraph, *modules: str) -> set[str]:
    """By grimp: the modules, all they import, and the packages that all of those lie in."""
    found, waiting = set[str](), list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += graph.find_modules_directly_imported_by(name) if name in graph.modules else []
    return found & graph.modules


def test_stages_have_the_closure_of_their_modules(everything: list[Job], graph: grimp.ImportGraph, grid: Grid) -> None:
    for job in everything:
        if job.rule == "data":
            assert code(job) == closure(graph, *DATA_MODULES)
        elif "experiment" in job.wildcards:
            assert code(job) == closure(graph, *grid[job.wildcards["experiment"]].modules(job.rule)), job.run


def test_tables_and_figures_have_the_closure_of_their_modules(everything: list[Job], graph: grimp.ImportGraph) -> None:
    for job in everything:
        if job.rule in TABLES:
            assert code(job) == closure(graph, "bars.report.tables", f"bars.report.{job.rule}")
        elif job.rule in FIGURES:
            assert code(job) == closure(graph, "bars.report.figures", f"bars.report.figures.{job.rule}")


@pytest.mark.parametrize("command", [["data", "cifar10"], ["table", "audit"], ["figure", "fig2"]])
def test_a_command_imports_nothing_beyond_its_inputs(
    command: list[str], everything: list[Job], graph: grimp.ImportGraph, tmp_path: Path
) -> None:
    """What a process has really imported at its end."""
    rule = command[-1] if command[0] != "data" else "data"
    script = (
        "import sys, json; from bars.cli import main; status = main(sys.argv[1:]);"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'bars'])); sys.exit(status)"
    )
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "smoke", "--results", str(tmp_path)]
    options += ["--out", str(tmp_path)] if command[0] != "data" else []
    done = subprocess.run(
        [sys.executable, "-c", script, *command, *options], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {name for name in json.loads(done.stdout.splitlines()[-1]) if not name.startswith(PLUMBING)}
    listed = code(next(job for job in everything if job.rule == rule))
    # the grid counts operations to resolve budgets, whatever the command
    assert imported - listed <= closure(graph, "bars.cost", "bars.report.inputs")
