"""The whole chain on a few dozen images: files in, files out, and what happens when it is cut short."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bars.cli import main
from bars.commands.progress import EpochProgress
from bars.cost import genotype_cost
from bars.data import open_part, read_split
from bars.pipeline import paths
from bars.pipeline import records as rec
from bars.pipeline.experiments import Grid
from bars.pipeline.files import sha256_file
from bars.pipeline.load import load_params
from bars.pipeline.provenance import stale, verify_chain
from bars.space import Genotype, SearchSpace
from bars.stages import files
from bars.stages.networks import build
from tests.calling import call
from tests.grids import TREE, edited

pytestmark = pytest.mark.xdist_group("chain")
SEED = 3


def stage(words: str, **options: str) -> None:
    status, err = call(*words.split(), "--seed", str(SEED), *(f"--{k}={v}" for k, v in options.items()))
    assert status == 0, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the tiny params file, the data split and a finished run of experiment a."""
    folder = tmp_path_factory.mktemp("chain")
    space = SearchSpace(2, 1, 2, (0.5, 1.0), ("binary_conv_3x3", "shortcut", "none"), "stage")
    edges = [{"source": s, "target": t, "primitive": "binary_conv_3x3"} for s, t in space.edges]
    mine = {"stages": [{"depth": 1, "width": 0.5}] * 2, "cells": {name: edges for name in space.all_types}}
    rough = {"base": "r18", "runtime": {"precision": "bfloat16"}}
    edits = {"experiments/ablations/mine": {"slot": "cifar10", "genotype": mine}, "experiments/baselines/rough": rough}
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, edits), sort_keys=False))
    with contextlib.chdir(folder):
        assert call("data", "cifar10")[0] == 0
        for name in paths.STAGES:
            stage(f"{name} a")
        yield folder


@pytest.fixture(scope="module")
def grid(folder: Path) -> Grid:
    return Grid(load_params(folder / "params.yaml"))


def made(grid: Grid, name: str, stage_name: str, file: str) -> Path:
    return Path("results") / grid[name].file(stage_name, file, SEED)


def metrics(grid: Grid, name: str) -> rec.Metrics:
    return rec.read_metrics(made(grid, name, "evaluate", "metrics.json"))


def test_every_declared_file_is_there_and_chains(folder: Path, grid: Grid) -> None:
    a = grid["a"]
    for name in a.stages:
        found = sorted(p.name for p in (folder / "results" / a.dir(name, SEED)).iterdir())
        assert found == sorted([*paths.OUTPUTS[name], paths.PROVENANCE])
        assert stale(folder / "results" / a.dir(name, SEED), a.stage_params(name), a.modules(name)) is None
    assert len(verify_chain(made(grid, "a", "evaluate", "metrics.json").absolute())) == 12
    assert not list(Path(".bars/checkpoints").iterdir())
    assert not list(Path("results").rglob("*.tmp-*"))


def test_the_records_agree_with_each_other(grid: Grid) -> None:
    a = grid["a"]
    result = metrics(grid, "a")
    genotype = rec.read_genotype(made(grid, "a", "derive", "genotype.json"), SearchSpace.from_params(a.space))
    assert (result.experiment, result.seed, result.scale, result.slot, result.dataset) == (
        "a",
        SEED,
        "tiny",
        "cifar10",
        "digits",
    )
    assert result.n_examples == 40
    assert result.genotype_sha256 == genotype.sha256
    cost = genotype_cost(a.space, genotype, 8, 10)
    assert (result.flops, result.biops, result.params) == tuple(cost)
    assert result.fully_binarized
    assert result.search_status == "completed"
    chosen = [c for c in rec.read_candidates(made(grid, "a", "derive", "candidates.csv")) if c.chosen]
    assert [c.genotype_sha256 for c in chosen] == [genotype.sha256]
    assert Genotype.from_json(chosen[0].genotype) == genotype
    assert chosen[0].biops == result.biops
    epochs = rec.read_search_epochs(made(grid, "a", "search", "epochs.csv"))
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert set(epochs[0].shares) == set(a.space.primitives)
    alphas = rec.read_alphas(made(grid, "a", "search", "alphas.parquet"))
    assert {row.epoch for row in alphas} == {0, 1, 2, 3}
    assert rec.read_distribution(made(grid, "a", "search", "distribution.json")).epochs == 3
    assert len(rec.read_retrain_epochs(made(grid, "a", "retrain", "epochs.csv"))) == 2


