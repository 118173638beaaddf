from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bars.errors import RecordError
from bars.pipeline import paths, provenance
from bars.pipeline.experiments import DATA_MODULES, Experiment, Grid
from bars.pipeline.files import atomic_directory, sha256_file, sha256_json
from bars.pipeline.load import load_params
from bars.pipeline.ownership import folders, study_name
from bars.pipeline.provenance import StageRun, hash_inputs, other_params, stale, verify_chain, verify_inputs
from bars.pipeline.records import Metrics, Provenance, read_json, read_record, write_json, write_record
from bars.space import Genotype, SearchSpace, StageGenotype
from tests.grids import TREE

RUN = "tiny/searched/a/seed-0"


def run_of(grid: Grid, results: Path, experiment: Experiment | None, stage: str, name: str) -> StageRun:
    return StageRun(
        stage=stage,
        experiment=name,
        group=experiment.group if experiment else None,
        scale=grid.scale,
        seed=0 if experiment else None,
        params=experiment.stage_params(stage) if experiment else grid.dataset_params(name),
        modules=experiment.modules(stage) if experiment else DATA_MODULES,
        results=results,
        inputs=hash_inputs(results, experiment.inputs(stage, 0) if experiment else ()),
    )


def write_stage(grid: Grid, results: Path, experiment: Experiment, stage: str) -> None:
    """A stage's folder with placeholders, genuine where the chain looks inside."""
    run = run_of(grid, results, experiment, stage, experiment.name)
    directory = experiment.dir(stage, 0)
    space = SearchSpace.from_params(experiment.space)
    cells = {name: dict.fromkeys(space.edges, "shortcut") for name in space.all_types}
    genotype = Genotype(space, (StageGenotype(1, 1.0),) * 2, cells)
    with atomic_directory(results / directory) as folder:
        for name in paths.OUTPUTS[stage]:
            (folder / name).write_text(f"{experiment.name} {stage} {name}")
        if stage == "derive":
            write_json(folder / "genotype.json", genotype.to_json())
        if stage == "evaluate":
            hashes = {path.rpartition("/")[2]: value for path, value in run.inputs.items()}
            metrics = Metrics(
                experiment=experiment.name, group=experiment.group, scale=grid.scale, slot=experiment.slot,
                dataset="digits", seed=0, split="test", n_examples=9, top1=0.5, loss=1.0, flops=1, biops=64, params=1,
                equivalent_ops_64=2.0, equivalent_ops_32=3.0, fully_binarized=True, float_parts="",
                search_status="completed", genotype_sha256=genotype.sha256, split_sha256=hashes["split.json"],
                checkpoint_sha256=hashes["checkpoint.pt"],
            )  # fmt: skip
            write_record(folder / "metrics.json", metrics)
        run.finish(folder, directory)


def write_data(grid: Grid, results: Path) -> None:
    run = run_of(grid, results, None, "data", "cifar10")
    directory = paths.data_dir(grid.scale, "cifar10")
    with atomic_directory(results / directory) as folder:
        (folder / "split.json").write_text("{}")
        run.finish(folder, directory)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Path]:

    folder = tmp_path_factory.mktemp("chain")
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE))
    grid = Grid(load_params(folder / "params.yaml"))
    write_data(grid, folder / "results")
    for stage in paths.STAGES:
        write_stage(grid, folder / "results", grid["a"], stage)
    return grid, folder / "results"


