"""The profiles of clusters, planned but not submitted, and what they ask for each job."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bars.pipeline.paths import STAGES
from tests.workflow.planning import ROOT, plan_of_command


@pytest.mark.parametrize(
    ("profile", "more"),
    [("slurm", []), ("kubernetes", ["--default-storage-prefix", "storage", "--container-image", "example/bars"])],
)
def test_a_cluster_gets_gpus_memory_and_time_for_the_jobs_that_need_them(
    profile: str, more: list[str], tmp_path: Path
) -> None:
    target = "results/smoke/ablations/without-sampling-in-derive/seed-0/evaluate/metrics.json"
    source = ["--snakefile", str(ROOT / "Snakefile"), "--profile", str(ROOT / "profiles" / profile)]
    jobs = plan_of_command(target, *source, *more, "--config", "scale=smoke", directory=tmp_path)
    asked = {job.rule: job.resources for job in jobs}
    assert set(asked) == {"data", *STAGES}
    for stage in STAGES:
        assert asked[stage]["gpu"] == 1
        assert asked[stage]["mem_mb"] == 24000
        assert "runtime" in asked[stage]
    assert "gpu" not in asked["data"]


@pytest.mark.parametrize("profile", ["default", "slurm", "kubernetes"])
def test_a_profile_names_only_rules_that_exist(profile: str) -> None:
    settings = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
    named = {
        entry.partition(":")[0].partition("=")[0]
        for key in ("set-resources", "set-threads")
        for entry in settings.get(key, [])
    }
    assert named <= {"data", "latency", *STAGES}