def test_weights_load_without_executing_anything(grid: Grid) -> None:
    for name, file, kind in (
        ("search", "supernet.pt", "bars-supernet/1"),
        ("retrain", "checkpoint.pt", "bars-checkpoint/1"),
    ):
        content = torch.load(made(grid, "a", name, file), weights_only=True)
        assert content["format"] == kind
        assert content["state"]


@pytest.mark.parametrize("name", ["a-argmax", "a-random", "a-matched", "a-x2", "mine", "r18"])
def test_every_kind_of_experiment_runs(grid: Grid, name: str) -> None:
    for stage_name in grid[name].stages:
        stage(f"{stage_name} {name}")
    result = metrics(grid, name)
    verify_chain(made(grid, name, "evaluate", "metrics.json").absolute())
    assert result.search_status == ("completed" if name in ("a-argmax", "a-x2") else None)
    if name == "r18":
        assert result.genotype_sha256 is None
        return
    genotype = rec.read_genotype(made(grid, name, "derive", "genotype.json"))
    assert result.biops == genotype_cost(grid[name].space, genotype, 8, 10).biops
    if name == "a-random":
        assert abs(result.biops / grid[name].budget_biops - 1) <= grid[name].derive.budget_tolerance  # type: ignore[operator]
    if name == "a-matched":
        found = metrics(grid, "a")
        assert genotype.sha256 != found.genotype_sha256
        for count in ("biops", "flops"):
            assert abs(getattr(result, count) / getattr(found, count) - 1) <= grid[name].derive.budget_tolerance  # type: ignore[operator]
    if name == "a-x2":
        assert genotype.sha256 == metrics(grid, "a").genotype_sha256
    if name == "mine":
        assert grid[name].genotype == genotype.to_json()
    if name == "a-argmax":
        rows = rec.read_candidates(made(grid, name, "derive", "candidates.csv"))
        assert [r.argmax for r in rows if r.chosen] == [True]


