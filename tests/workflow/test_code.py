"""A rule's code inputs are the real import closure of its command, found here by other means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml

from bars.cost import uniform_genotype
from bars.pipeline import latency
from bars.pipeline.closure import closure as files_of
from bars.pipeline.experiments import DATA_MODULES, Grid
from bars.pipeline.load import Params, load_params
from bars.report.artifacts import FIGURES, TABLES
from bars.space import SearchSpace
from tests.grids import TREE, edited
from tests.workflow.planning import ROOT, Job

# What a run imports beyond its declared code, and why an edit of it need not rerun the stage:
EXEMPT = {
    "bars.__main__": "starts the command line",
    "bars.cli": "reads arguments; those that decide a result are recorded as parameters",
    "bars.commands": "a docstring",
    "bars.commands.data": "checks, hands the split its parameters, and prints what it counted",
    "bars.commands.run": "checks, hands the stage's own module its inputs, and writes down what that gives back",
    "bars.commands.artifact": "likewise, for the module of a table or figure",
    "bars.commands.measure": "likewise, for the times of a scale's networks",
    "bars.commands.locks": "keeps a second process out of the folder",
    "bars.commands.parent": "ends the process with the one that started it",
    "bars.commands.progress": "prints how far a stage is",
    "bars.pipeline.experiment": "resolves parameters; what it resolves to is recorded, and a change of that reruns",
    "bars.pipeline.experiments": "likewise",
    "bars.pipeline.layers": "likewise",
    "bars.pipeline.latency": "likewise: which networks are timed, and how",
    "bars.pipeline.literal": "likewise: the genotype is recorded",
    "bars.pipeline.budget": "likewise: the budget is recorded in BiOps",
    "bars.pipeline.datasets": "names folders, which are targets of the workflow; its count of classes is for budgets",
    "bars.pipeline.load": "reads params.yaml; what it says is recorded",
    "bars.pipeline.schema": "refuses what params.yaml may not say",
    "bars.pipeline.home": "says where params.yaml lies, which is read and resolved as above",
    "bars.pipeline.durations": "words of how long a stage took",
    "bars.pipeline.closure": "says what the code is",
    "bars.pipeline.ownership": "refuses to write over another study; tables that name theirs have it in their closure",
    "bars.pipeline.paths": "names folders and files, which are targets of the workflow",
    "bars.pipeline.problems": "words of messages",
    "bars.pipeline.study": "names the study in records and tables, and refuses to write over another one's results",
    "bars.pipeline.provenance": "writes provenance.json, which no later stage computes with",
}
# The grid resolves budgets with it before any command runs: the resolved budget is recorded.
BUDGETS = ("bars.cost", "bars.space", "bars.params", "bars.errors", "bars.report.artifacts", "bars.report.paper")


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
        elif job.rule == "latency":
            assert code(job) == closure(graph, *latency.modules(grid))
        elif "experiment" in job.wildcards:
            assert code(job) == closure(graph, *grid[job.wildcards["experiment"]].modules(job.rule)), job.run


def test_tables_and_figures_have_the_closure_of_their_modules(everything: list[Job], graph: grimp.ImportGraph) -> None:
    for job in everything:
        if job.rule in TABLES:
            assert code(job) == closure(graph, "bars.report.tables", f"bars.report.tables.{job.rule}")
        elif job.rule in FIGURES:
            assert code(job) == closure(graph, "bars.report.figures", f"bars.report.figures.{job.rule}")


# What would cost a job its first second, or more, for nothing. A figure draws with matplotlib and its like.
PLOTTING = {"matplotlib", "seaborn", "pandas"}
HEAVY = PLOTTING | {"scipy", "sklearn", "torchvision", "jinja2", "snakemake"}


def modules_of(words: list[str], folder: Path) -> set[str]:
    """What a `bars` command has really imported at its end, run in a folder."""
    command = [sys.executable, "-c", SCRIPT, str(folder / "modules.json"), *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return set(json.loads((folder / "modules.json").read_text()))


SCRIPT = """
import json, sys
from bars.cli import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(list(sys.modules), file)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        (["data", "cifar10"], HEAVY),
        (["table", "audit"], HEAVY | {"torch", "pyarrow"}),
        (["figure", "fig2"], HEAVY - PLOTTING - {"scipy"} | {"torch"}),  # seaborn loads scipy, pandas pyarrow
    ],
)
def test_a_command_imports_nothing_beyond_its_inputs(
    command: list[str], unneeded: set[str], everything: list[Job], graph: grimp.ImportGraph, tmp_path: Path
) -> None:
    rule = command[-1] if command[0] != "data" else "data"
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "smoke", "--results", str(tmp_path)]
    options += ["--out", str(tmp_path)] if command[0] != "data" else []
    imported = modules_of([*command, *options], tmp_path)
    listed = code(next(job for job in everything if job.rule == rule))
    assert undeclared(imported, listed) <= closure(graph, *BUDGETS)
    assert not imported & unneeded


