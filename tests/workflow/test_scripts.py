"""The workflow's own small scripts."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest

from bars.cli import main as bars
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.report.tables.claims.catalogue import MAIN, claims
from tests.workflow.planning import ROOT, copy_project
from workflow.scripts import adopt, clean, crate, metrics, orphans
from workflow.scripts.study_headline import _points, headline, replaced
from workflow.scripts.study_page import _main_claims


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
    problems = adopt.chain_problems(grid)
    assert len(problems) == sum(len(e.seeds) for e in grid.runnable())
    assert not any("has no stage" in problem for problem in problems)


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


# ------------------------------------------------------------------------------------------------------ a study's page
def test_the_main_claims_hold_or_not_or_cannot_be_seen(tmp_path: Path) -> None:
    """Of a table of claims as it is written: the outcome follows the verdict, and what n seeds can show is said."""
    known = {claim.id for claim in claims()}
    assert set(MAIN) <= known and len(MAIN) == len(set(MAIN)) == 10
    verdicts = [
        ("supported", "", "**holds**: because"),
        ("not supported", "1.5", "does not hold: because"),
        ("within noise", "1.254", "cannot be seen: n = 3 show 1.25 points or more"),
        ("within noise", "", "cannot be seen: because"),
        ("not tested", "", "not tested: because"),
    ]
    path = tmp_path / "claims.csv"
    keys = ("id", "claim", "printed", "unit", "value", "low", "high", "n", "paired", "detectable", "verdict", "why")
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, keys)
        writer.writeheader()
        for i, name in enumerate(MAIN):
            verdict, detectable, _ = verdicts[i % 5]
            row = {"value": "0.5", "low": "-1.0", "high": "2.0", "n": "3", "paired": "true"}
            row = row if verdict != "not tested" else dict.fromkeys(row, "")
            about = {"id": name, "claim": f"Claim {name}.", "printed": "+1.5", "unit": "points", "why": "because"}
            writer.writerow({**about, **row, "detectable": detectable, "verdict": verdict})
    found = list(_main_claims(path))[2:-1]
    assert [line.split(" | ")[-1].removesuffix(" |") for line in found] == [words for *_, words in verdicts] * 2
    assert found[0].startswith(f"| Claim {MAIN[0]}. | +1.5 | 0.50 [-1.00, 2.00] points (n=3, paired) |")
    assert found[4].split(" | ")[2] == "–"
    assert list(_main_claims(tmp_path / "none.csv")) == []


# ------------------------------------------------------------------------------------------------------ the README
def test_the_first_table_of_the_readme_is_that_of_its_study() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folder = ROOT / text.split("![", 1)[1].split("](", 1)[1].split(")", 1)[0]  # of its first figure
    study = folder.parent
    assert replaced(text, headline(study)) == text
    *searched, _, _, _ = headline(study).splitlines()[2:]
    for line, name in zip(searched, ("bars-a", "bars-b", "bars-c"), strict=True):
        files = sorted((study / "records").glob(f"*/searched/{name}/seed-*/evaluate/metrics.json"))
        top1 = [100 * json.loads(path.read_text())["top1"] for path in files]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == name.upper() and cells[3] == str(len(files))
        assert cells[2] == f"{statistics.mean(top1):.1f} ± {statistics.stdev(top1):.1f}"


def test_a_gain_without_an_interval_is_left_blank() -> None:
    assert _points({"value": "1.25", "low": "-0.5", "high": "3.04"}) == "1.2 points, -0.5 to 3.0"
    assert _points({"value": "1.25", "low": "", "high": ""}) == ""
