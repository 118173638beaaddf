"""The workflow's own small scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bars.cli import main as bars
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from tests.workflow.planning import ROOT, copy_project
from workflow.scripts import adopt, crate, metrics, orphans


def test_metrics_are_means_over_seeds(tmp_path: Path) -> None:
    files = []
    for seed, (top1, biops) in enumerate([(0.25, 100), (0.75, 300)]):
        run = {"group": "searched", "experiment": "a", "top1": top1, "biops": biops, "flops": 10, "params": 7}
        files.append(tmp_path / f"{seed}.json")
        files[-1].write_text(json.dumps(run))
    metrics.main(str(tmp_path / "metrics"), *map(str, files))
    found = json.loads((tmp_path / "metrics" / "searched" / "a.json").read_text())
    assert found == {"seeds": 2, "top1": 0.5, "top1_std": 0.5**1.5, "biops": 200, "flops": 10, "params": 7}


def test_one_seed_has_no_spread() -> None:
    assert "top1_std" not in metrics.summary([{"top1": 0.5, "flops": 1, "biops": 1, "params": 1}])


def test_orphans_are_what_no_scale_names(tmp_path: Path) -> None:
    results = tmp_path / "results"
    kept = ["smoke/searched/bars-b/seed-0/search", "cpu/searched/bars-b/seed-1/derive", "smoke/data/cifar10"]
    lost = [
        "smoke/searched/old-name",
        "smoke/searched/bars-b/seed-9",
        "tiny",
        "smoke/baselines/resnet18-xnor/seed-0/search",
    ]
    for folder in [*kept, *(f"{name}/x" for name in lost), "smoke/searched/bars-b/seed-0/.search.part"]:
        (results / folder).mkdir(parents=True)
    found = {path.relative_to(results).as_posix() for path in orphans.orphans(results, ROOT / "params.yaml")}
    assert found == set(lost)


def test_orphans_are_listed_before_they_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_project(tmp_path / "project")
    monkeypatch.chdir(root)
    (root / "results/smoke/searched/old-name").mkdir(parents=True)
    assert orphans.main() == 0
    assert capsys.readouterr().out == "results/smoke/searched/old-name\n"
    assert orphans.main("--force") == 2
    assert (root / "results/smoke/searched/old-name").is_dir()
    assert orphans.main("--delete") == 0
    assert not (root / "results/smoke/searched/old-name").exists()


def test_results_without_a_clean_dvc_status_are_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_project(tmp_path / "project")
    (root / ".dvc").mkdir()
    (root / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    monkeypatch.chdir(root)
    assert adopt.main() == 2
    assert "dvc status: runs@searched is not up to date" in capsys.readouterr().err


def test_results_of_other_parameters_or_code_are_not_adopted(
    fake_results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(fake_results)
    monkeypatch.setattr(adopt, "dvc_problems", lambda: [])
    assert adopt.main() == 2
    assert "results/smoke/searched/bars-b/seed-0/search" in capsys.readouterr().err


def test_a_broken_chain_is_not_adopted(fake_results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fake_results)
    grid = Grid(load_params("study.yaml"), "smoke")
    assert len(adopt.chain_problems(grid)) == sum(len(e.seeds) for e in grid.runnable())


def test_a_crate_names_every_file_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "smoke"]
    assert crate.main(str(ROOT / "params.yaml")) == 2  # nothing is finished
    assert bars(["data", "cifar10", *options]) == bars(["table", "audit", *options]) == 0
    assert crate.main(str(ROOT / "params.yaml")) == 0
    graph = {entity["@id"]: entity for entity in json.loads(Path("ro-crate-metadata.json").read_text())["@graph"]}
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    assert {"results/audit.csv", "results/smoke/data/cifar10/split.json"} <= parts <= set(graph)
    action = graph["#results/smoke/data/cifar10"]
    assert {"@id": "results/smoke/data/cifar10/split.json"} in action["result"]
    assert action["startTime"] <= action["endTime"]