def undeclared(imported: set[str], listed: set[str]) -> set[str]:
    """Modules of the package that a process imported and that are neither its declared code nor exempt."""
    return {name for name in imported if name.split(".")[0] == "bars"} - set(EXEMPT) - listed


def test_every_exemption_is_a_module(graph: grimp.ImportGraph) -> None:
    assert set(EXEMPT) <= graph.modules


# ---------------------------------------------------------------------------------------- every stage, really run
RUNS = [
    ("a", "search"), ("a", "derive"), ("a", "retrain"), ("a", "evaluate"), ("a-random", "derive"), ("mine", "derive"),
    ("a-ranked", "derive"), ("a-x2", "retrain"), ("a-x2", "evaluate"), ("r18", "retrain"), ("r18", "evaluate"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny grid of one seed, and every kind of experiment in it."""
    folder = tmp_path_factory.mktemp("imports")
    mine = Grid(params_of(folder, {}))["a"].space
    genotype = uniform_genotype(SearchSpace.from_params(mine), "shortcut", 1, 1.0).to_json()
    edits = {
        "scales/tiny/seeds": [0],
        "experiments/ranking/a-ranked/seeds": [0],
        "experiments/ablations/mine": {"slot": "cifar10", "genotype": genotype},
        "scales/tiny/latency": {"networks": ["a", "r18"], "rounds": 2, "round_ms": 0.1, "throughput_batch": 2},
    }
    params_of(folder, edits)
    return folder


def params_of(folder: Path, edits: dict[str, object]) -> Params:
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, edits), sort_keys=False))
    return load_params(folder / "params.yaml")


@pytest.mark.slow
def test_what_a_stage_really_imports_is_its_declared_code(tiny: Path, graph: grimp.ImportGraph) -> None:
    grid = Grid(load_params(tiny / "params.yaml"))
    of_scale = {"data": DATA_MODULES, "latency": latency.modules(grid)}
    runs = [[stage, name, "--seed", "0"] for name, stage in RUNS]
    for words in (["data", "cifar10"], *runs, ["latency"]):
        imported = modules_of(words, tiny)
        modules = of_scale[words[0]] if words[0] in of_scale else grid[words[1]].modules(words[0])
        extra = undeclared(imported, closure(graph, *modules))
        assert extra <= closure(graph, *BUDGETS), f"{words} runs code that is not declared: {sorted(extra)}"
        assert not imported & HEAVY, f"{words} loads what it does not need: {sorted(imported & HEAVY)}"


@pytest.mark.parametrize(
    ("path", "rerun"),
    [
        ("bars/stages/retrain.py", {"retrain"}),  # which part is trained on
        ("bars/training/loop.py", {"search", "retrain"}),
        ("bars/training/sampled.py", {"search"}),
        ("bars/training/steps.py", {"search", "retrain"}),
        ("bars/training/runtime.py", {"search", "derive", "retrain", "evaluate"}),
        ("bars/models/counting.py", {"retrain", "evaluate"}),  # operations of hand-made networks; built in both stages
        ("bars/pipeline/records.py", {"search", "derive", "retrain", "evaluate"}),
        ("bars/stages/ranking.py", {"derive"}),
        ("bars/report/tables/table2.py", set()),
    ],
)
def test_an_edit_reaches_the_stages_that_run_it_and_no_other(path: str, rerun: set[str], grid: Grid) -> None:
    reached = {
        (experiment.kind, stage)
        for experiment in grid.runnable()
        for stage in experiment.stages
        if path in files_of(*experiment.modules(stage))
    }
    assert {stage for _, stage in reached} == rerun
    if path == "bars/models/counting.py":
        assert {kind for kind, _ in reached} == {"baseline"}
    if path == "bars/stages/ranking.py":
        assert {kind for kind, _ in reached} == {"ranked"}
