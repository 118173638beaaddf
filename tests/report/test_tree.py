"""What the report reads, what it refuses, and what it says of missing runs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bars.errors import GridError, RecordError
from bars.pipeline.load import load_params
from bars.report.artifacts import FIGURES, TABLES, need_paths, needs, parameters
from bars.report.figures import write_figure
from bars.report.summary import measured
from bars.report.tables import make_table, write_table
from bars.report.tree import Results, check_one_split
from tests.report.conftest import PARAMS


@pytest.mark.parametrize("name", [*TABLES, *FIGURES])
def test_what_is_opened_is_what_is_declared(
    whole: Any, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Results] = []
    start = Results.__init__

    def remember(self: Results, *arguments: Any) -> None:
        start(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Results, "__init__", remember)
    if name in TABLES:
        write_table(name, whole.params, None, whole.folder, tmp_path)
    else:
        importlib.import_module(f"bars.report.figures.{name}").data(Results(whole.params, None, whole.folder))
    assert made[0].opened == set(need_paths(name, whole.grid))


@pytest.mark.parametrize("group", ["searched", "ablations", "widened", "baselines"])
def test_any_network_may_be_a_row_of_any_group(group: str, tmp_path: Path) -> None:
    """A hand-made one goes through no derivation, one of another's architecture not through its own."""
    study = tmp_path / "study.yaml"
    rows = {
        "hand-made": {"slot": "cifar10", "extra": True, "model": {"family": "resnet18-xnor"}},
        "longer": {"base": "bars-b", "extra": True, "genotype_from": "bars-b", "retrain": {"epochs": 40}},
    }
    study.write_text(yaml.safe_dump({"include": str(PARAMS), "experiments": {group: rows}}))
    results = Results(load_params(study), None, tmp_path / "results")
    for name in (*TABLES, *FIGURES):
        if group == {"table1": "ablations", "table2": "baselines", "fig3": "widened"}.get(name):
            assert {"hand-made", "longer"} <= {need.experiment for need in needs(name, results.grid)}
        need_paths(name, results.grid)
    assert results.genotypes("hand-made") == {}


def test_needs_name_runs_and_files(whole: Any) -> None:
    assert needs("fig2", whole.grid) == needs("audit", whole.grid) == []
    first = needs("fig5", whole.grid)[0]
    assert (first.experiment, first.seed, first.files) == ("bars-b", 0, ("search/alphas.parquet",))
    assert {need.experiment for need in needs("fig1", whole.grid)} >= {"bars-a", "resnet18-xnor", "resnet18-react"}
    assert not any(need.experiment.startswith(("imagenet", "bars-d")) for need in needs("fig4", whole.grid))
    with pytest.raises(KeyError):
        needs("table9", whole.grid)


def test_a_search_taken_over_is_read_where_it_was_made(whole: Any) -> None:
    paths = need_paths("table1", whole.grid)
    assert "tiny/ablations/without-sampling-in-derive/seed-1/derive/genotype.json" in paths
    assert not any("without-sampling-in-derive" in path and "search" in path.split("seed-")[1] for path in paths)


def test_parameters_hold_what_is_read_of_the_params_file(whole: Any) -> None:
    one = parameters("table1", whole.grid)
    assert one["claims"]["collapse_share"] == 0.9
    assert one["experiments"]["normal-reduction-cell"]["blocks"]["space"]["cell_types"] == "shared"
    two = parameters("fig2", whole.grid)
    assert two["experiments"]["bars-b"]["blocks"]["search"]["epochs"] == 12
    assert two["figures"]["palette"] == "colorblind"
    assert parameters("table2", whole.grid)["experiments"]["bars-a"]["about"][0] == "searched"


@pytest.mark.parametrize(
    ("key", "value"), [("scale", "paper"), ("experiment", "bars-a"), ("seed", 2), ("slot", "imagenet")]
)
def test_a_result_of_another_run_is_refused(tree: Any, key: str, value: Any) -> None:
    tree.metrics("bars-b", 0)
    path = tree.path("bars-b", "evaluate", "metrics.json", 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(RecordError, match="another run"):
        tree.results.runs("bars-b")


def test_a_broken_result_is_refused_with_its_file(tree: Any) -> None:
    tree.metrics("bars-b", 0)
    path = tree.path("bars-b", "evaluate", "metrics.json", 0)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(RecordError, match=r"seed-0/evaluate/metrics\.json"):
        tree.results.runs("bars-b")


def test_seeds_of_two_splits_never_share_a_row(tree: Any) -> None:
    tree.metrics("bars-b", 0)
    tree.metrics("bars-b", 1, split_sha256="0" * 64)
    with pytest.raises(RecordError, match="different data sets or splits"):
        tree.results.runs("bars-b")


def test_experiments_of_two_data_sets_never_share_a_table(tree: Any) -> None:
    tree.metrics("bars-b", 0)
    tree.metrics("resnet18-xnor", 0, dataset="another")
    with pytest.raises(RecordError, match="resnet18-xnor"):
        make_table("table2", tree.params, None, tree.folder)
    check_one_split([tree.results.runs("bars-b")])


def test_absence_is_told_in_words(tree: Any) -> None:
    tree.top1("bars-b", [0.9, 0.91])
    results = tree.results
    assert results.runs("bars-b").absence == "incomplete: no result of seed 2"
    assert results.runs("bars-a").absence == "no result yet (seeds 0, 1, 2)"
    assert results.runs("no-such").absence == "not in the grid"
    lone = Results(tree.params, "lone", tree.folder)
    assert lone.runs("bars-d").absence == "not run: no imagenet data at scale lone"
    assert lone.runs("bars-d").declared == ()


def test_summary_is_mean_and_sample_std_of_what_is_there(tree: Any) -> None:
    tree.metrics("bars-b", 0, top1=0.90, counts=(100, 6400, 10))
    tree.metrics("bars-b", 2, top1=0.92, counts=(100, 12800, 10))
    row = measured(tree.results.runs("bars-b"))
    assert (row["top1_mean_percent"], row["top1_std_percent"]) == (pytest.approx(91.0), pytest.approx(2**0.5))
    assert (row["flops"], row["flops_std"]) == (100, 0.0)
    assert (row["biops"], row["biops_std"]) == (9600.0, pytest.approx(3200 * 2**0.5))
    assert (row["equivalent_ops_64"], row["equivalent_ops_32"]) == (250.0, 400.0)
    assert (row["seeds_done"], row["seeds_declared"], row["seeds_missing"]) == (2, 3, "1")
    assert row["metrics_files"] == (
        "tiny/searched/bars-b/seed-0/evaluate/metrics.json tiny/searched/bars-b/seed-2/evaluate/metrics.json"
    )


def test_unknown_names_are_refused(whole: Any, tmp_path: Path) -> None:
    with pytest.raises(GridError, match="no such table"):
        write_table("table3", whole.params, None, whole.folder, tmp_path)
    with pytest.raises(GridError, match="no such figure"):
        write_figure("fig7", whole.params, None, whole.folder, tmp_path)


def test_reading_the_tables_code_is_light() -> None:
    """No torch, no plotting, no data frames behind the import of the tables."""
    code = (
        "import sys, bars.report.tables, bars.report.tables.table2, bars.report.tables.claims, bars.report.figures;"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'seaborn', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_figures_draw_without_torch(whole: Any, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bars.pipeline.load import load_params\nfrom bars.report.figures import write_figure\n"
        f"params = load_params({str(whole.params.path)!r})\n"
        f"write_figure('fig2', params, None, {str(whole.folder)!r}, {str(tmp_path)!r})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