@pytest.mark.parametrize("name", ["search", "retrain"])
def test_a_stage_cut_short_continues_to_the_same_bytes(
    grid: Grid, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = {file: made(grid, "a", name, file).read_bytes() for file in paths.OUTPUTS[name]}
    seen: list[int] = []
    whole = EpochProgress.epoch

    def interrupt(self: EpochProgress, stage: str, epoch: int, epochs: int, values: Any) -> None:
        seen.append(epoch)
        if len(seen) == 1:
            raise KeyboardInterrupt
        whole(self, stage, epoch, epochs, values)

    monkeypatch.setattr(EpochProgress, "epoch", interrupt)
    words = (name, "a", "--seed", str(SEED))
    status, err = call(*words)
    assert status == 130 and "started" in err and "continues" not in err
    assert {f: made(grid, "a", name, f).read_bytes() for f in paths.OUTPUTS[name]} == before  # the old folder is whole
    assert len(list(Path(".bars/checkpoints").iterdir())) == 1
    status, err = call(*words)
    assert status == 0 and "continues an interrupted run from its checkpoint" in err
    assert seen == list(range(1, len(seen) + 1))  # no epoch was run twice
    assert {f: made(grid, "a", name, f).read_bytes() for f in paths.OUTPUTS[name]} == before
    assert not list(Path(".bars/checkpoints").iterdir())


def test_a_damaged_checkpoint_is_named(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochProgress, "epoch", stop)
    assert call("retrain", "a", "--seed", str(SEED))[0] == 130
    (file,) = Path(".bars/checkpoints").glob("*/state.pt")
    file.write_bytes(file.read_bytes()[:1000])
    status, err = call("retrain", "a", "--seed", str(SEED))
    assert status == 2
    assert "state.pt" in err
    file.unlink()
    file.parent.rmdir()


def test_an_edited_input_is_refused(grid: Grid) -> None:
    path = made(grid, "a", "derive", "genotype.json")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"depth": 1', b'"depth": 0'))
    try:
        status, err = call("retrain", "a", "--seed", str(SEED))
        assert status == 2
        assert "does not chain" in err
        assert "genotype.json" in err
    finally:
        path.write_bytes(whole)


def test_only_evaluate_opens_test_images(grid: Grid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    real = files.open_part

    def spy(params: Any, split: Any, part: Any) -> Any:
        opened.append(part)
        return real(params, split, part)

    monkeypatch.setattr(files, "open_part", spy)
    parts = {"search": ["train", "valid"], "derive": ["valid"], "retrain": ["train+valid"], "evaluate": ["test"]}
    for name, expected in parts.items():
        opened.clear()
        stage(f"{name} a")
        assert opened == expected


@pytest.mark.parametrize("name", ["a", "r18", "rough"])
def test_accuracy_by_class_and_confusions_are_those_of_the_network(grid: Grid, name: str) -> None:
    """Recomputed from the checkpoint in float32, an image at a time; also where it was trained in bfloat16."""
    if name != "a":
        stage(f"retrain {name}")
        stage(f"evaluate {name}")
    experiment = grid[name]
    data = experiment.view("evaluate").data
    split = read_split(Path("results") / paths.split_path(grid.scale, experiment.dataset), data)
    genotype = None if name != "a" else rec.read_genotype(made(grid, name, "derive", "genotype.json"))
    model = build(experiment.network, experiment.view("evaluate"), genotype, len(split.classes), split.image_size)
    model.load_state_dict(torch.load(made(grid, name, "retrain", "checkpoint.pt"))["state"])
    model.eval()
    counts: Counter[tuple[str, str]] = Counter()
    test = open_part(data, split, "test")
    with torch.no_grad():
        for image, label in test.batches(1, device="cpu", augment=False, seed=0, epoch=0, drop_last=False):
            counts[split.classes[int(label)], split.classes[int(model(image)[0].argmax())]] += 1
    rows = csv.DictReader(made(grid, name, "evaluate", "confusion.csv").read_text().splitlines())
    assert {(row["label"], row["predicted"]): int(row["images"]) for row in rows} == dict(counts)
    record = metrics(grid, name)
    totals = {c: sum(n for (label, _), n in counts.items() if label == c) for c in split.classes}
    assert record.class_top1 == {c: pytest.approx(counts[c, c] / n) for c, n in totals.items()}
    assert record.top1 == pytest.approx(sum(counts[c, c] for c in split.classes) / record.n_examples)


def test_the_same_run_gives_the_same_bytes(grid: Grid) -> None:
    before = {n: sha256_file(made(grid, "a", s, n)) for s in paths.STAGES for n in paths.OUTPUTS[s]}
    assert call("data", "cifar10", "--results", "again")[0] == 0
    for name in paths.STAGES:
        stage(f"{name} a", results="again")
    again = Path("again")
    after = {n: sha256_file(again / grid["a"].file(s, n, SEED)) for s in paths.STAGES for n in paths.OUTPUTS[s]}
    assert after == before


def test_cost_of_a_derived_network(grid: Grid) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["cost", "a", "--seed", str(SEED), "--json"]) == 0
    answer = json.loads(out.getvalue())
    assert answer["biops"] == metrics(grid, "a").biops
    assert answer["genotype"] == metrics(grid, "a").genotype_sha256


def test_tables_refuse_results_that_do_not_chain(grid: Grid) -> None:
    status, err = call("table", "table2")
    assert status == 0, err
    written = Path("results/table2.csv").read_bytes()
    path = made(grid, "a", "search", "supernet.pt")
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    try:
        status, err = call("table", "table2")
    finally:
        path.write_bytes(whole)
    assert status == 2
    assert "supernet.pt" in err
    assert "does not chain" in err
    assert Path("results/table2.csv").read_bytes() == written


# --------------------------------------------------------------------------------------------------- studies
def altered(folder: Path, name: str, edits: dict[str, Any]) -> Path:
    """The folder's params file with other values, under another name: another study."""
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / name).write_text(yaml.safe_dump(edited(tree, edits), sort_keys=False))
    return Path(name)


def test_tables_refuse_results_of_other_parameters(folder: Path, grid: Grid) -> None:
    """After an edit of the study's own file, by hand as in the workflow."""
    path = folder / "params.yaml"
    text = path.read_text()
    altered(folder, "params.yaml", {"scales/tiny/retrain/epochs": 3})
    try:
        status, err = call("table", "table2")
    finally:
        path.write_text(text)
    assert status == 2
    assert "other parameters than the present ones" in err and "seed-3/retrain (retrain)" in err