@pytest.fixture
def results(chain: tuple[Grid, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(chain[1], tmp_path / "results"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# ----------------------------------------------------------------------------------------------------- what is recorded
def test_provenance_says_where_a_stage_comes_from(chain: tuple[Grid, Path]) -> None:
    grid, results = chain
    record = read_record(results / RUN / "retrain/provenance.json", Provenance)
    a = grid["a"]
    assert (record.stage, record.experiment, record.scale, record.seed) == ("retrain", "a", "tiny", 0)
    assert record.params == a.stage_params("retrain")
    assert record.params_sha256 == sha256_json(a.stage_params("retrain"))
    assert record.inputs == {name: sha256_file(results / name) for name in a.inputs("retrain", 0)}
    written = [f"{RUN}/retrain/epochs.csv", f"{RUN}/retrain/checkpoint.pt"]
    assert record.outputs == {name: sha256_file(results / name) for name in sorted(written)}
    assert set(record.code) == {"version", "commit", "dirty", "modules_sha256"}
    assert {"python", "torch", "numpy"} <= set(record.libraries)
    assert record.peak_memory_mb > 10
    assert re.match(r"\d{4}-\d\d-\d\dT", record.started)


def test_a_run_key_depends_on_all_that_decides_the_result(chain: tuple[Grid, Path]) -> None:
    grid, results = chain
    run = run_of(grid, results, grid["a"], "search", "a")
    key = run.key
    for name, value in (
        ("seed", 3),
        ("params", {}),
        ("inputs", {}),
        ("experiment", "b"),
        ("modules", ("bars.errors",)),
    ):
        before = getattr(run, name)
        setattr(run, name, value)
        assert run.key != key
        setattr(run, name, before)
    run.seconds, run.device = 5, "other"  # type: ignore[attr-defined]
    assert run.key == key


# ----------------------------------------------------------------------------------------------------- the chain
def test_a_whole_chain_is_walked_to_the_split(chain: tuple[Grid, Path]) -> None:
    _, results = chain
    checked = set(verify_chain(results / RUN / "evaluate/metrics.json"))
    assert checked == {
        "tiny/data/cifar10/split.json",
        *(f"{RUN}/{stage}/{name}" for stage in paths.STAGES for name in paths.OUTPUTS[stage]),
    }


FILES = [f"{RUN}/{stage}/{name}" for stage in paths.STAGES for name in paths.OUTPUTS[stage]]


@pytest.mark.parametrize("name", ["tiny/data/cifar10/split.json", *FILES])
@pytest.mark.parametrize("damage", ["edit", "remove"])
def test_the_first_file_that_does_not_chain_is_named(results: Path, name: str, damage: str) -> None:
    if damage == "edit":
        (results / name).write_text("other")
    else:
        (results / name).unlink()
    with pytest.raises(RecordError) as caught:
        verify_chain(results / RUN / "evaluate/metrics.json", results)
    assert str(results / name) in str(caught.value)


def test_a_missing_provenance_is_named(results: Path) -> None:
    (results / RUN / "derive/provenance.json").unlink()
    with pytest.raises(RecordError, match=r"derive/provenance\.json"):
        verify_chain(results / RUN / "evaluate/metrics.json")


def test_a_stage_run_again_breaks_the_chain_of_those_after_it(chain: tuple[Grid, Path], results: Path) -> None:
    """The retrained network is of the old genotype, though every folder agrees with itself."""
    derive = results / RUN / "derive"
    (derive / "candidates.csv").write_text("new")
    value = read_json(derive / "genotype.json")
    value["stages"] = [{"depth": 0, "width": 1.0}] * 2
    (derive / "genotype.json").write_text(json.dumps(value))

    def record(provenance_: dict[str, Any]) -> None:
        for name in provenance_["outputs"]:
            provenance_["outputs"][name] = sha256_file(results / name)

    rewrite(derive / "provenance.json", record)
    with pytest.raises(RecordError, match=r"genotype\.json"):
        verify_chain(results / RUN / "evaluate/metrics.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 3), ("experiment", "b"), ("split_sha256", "0" * 64), ("genotype_sha256", None), ("scale", "cpu")],
)
def test_metrics_of_another_run_are_refused(results: Path, key: str, value: Any) -> None:
    path = results / RUN / "evaluate/metrics.json"
    rewrite(path, lambda metrics: metrics.update({key: value}))
    recorded = {f"{RUN}/evaluate/metrics.json": sha256_file(path)}
    rewrite(path.with_name("provenance.json"), lambda p: p.update({"outputs": recorded}))
    with pytest.raises(RecordError, match=f"metrics.json: {key}"):
        verify_chain(path)


def test_inputs_are_verified_before_a_stage_runs(chain: tuple[Grid, Path], results: Path) -> None:
    inputs = hash_inputs(results, chain[0]["a"].inputs("evaluate", 0))
    assert f"{RUN}/search/alphas.parquet" in verify_inputs(results, inputs)
    (results / RUN / "search/supernet.pt").write_text("other")
    with pytest.raises(RecordError, match=r"supernet\.pt"):
        verify_inputs(results, inputs)


def test_a_missing_input_names_the_command_that_makes_it(tmp_path: Path) -> None:
    for name, command in (
        ("tiny/data/cifar10/split.json", "bars data cifar10 --scale tiny"),
        (f"{RUN}/derive/genotype.json", "bars derive a --seed 0 --scale tiny"),
    ):
        with pytest.raises(RecordError, match=f"run first: {command}"):
            hash_inputs(tmp_path, (name,))


# ----------------------------------------------------------------------------------------------------- present or past
def test_stale_results_say_why(chain: tuple[Grid, Path], results: Path, make_grid: Callable[..., Grid]) -> None:
    def why(grid: Grid, folder: str) -> str | None:
        return stale(results / folder, *folders(grid)[folder])

    grid = chain[0]
    for folder in ("tiny/data/cifar10", *(f"{RUN}/{stage}" for stage in paths.STAGES)):
        assert why(grid, folder) is None
    changed = make_grid({"scales/tiny/retrain/epochs": 9})
    assert why(changed, f"{RUN}/retrain") == "made with other parameters: retrain"
    assert why(changed, f"{RUN}/search") is None
    assert "missing" in str(why(grid, grid["a"].dir("search", 3)))
    rewrite(results / RUN / "search/provenance.json", lambda p: p["code"].update({"modules_sha256": "0" * 64}))
    assert why(grid, f"{RUN}/search") == "made with other code"


@pytest.mark.parametrize(
    ("recorded", "came_to", "present", "agree"),
    [
        ("auto", "float32", "float32", True),
        ("auto", "float32", "auto", True),
        ("auto", "bfloat16", "float32", False),
        ("bfloat16", "bfloat16", "float32", False),
        ("float32", "float32", "auto", False),
        ("auto", None, "float32", True),  # a stage that computed nothing
    ],
)
def test_of_an_archived_record_counts_what_the_automatic_precision_came_to(
    chain: tuple[Grid, Path],
    results: Path,
    make_grid: Callable[..., Grid],
    recorded: str,
    came_to: str | None,
    present: str,
    agree: bool,
) -> None:
    def made(record: dict[str, Any]) -> None:
        record["params"]["runtime"]["precision"] = recorded
        record |= {"precision": came_to, "params_sha256": sha256_json(record["params"])}

    rewrite(results / RUN / "retrain/provenance.json", made)
    params = make_grid({"runtime/precision": present})["a"].stage_params("retrain")
    found = other_params(results / RUN / "retrain", params, archived=True)
    assert found == ("" if agree else "runtime")
    assert other_params(results / RUN / "retrain", params) == ("" if recorded == present else "runtime")


def test_git_state_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_state() == {"commit": None, "dirty": None}


def test_a_study_is_named_after_its_file_and_never_after_folders_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "project"
    (here / "examples").mkdir(parents=True)
    monkeypatch.chdir(here)
    loaded = load_params(Path(__file__).parents[2] / "params.yaml")
    named = {"examples/own.yaml": "examples-own", "../mine.yaml": "mine", str(tmp_path / "a b.yaml"): "a-b"}
    for path, name in named.items():
        assert study_name(replace(loaded, path=Path(path))) == name


def test_what_config_adds_to_a_study_is_the_same_study() -> None:
    merged = paths.MERGED / "0123456789ab.yaml"
    loaded = load_params(Path(__file__).parents[2] / "params.yaml")
    with_config = replace(loaded, path=merged, files=(merged, *loaded.files))
    assert study_name(with_config) == study_name(loaded)
