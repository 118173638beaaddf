"""The DAG is the grid: every run and artifact once, with the inputs that the grid says, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from bars.pipeline import latency
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.report.artifacts import FIGURES, TABLES, need_paths
from tests.workflow.planning import ROOT, Job, copy_project, plan, snakemake


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid(load_params(ROOT / "params.yaml"), "smoke")


def results(paths: tuple[str, ...]) -> set[str]:
    return {path.removeprefix("results/") for path in paths if path.startswith("results/")}


def stage_jobs(jobs: list[Job]) -> dict[tuple[str, str, int], Job]:
    return {
        (j.wildcards["experiment"], j.rule, int(j.wildcards["seed"])): j for j in jobs if "experiment" in j.wildcards
    }


def test_every_stage_of_every_run_is_one_job(everything: list[Job], grid: Grid) -> None:
    expected = {(e.name, stage, seed) for e in grid.runnable() for stage in e.stages for seed in e.seeds}
    found = stage_jobs(everything)
    assert set(found) == expected
    assert len(found) == sum("experiment" in job.wildcards for job in everything)


def test_every_data_set_table_and_figure_is_one_job(everything: list[Job], grid: Grid) -> None:
    rules = Counter(job.rule for job in everything if "experiment" not in job.wildcards)
    assert rules.pop("data") == len(grid.datasets)
    assert rules == dict.fromkeys((*TABLES, *FIGURES, "metrics", "latency", "all", "datasets"), 1)


def test_stage_files_are_those_of_the_grid(everything: list[Job], grid: Grid) -> None:
    for (name, stage, seed), job in stage_jobs(everything).items():
        experiment = grid[name]
        assert results(job.outputs) == set(experiment.outputs(stage, seed))
        assert set(experiment.inputs(stage, seed)) <= results(job.inputs)
        assert job.command is not None
        assert job.command.startswith(f"exec python -m bars {stage} {name} --seed {seed} --scale smoke ")


def test_a_job_has_the_whole_chain_of_files_that_it_verifies(everything: list[Job]) -> None:
    made_by = {output: job for job in everything for output in job.outputs}
    for job in everything:
        if job.rule in ("all", "datasets", "metrics"):
            continue
        chain, waiting = set[str](), [made_by[f"results/{path}"] for path in results(job.inputs)]
        while waiting:
            before = waiting.pop()
            if not results(before.outputs) <= chain:
                chain |= results(before.outputs)
                waiting += [made_by[f"results/{path}"] for path in results(before.inputs)]
        assert results(job.inputs) == chain, job.run


def test_a_search_or_genotype_of_another_experiment_is_its_input(everything: list[Job]) -> None:
    jobs = stage_jobs(everything)
    derive = jobs["without-sampling-in-derive", "derive", 0]
    assert "results/smoke/searched/bars-b/seed-0/search/supernet.pt" in derive.inputs
    retrain = jobs["compact-x2", "retrain", 0]
    assert "results/smoke/widened/compact/seed-0/derive/genotype.json" in retrain.inputs


def test_tables_and_figures_need_their_own_runs_only(everything: list[Job], grid: Grid) -> None:
    by_rule = {job.rule: job for job in everything}
    for name in (*TABLES, *FIGURES):
        assert set(need_paths(name, grid)) <= results(by_rule[name].inputs)
    assert not any("/ablations/" in path or "/widened/" in path for path in by_rule["table2"].inputs)


def test_all_times_are_taken_by_one_job_that_has_every_core_and_comes_after_the_evaluations(
    everything: list[Job], grid: Grid
) -> None:
    (job,) = (job for job in everything if job.rule == "latency")
    assert job.threads == 8  # plan() says --cores 8
    assert results(job.outputs) == {"smoke/latency/latency.json", "smoke/latency/provenance.json"}
    evaluated = {path for path in results(job.inputs) if path.endswith("evaluate/metrics.json")}
    named = grid.params.tree["scales"]["smoke"]["latency"]["networks"]
    assert evaluated == {grid[name].file("evaluate", "metrics.json", grid[name].seeds[0]) for name in named}
    readers = {job.rule for job in everything if "results/smoke/latency/latency.json" in job.inputs}
    assert readers == {"table2", "claims", "figS2"}


@pytest.mark.parametrize("params", ["params.yaml", ".test/params.yaml"])
def test_enough_networks_are_timed_for_figure_s2(params: str) -> None:
    """Of fewer than three it says nothing of how operations predict time."""
    for scale in ("smoke", "cpu", "gpu", "paper"):
        assert len(latency.timed(Grid(load_params(ROOT / params), scale))) >= 3


def test_all_jobs_are_logged_and_pass_the_scale(everything: list[Job]) -> None:
    for job in everything:
        if job.rule not in ("all", "datasets"):
            assert job.command is not None
            assert re.search(r"(> |tee -ia )logs/smoke/", job.command)
            assert "--scale smoke" in job.command or job.rule == "metrics"


def test_threads_and_gpu_slots_come_from_the_parameters(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    (root / "study.yaml").write_text("include: params.yaml\nruntime: {threads: 3, device: cuda}\n")
    jobs = plan(["baselines"], root=root, directory=root, params="study.yaml", scale="smoke")
    trained = [job for job in jobs if job.rule == "retrain"]
    assert {job.threads for job in trained} == {3}
    assert {job.resources["gpu"] for job in trained} == {1}
    assert all("--params study.yaml" in (job.command or "") for job in trained)


@pytest.mark.parametrize("scale", ["cpu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpu", "paper"))])
def test_every_scale_has_a_plan(scale: str, tmp_path: Path) -> None:
    grid = Grid(load_params(ROOT / "params.yaml"), scale)
    jobs = plan(["all"], directory=tmp_path, scale=scale)
    runs = sum(len(e.seeds) * len(e.stages) for e in grid.runnable())
    assert sum("experiment" in job.wildcards for job in jobs) == runs
    assert not any("results/smoke" in path for job in jobs for path in (*job.inputs, *job.outputs))


@pytest.mark.parametrize(
    ("target", "config", "message"),
    [
        ("results/table2.csv", {"scale": "smok"}, "no such scale; did you mean smoke?"),
        ("results/table2.csv", {"epochs": "3"}, "--config: no such key: epochs"),
        ("results/table2.csv", {"params": "nowhere.yaml"}, "cannot read the params file"),
        ("results/smoke/searched/bars-bb/seed-0/evaluate/metrics.json", {}, "bars-bb"),
        ("results/smoke/ablations/bars-b/seed-0/evaluate/metrics.json", {}, "bars-b is no run of ablations"),
        ("results/smoke/searched/bars-b/seed-7/evaluate/metrics.json", {}, "has no seed 7"),
        ("results/cpu/searched/bars-b/seed-0/evaluate/metrics.json", {"scale": "smoke"}, "add --config scale=cpu"),
    ],
)
def test_a_misspelt_scale_key_file_or_run_is_refused(
    target: str, config: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table2.csv").write_text("an older table\n")
    with pytest.raises(Exception, match=re.escape(message)):
        plan([target], directory=tmp_path, **config)


def test_the_command_line_explains_and_fails(tmp_path: Path) -> None:
    done = snakemake("-n", "--snakefile", str(ROOT / "Snakefile"), "all", "--config", "scale=smok", root=tmp_path)
    assert done.returncode == 1
    assert "did you mean smoke?" in done.stdout + done.stderr


OUTER = """
configfile: "config/config.yaml"


