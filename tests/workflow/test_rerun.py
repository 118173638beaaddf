"""A job runs again when, and only when, its inputs, its own parameters or its code changed."""

from __future__ import annotations

import re

import pytest

from bars.report.artifacts import FIGURES, TABLES
from tests.workflow.planning import STUDY, FakeTree, Job, plan

CHAIN = ("search", "derive", "retrain", "evaluate")


def stages(pending: set[str]) -> set[str]:
    return {name for name in pending if ":" in name}


def test_nothing_runs_twice(fake_tree: FakeTree) -> None:
    assert fake_tree.pending("all") == set()


def test_touched_sources_run_nothing(fake_tree: FakeTree) -> None:
    for path in (fake_tree.root / "bars").rglob("*.py"):
        path.touch()
    assert fake_tree.pending("all") == set()


def test_a_palette_reruns_only_the_figures(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda text: text.replace("palette: colorblind", "palette: deep"))
    assert fake_tree.pending("all") == set(FIGURES)


def test_a_threshold_of_the_claims_reruns_only_who_reads_it(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda text: text.replace("min_seeds: 2", "min_seeds: 3"))
    assert fake_tree.pending("all") == {"claims", "table1", "fig6", "figS2", "figS3", "ranking"}


def test_an_ablation_s_parameter_reruns_its_chain_and_what_reads_it(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: t.replace("{capacity: none, ", "{capacity: none, grad_clip: 1.0, "))
    pending = fake_tree.pending("all")
    assert stages(pending) == {f"without-flops-reg:{stage}" for stage in CHAIN}
    assert "table1" in pending
    assert not pending & {"table2", "fig1", "fig3", "fig4", "fig5", "fig6", "audit"}


def test_a_search_parameter_reruns_who_takes_the_search_over(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: re.sub(r"(bars-b: \{.*?factor: )1\.915905", r"\g<1>1.9", t))
    reran = {name.partition(":")[0] for name in stages(fake_tree.pending("all"))}
    assert {"bars-b", "without-sampling-in-derive"} <= reran
    assert not reran & {"bars-a", "bars-c", "bars-d", "compact", "resnet18-xnor"}


def test_a_retrain_parameter_reruns_no_search(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: t.replace(", lr: 5.0e-3", ", lr: 4.0e-3"))
    pending = stages(fake_tree.pending("all"))
    assert {name.partition(":")[2] for name in pending} == {"retrain", "evaluate"}


def test_how_times_are_taken_reruns_them_and_who_reads_them(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: t.replace("round_ms: 4.0", "round_ms: 5.0"))
    assert fake_tree.pending("all") == {"latency", "table2", "claims", "figS2"}


def test_a_value_written_otherwise_or_in_another_file_reruns_nothing(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: t.replace(", lr: 5.0e-3", ", lr: 0.0050"))
    (fake_tree.root / "other.yaml").write_text("include: study.yaml\n")
    assert fake_tree.pending("all", params="other.yaml") == set()


def test_what_changes_no_result_reruns_no_stage(fake_tree: FakeTree) -> None:
    """The fields marked so in bars/params.py; where images lie decides the split alone, and through it the rest."""
    given = "source: digits, workers: 3, download: true,"
    fake_tree.edit("params.yaml", lambda t: t.replace("source: digits,", given).replace("device: auto", "device: cpu"))
    assert fake_tree.pending("all") == set()
    fake_tree.edit("params.yaml", lambda t: t.replace("workers: 3,", "path: elsewhere,"))
    assert {"data", "bars-b:search"} <= fake_tree.pending("all")


def test_a_new_seed_runs_that_seed_only(fake_tree: FakeTree) -> None:
    fake_tree.edit("params.yaml", lambda t: t.replace("seeds: [0]\n", "seeds: [0, 1]\n"))
    jobs = plan(["searched"], root=fake_tree.root, directory=fake_tree.root, forceall=False, params=STUDY)
    assert {job.wildcards["seed"] for job in jobs if "experiment" in job.wildcards} == {"1"}


@pytest.mark.parametrize(
    ("source", "rerun", "spared"),
    [
        ("bars/report/tables/table1.py", {"table1"}, {"table2", "fig1", "bars-b:search"}),
        ("bars/report/figures/fig5.py", {"fig5"}, {"fig1", "table1", "bars-b:search"}),
        ("bars/models/supernet.py", {"bars-b:search", "compact:search"}, {"resnet18-xnor:retrain", "audit", "data"}),
        ("bars/models/baselines/xnor.py", {"resnet18-xnor:retrain"}, {"bars-b:search", "bars-b:retrain", "fig5"}),
        ("bars/stages/retrain.py", {"bars-b:retrain", "resnet18-xnor:retrain"}, {"bars-b:search", "bars-b:derive"}),
        ("bars/report/data/counts.csv", {"audit"}, {"table1", "table2", "bars-b:search"}),
        ("bars/packed/timing.py", {"latency"}, {"bars-b:search", "bars-b:evaluate", "table1"}),
        ("workflow/scripts/metrics.py", {"metrics"}, {"table1", "bars-b:search"}),
        ("bars/cli.py", set(), {*TABLES, *FIGURES, "bars-b:search", "data"}),
    ],
)
def test_an_edit_of_the_code_reruns_what_imports_it(
    source: str, rerun: set[str], spared: set[str], fake_tree: FakeTree
) -> None:
    fake_tree.edit(source, lambda text: text + "\n")
    pending = fake_tree.pending("all")
    assert rerun <= pending
    assert not spared & pending


def dependents(jobs: list[Job], roots: set[str]) -> set[str]:
    """The roots, and every job that reads what one of them or of their dependents writes."""
    found = set(roots)
    while True:
        written = {path for job in jobs if job.run in found for path in job.outputs}
        more = {job.run for job in jobs if job.outputs and written & set(job.inputs)} - found
        if not more:
            return found
        found |= more


@pytest.mark.parametrize(
    ("source", "group", "changed"),
    [
        ("bars/training/loop.py", None, ("search", "retrain")),
        ("bars/models/counting.py", "baselines", ("retrain", "evaluate")),
    ],
)
def test_an_edit_reruns_exactly_the_stages_that_run_it_and_what_reads_them(
    source: str, group: str | None, changed: tuple[str, ...], fake_tree: FakeTree
) -> None:
    """A finished project, one edit, ``snakemake -n``."""
    jobs = plan(["all"], root=fake_tree.root, directory=fake_tree.root, params=STUDY)
    roots = {job.run for job in jobs if job.rule in changed and group in (None, job.wildcards["group"])}
    assert roots
    fake_tree.edit(source, lambda text: text + "\n")
    assert fake_tree.pending("all") == dependents(jobs, roots)


def test_a_lost_output_is_made_again(fake_tree: FakeTree) -> None:
    (fake_tree.root / "results/smoke/baselines/resnet18-xnor/seed-0/retrain/checkpoint.pt").unlink()
    assert fake_tree.pending("baselines") == {"resnet18-xnor:retrain", "resnet18-xnor:evaluate"}


def test_another_scale_shares_nothing_but_the_tables(fake_tree: FakeTree) -> None:
    pending = fake_tree.pending("table2", scale="cpu")
    assert "table2" in pending
    assert "bars-a:search" in pending
