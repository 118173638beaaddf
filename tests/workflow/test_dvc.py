"""dvc.yaml says nothing that Snakemake's DAG does not, and leaves nothing out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from dvc.stage import PipelineStage

from bars.errors import BarsError
from bars.params import ReportParams
from bars.pipeline import latency
from bars.pipeline.experiments import Grid
from bars.pipeline.load import Params, load_params
from bars.report.artifacts import FIGURES, TABLES, parameters
from tests.workflow.planning import ROOT, Job, copy_project, plan

# Read where the rules are made, not by a job.
PARSED = ("data", "bars/params.py", "Snakefile", "workflow/Snakefile", "workflow/rules", "bars/pipeline", "genotypes")
# Stages that hold a group of runs, and the group; the table of the ranking has the group's own name.
GROUPS = {"searched": "searched", "ablations": "ablations", "widened": "widened", "baselines": "baselines"}
GROUPS["ranked"] = "ranking"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without its results, in a folder without git."""
    root = copy_project(tmp_path_factory.mktemp("dvc") / "project")
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        target = root / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    return root


@pytest.fixture(scope="module")
def stages(root: Path) -> dict[str, PipelineStage]:
    with Repo(str(root), config={"core": {"no_scm": True}}) as repo:
        return {stage.name.rpartition("@")[2]: stage for stage in repo.index.stages}  # fig1 of figures@fig1


@pytest.fixture(scope="module")
def jobs(root: Path, stages: dict[str, PipelineStage]) -> dict[str, list[Job]]:
    """What each stage's command would run from nothing, with all that lies before it."""
    return {name: plan(targets(stage), root=root, directory=root) for name, stage in stages.items()}


def targets(stage: PipelineStage) -> list[str]:
    program, *words = stage.cmd.split()
    assert program == "snakemake"
    assert not any(word.startswith("-") for word in words)
    return words


def files(found: Iterable[Any], root: Path) -> list[Path]:
    return [
        Path(item.fs_path).relative_to(root) for item in found if not hasattr(item, "params") or item.params is None
    ]