module bars:
    snakefile:
        {snakefile!r}
    config:
        config["bars"]
    prefix:
        "bars-study"


use rule * from bars as bars_*


rule mine:
    default_target: True
    input:
        "bars-study/results/audit.csv",
    output:
        "mine.txt",
    shell:
        "cp {{input}} {{output}}"
"""


def test_another_workflow_can_use_this_one_as_a_module(tmp_path: Path) -> None:
    for name, text in {
        "workflow/Snakefile": OUTER.format(snakefile=str(ROOT / "workflow/Snakefile")),
        "config/config.yaml": "bars: {scale: smoke, scales: {smoke: {seeds: [4]}}}\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    target = "bars-study/results/smoke/searched/bars-b/seed-4/derive/genotype.json"
    done = snakemake("-n", "-p", "mine", target, root=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "bars derive bars-b --seed 4 --scale smoke" in said
    assert "--results bars-study/results" in said
    assert "bars_audit" in said


def test_a_study_file_is_given_as_to_any_workflow(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("scale: cpu\nscales: {cpu: {seeds: [7]}}\n")
    target = "results/cpu/searched/bars-b/seed-7/derive/genotype.json"
    done = snakemake("-n", "-p", target, "--configfile", "study.yaml", "-s", str(ROOT / "Snakefile"), root=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bars derive bars-b --seed 7 --scale cpu --params .snakemake/params/" in done.stdout + done.stderr