def test_a_table_names_its_study_and_keeps_a_copy(folder: Path) -> None:
    for name, study in (("params.yaml", "params"), ("second.yaml", "second")):
        if name != "params.yaml":
            altered(folder, name, {})
        assert call("table", "table2", "--params", name)[0] == 0
        top = Path("results/table2.csv").read_text()
        rows = list(csv.DictReader(io.StringIO(top)))
        assert {row["study"] for row in rows} == {study} and {row["scale"] for row in rows} == {"tiny"}
        assert Path(f"results/tiny/report/{study}/table2.csv").read_text() == top
        assert f"Study {study}, scale tiny." in Path("results/table2.md").read_text()
    assert Path("results/tiny/report/params/table2.csv").read_text() != top


def test_results_of_another_study_are_not_overwritten(folder: Path, grid: Grid) -> None:
    before = made(grid, "a", "retrain", "checkpoint.pt").read_bytes()
    other = altered(folder, "other.yaml", {"scales/tiny/retrain/epochs": 3})
    status, err = call("retrain", "a", "--seed", str(SEED), "--params", str(other))
    assert status == 2
    assert "another study's results" in err and "made by params; this is other" in err and "another name" in err
    assert made(grid, "a", "retrain", "checkpoint.pt").read_bytes() == before
    assert call("evaluate", "a", "--seed", str(SEED), "--params", str(other))[0] == 0  # what is common is shared


# --------------------------------------------------------------------------------------------------- before the work
def test_batches_that_no_part_can_fill_are_refused_with_the_split(folder: Path) -> None:
    other = altered(folder, "big.yaml", {"scales/tiny/retrain/batch_size": 81, "scales/tiny/search/batch_size": 41})
    status, err = call("data", "cifar10", "--params", str(other), "--results", "elsewhere")
    assert status == 2
    assert "a: search.batch_size: got 41, allowed at most 40" in err
    assert "a: retrain.batch_size: got 81, allowed at most 80" in err
    assert not Path("elsewhere/tiny/data/cifar10").exists()


def test_the_data_log_counts_images(folder: Path) -> None:
    status, err = call("data", "cifar10", "--results", "counted")
    assert status == 0
    assert "data cifar10: train: 1,438 files found, 1,438 images, 0 passed over" in err
    assert "data cifar10: split: 40 train, 40 valid, 40 test" in err


def test_retraining_needs_the_records_of_a_search_but_not_its_weights(grid: Grid) -> None:
    """So rows of a landed study, which has none, can be trained again."""
    before = {file: made(grid, "a", "retrain", file).read_bytes() for file in paths.OUTPUTS["retrain"]}
    weights = made(grid, "a", "search", "supernet.pt")
    whole = weights.read_bytes()
    weights.unlink()
    try:
        stage("retrain a")
    finally:
        weights.write_bytes(whole)
    assert {file: made(grid, "a", "retrain", file).read_bytes() for file in paths.OUTPUTS["retrain"]} == before


# --------------------------------------------------------------------------------------------------- interrupted
HALF: dict[str, tuple[str, str, str, bool]] = {  # the file, the command that meets it, what it says, removed or cut
    "a split cut short": ("data/cifar10/split.json", "search", "does not chain", False),
    "a split lost": ("data/cifar10/split.json", "search", "bars data cifar10", True),
    "a split without its provenance": ("data/cifar10/provenance.json", "search", "provenance.json", True),
    "alphas cut short": ("searched/a/seed-3/search/alphas.parquet", "derive", "does not chain", False),
    "a supernet lost": ("searched/a/seed-3/search/supernet.pt", "derive", "bars search a --seed 3", True),
    "a genotype cut short": ("searched/a/seed-3/derive/genotype.json", "retrain", "does not chain", False),
    "candidates lost": ("searched/a/seed-3/derive/candidates.csv", "retrain", "candidates.csv", True),
    "weights cut short": ("searched/a/seed-3/retrain/checkpoint.pt", "evaluate", "does not chain", False),
    "provenance cut short": ("searched/a/seed-3/retrain/provenance.json", "evaluate", "provenance.json", False),
    "provenance of no bytes": ("searched/a/seed-3/derive/provenance.json", "evaluate", "provenance.json", False),
}


@pytest.mark.parametrize("what", HALF)
def test_half_a_result_is_named_before_the_next_stage_begins(folder: Path, what: str) -> None:
    name, command, said, lost = HALF[what]
    path = folder / "results/tiny" / name
    whole = path.read_bytes()
    path.unlink() if lost else path.write_bytes(b"" if "no bytes" in what else whole[: len(whole) // 2])
    try:
        status, err = call(command, "a", "--seed", str(SEED))
    finally:
        path.write_bytes(whole)
    assert status == 2
    assert said in err and "started" not in err