def inside(path: str, folders: Iterable[Path]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def upstream(name: str, stages: dict[str, PipelineStage], root: Path) -> set[str]:
    """Stages whose outputs a stage depends on, directly or through others, and itself."""
    found, waiting = {name}, [name]
    while waiting:
        deps = files(stages[waiting.pop()].deps, root)
        for other, stage in stages.items():
            if other not in found and any(inside(str(dep), files(stage.outs, root)) for dep in deps):
                found.add(other)
                waiting.append(other)
    return found


def test_there_is_a_stage_for_every_group_table_and_figure(stages: dict[str, PipelineStage]) -> None:
    assert set(stages) == {"data", *GROUPS, "latency", *TABLES, *FIGURES, "metrics"}


def test_outputs_persist_and_are_cached(stages: dict[str, PipelineStage]) -> None:
    for stage in stages.values():
        assert all(out.persist and out.use_cache for out in stage.outs), stage.name


def test_a_stage_writes_its_own_outputs_and_those_of_stages_before_it(
    stages: dict[str, PipelineStage], jobs: dict[str, list[Job]], root: Path
) -> None:
    for name, stage in stages.items():
        own = files(stage.outs, root)
        before = [out for other in upstream(name, stages, root) for out in files(stages[other].outs, root)]
        written = [path for job in jobs[name] for path in job.outputs]
        assert not [path for path in written if not inside(path, before)], name
        for out in own:
            assert any(inside(path, [out]) for path in written), f"{name} does not write {out}"


def test_a_stage_depends_on_all_that_its_own_jobs_read(
    stages: dict[str, PipelineStage], jobs: dict[str, list[Job]], root: Path
) -> None:
    for name, stage in stages.items():
        own = files(stage.outs, root)
        allowed = [*own, *files(stage.deps, root)]
        for job in own_jobs(jobs[name], own):
            missing = [path for path in job.inputs if not inside(path, allowed)]
            assert not missing, f"{name}: {job.run} reads {missing}"


def test_a_stage_depends_on_nothing_that_no_job_reads(
    stages: dict[str, PipelineStage], jobs: dict[str, list[Job]], root: Path
) -> None:
    for name, stage in stages.items():
        read = {path for job in own_jobs(jobs[name], files(stage.outs, root)) for path in job.inputs}
        for dep in files(stage.deps, root):
            parsed = inside(str(dep), map(Path, PARSED))
            assert parsed or any(inside(path, [dep]) for path in read), f"{name} does not read {dep}"


def test_a_stage_depends_on_the_genotypes_that_params_yaml_names(stages: dict[str, PipelineStage], root: Path) -> None:
    for group, experiments in load_params(ROOT / "params.yaml").tree["experiments"].items():
        for experiment in experiments.values():
            if isinstance(experiment.get("genotype"), str):
                assert inside(experiment["genotype"], files(stages[group].deps, root))


def own_jobs(jobs: list[Job], outs: list[Path]) -> list[Job]:
    return [job for job in jobs if job.outputs and all(inside(path, outs) for path in job.outputs)]


# ------------------------------------------------------------------------------------------------ parameters
def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def changed(tree: dict[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The tree with another value at one leaf, a few ways, of which the checks may refuse some."""
    value: Any = tree
    for key in path:
        value = value[key]
    others: list[Any] = ["deep", "cpu", "common", "own", 2, 0.5]
    if isinstance(value, bool):
        others = [not value]
    elif isinstance(value, int | float):
        others = [value + 1, value / 2, value * 2]
    elif isinstance(value, list):
        others = [value[:-1], value[1:], [*value, 7]]
    for other in others:
        new = copy.deepcopy(tree)
        at = new
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = other
        yield new


def recorded(params: Params) -> dict[str, object]:
    """What Snakemake records of the parameters for the jobs of each DVC stage."""
    grid = Grid(params, "smoke")
    found: dict[str, object] = {"data": {name: grid.dataset_params(name) for name in grid.datasets}}
    for name, group in GROUPS.items():
        own = [e for e in grid.runnable() if e.group == group]
        found[name] = [(e.name, e.seeds, [e.stage_params(stage) for stage in e.stages]) for e in own]
    found["latency"] = latency.parameters(grid)
    return found | {name: parameters(name, grid) for name in (*TABLES, *FIGURES)}


def report(tree: dict[str, Any]) -> ReportParams:
    return ReportParams.model_validate(tree["report"])


def test_a_stage_names_every_parameter_that_its_jobs_record(stages: dict[str, PipelineStage]) -> None:
    params = load_params(ROOT / "params.yaml")
    before = recorded(params)
    declared = {
        name: [tuple(key.split(".")) for dep in stage.deps for key in (getattr(dep, "params", None) or [])]
        for name, stage in stages.items()
    }
    seen = dict.fromkeys(before, 0)
    for path in leaves(params.tree):
        if path[0] == "scales" and path[1] != "smoke":
            continue
        for other in changed(params.tree, path):
            try:
                after = recorded(dataclasses.replace(params, tree=other, report=report(other)))
            except (BarsError, ArithmeticError, LookupError, TypeError, ValueError):
                continue  # no valid value here
            for name in (name for name in before if after[name] != before[name]):
                seen[name] += 1
                covered = any(path[: len(key)] == key for key in declared[name])
                assert covered, f"{'.'.join(path)} changes jobs of {name}, whose params in dvc.yaml do not name it"
            break
    assert set(seen) == set(stages) - {"metrics"}
    assert all(count > 3 for name, count in seen.items() if name not in TABLES), seen


def test_dvc_neither_phones_home_nor_looks_for_stages_in_tests() -> None:
    config = (ROOT / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config
    assert "/tests/" in (ROOT / ".dvcignore").read_text().splitlines()
