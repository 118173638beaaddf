"""The workflow's own small scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bars.cli import main as bars
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from tests.workflow.planning import ROOT, copy_project
from workflow.scripts import adopt, clean, crate, metrics, orphans


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


def recorded(results: Path, folder: str, study: str | None = "params", stage: str = "search") -> None:
    """A stage folder that says who made it."""
    (results / folder).mkdir(parents=True)
    record = {"stage": stage, "scale": folder.split("/")[0], "study": study, "params": {}}
    (results / folder / "provenance.json").write_text(json.dumps(record))


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of this study and of others, and files that no stage wrote."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(f"include: {ROOT / 'params.yaml'}\n")
    results = tmp_path / "results"
    for folder in (
        "smoke/searched/bars-b/seed-0/search",
        "smoke/searched/old/seed-0/search",
        "cpu/searched/x/seed-0/search",
    ):
        recorded(results, folder)
    recorded(results, "smoke/searched/other/seed-0/search", study="other-study")
    recorded(results, "own/searched/bars-b/seed-0/search", study="my-study")
    (results / "smoke/notes").mkdir()
    (results / "smoke/notes/mine.txt").write_text("mine")
    (results / "smoke/searched/old/thoughts.md").write_text("mine")
    return results


def left(results: Path) -> set[str]:
    return {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}


def test_orphans_are_listed_and_kept_without_a_yes(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(studies)
    assert orphans.main() == 0
    out = capsys.readouterr().out
    assert "results/smoke/searched/old/seed-0/search\n" in out and "1 to remove" in out and "nothing was removed" in out
    assert left(studies) == before
    with pytest.raises(SystemExit) as caught:
        orphans.main("--delete")
    assert caught.value.code == 2 and left(studies) == before
    assert orphans.main("--params", "nowhere.yaml") == 2


def test_orphans_of_this_study_and_scale_only_are_removed(studies: Path) -> None:
    before = left(studies)
    assert orphans.main("--yes") == 0
    assert before - left(studies) == {"smoke/searched/old/seed-0/search/provenance.json"}
    assert (studies / "smoke/searched/old/thoughts.md").is_file()
    assert not (studies / "smoke/searched/old/seed-0").exists()


def test_cleaning_leaves_other_scales_other_studies_and_unknown_files(studies: Path) -> None:
    before = left(studies)
    (studies / "smoke/report/params").mkdir(parents=True)
    for folder in (studies, studies / "smoke/report/params"):
        (folder / "table2.csv").write_text("ours")
    (studies / "table1.csv").write_text("of another study")
    (studies / "smoke/report/params/table1.csv").write_text("ours")
    assert clean.main() == 0 and (studies / "table2.csv").is_file()
    assert clean.main("--yes") == 0
    gone = {"smoke/searched/bars-b/seed-0/search/provenance.json", "smoke/searched/old/seed-0/search/provenance.json"}
    assert left(studies) == before - gone | {"table1.csv"}


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
