from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import bars
from bars import params as models
from bars.cost import RESIDUAL_BLOCKS, max_biops, min_biops, residual_biops
from bars.errors import BarsError, GenotypeError, GridError, ParamsError
from bars.models.baselines import build
from bars.models.counting import count_model
from bars.params import BinarizeParams, ModelParams
from bars.pipeline.experiments import Grid, num_classes
from bars.pipeline.home import beside
from bars.pipeline.load import load_params
from bars.space import Genotype, SearchSpace, StageGenotype
from tests.blocks import block
from tests.grids import DELETE, TREE, edited

MakeGrid = Callable[..., Grid]
ROOT = Path(__file__).resolve().parents[2]


def refused(
    make_grid: MakeGrid, edits: dict[str, Any], kind: type[BarsError], said: str, scale: str | None = None
) -> str:
    with pytest.raises(kind, match=re.escape(said)) as caught:
        make_grid(edits, scale)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------- layers
def test_layers_in_their_order(make_grid: MakeGrid) -> None:
    layers = [
        ("defaults/search/alpha_lr", 0.1),
        ("scales/tiny/search/alpha_lr", 0.2),
        ("scales/tiny/slots/cifar10/search/alpha_lr", 0.3),
        ("experiments/searched/a/search/alpha_lr", 0.4),
        ("scales/tiny/experiments/a/search/alpha_lr", 0.5),
        ("experiments/ablations/a-shared/search/alpha_lr", 0.6),
        ("scales/tiny/experiments/a-shared/search/alpha_lr", 0.7),
    ]
    for i, (_, value) in enumerate(layers, 1):
        assert make_grid(dict(layers[:i]))["a-shared"].search.alpha_lr == value


def test_the_runtime_block_can_be_overridden_anywhere(make_grid: MakeGrid) -> None:
    grid = make_grid({"scales/tiny/runtime": {"threads": 2}, "experiments/baselines/r18/runtime": {"threads": 3}})
    assert (grid["a"].runtime.threads, grid["r18"].runtime.threads) == (2, 3)
    assert grid["a"].runtime.device == "cpu"


def test_a_base_hands_down_all_but_its_names(make_grid: MakeGrid) -> None:
    grid = make_grid({"experiments/searched/a/extra": True, "experiments/searched/a/seeds": [3]})
    base, child = grid["a"], grid["a-shared"]
    assert (base.label, child.label) == ("A", "a-shared")
    assert child.seeds == (3,)
    assert child.search.epochs == base.search.epochs == 3  # the scale's word on the base
    assert child.space == base.space.model_copy(update={"cell_types": "shared"})
    assert not grid["a-argmax"].extra


def test_kinds_stages_and_files(make_grid: MakeGrid) -> None:
    grid = make_grid()
    kinds = {e.name: (e.kind, e.stages) for e in grid}
    tail = ("retrain", "evaluate")
    assert kinds == {
        "a": ("searched", ("search", "derive", *tail)),
        "b": ("searched", ("search", "derive", *tail)),
        "a-argmax": ("searched", ("derive", *tail)),
        "a-shared": ("searched", ("search", "derive", *tail)),
        "a-random": ("random", ("derive", *tail)),
        "a-matched": ("matched", ("derive", *tail)),
        "a-ranked": ("ranked", ("derive", *tail)),
        "a-x2": ("widened", tail),
        "r18": ("baseline", tail),
        "i18": ("baseline", tail),
    }
    split, run = "tiny/data/cifar10/split.json", "tiny/searched/a/seed-3"
    assert grid["a"].inputs("search", 3) == (split,)
    found = f"{run}/search/distribution.json"
    assert grid["a"].inputs("derive", 3) == (split, found, f"{run}/search/supernet.pt")
    assert grid["a"].inputs("retrain", 3) == (split, f"{run}/derive/genotype.json")
    argmax = "tiny/ablations/a-argmax/seed-3"
    assert grid["a-argmax"].inputs("derive", 3) == grid["a"].inputs("derive", 3)
    assert grid["a-argmax"].inputs("evaluate", 3) == (
        split, f"{argmax}/retrain/checkpoint.pt", f"{argmax}/derive/genotype.json", found,
    )  # fmt: skip
    assert grid["a-x2"].inputs("retrain", 3) == (split, f"{run}/derive/genotype.json")
    assert grid["a-x2"].inputs("evaluate", 3)[-1] == found
    assert grid["a-random"].inputs("derive", 0) == (split,)
    assert grid["a-matched"].inputs("derive", 3) == (split, f"{run}/derive/genotype.json")
    supernets = [f"tiny/searched/a/seed-{seed}/search/supernet.pt" for seed in (0, 3)]
    assert grid["a-ranked"].inputs("derive", 5) == (split, *supernets)
    own = "tiny/ranking/a-ranked/seed-5"
    trained = (f"{own}/retrain/checkpoint.pt", f"{own}/derive/genotype.json")
    assert grid["a-ranked"].inputs("evaluate", 5) == (split, *trained)
    assert grid["a-ranked"].stage_params("derive")["rank_seeds"] == [0, 3]
    assert grid["r18"].inputs("retrain", 0) == (split,)
    assert grid["r18"].inputs("evaluate", 0) == (split, "tiny/baselines/r18/seed-0/retrain/checkpoint.pt")
    assert grid["b"].inputs("search", 0) == ("tiny/data/imagenet-search/split.json",)
    assert grid["b"].inputs("retrain", 0)[0] == "tiny/data/imagenet/split.json"
    assert grid["a"].outputs("derive", 0) == tuple(
        f"tiny/searched/a/seed-0/derive/{name}" for name in ("candidates.csv", "genotype.json", "provenance.json")
    )


def test_every_input_is_an_output_of_an_earlier_stage_in_the_repository_grid() -> None:
    params = load_params(ROOT / "params.yaml")
    for scale in params.scales:
        grid = Grid(params, scale)
        made = {f"{scale}/data/{name}/split.json" for name in grid.datasets}
        for experiment in grid.runnable():
            for seed in experiment.seeds:
                for stage in experiment.stages:
                    assert made.isdisjoint(experiment.outputs(stage, seed))
                    made.update(experiment.outputs(stage, seed))
        for experiment in grid.runnable():
            for stage in experiment.stages:
                assert set(experiment.inputs(stage, experiment.seeds[0])) <= made


# ----------------------------------------------------------------------------------------------- stage parameters
READS = {
    "search": {"data", "space", "binarize", "search", "runtime"},
    "derive": {"data", "space", "binarize", "derive", "runtime", "budget_biops"},
    "retrain": {"data", "space", "binarize", "retrain", "runtime"},
    "evaluate": {"data", "space", "binarize", "evaluate", "runtime"},
}


def test_stage_params_are_what_the_stage_reads(make_grid: MakeGrid) -> None:
    grid = make_grid()
    for stage, blocks in READS.items():
        assert set(grid["a"].stage_params(stage)) == blocks
    assert set(grid["a-random"].stage_params("derive")) == READS["derive"]
    assert set(grid["a-matched"].stage_params("derive")) == READS["derive"] - {"budget_biops"}
    for stage in ("retrain", "evaluate"):
        assert set(grid["r18"].stage_params(stage)) == READS[stage] - {"space"} | {"model", "slot"}
        assert set(grid["a-x2"].stage_params(stage)) == READS[stage]
    for experiment in grid:
        for stage in experiment.stages:
            params = experiment.stage_params(stage)
            assert json.loads(json.dumps(params)) == params
            assert list(params) == sorted(params)


def test_search_and_derive_see_the_search_data_only(make_grid: MakeGrid) -> None:
    b = make_grid()["b"]
    assert b.stage_params("search")["data"]["classes"] == b.stage_params("derive")["data"]["classes"] == 5
    assert b.stage_params("retrain")["data"]["classes"] is None
    assert b.view("derive").data == b.search_data


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        ({"scales/tiny/search/epochs": 9, "scales/tiny/experiments": {}}, {"search"}),
        ({"defaults/derive/samples": 9}, {"derive"}),
        ({"scales/tiny/retrain/epochs": 9}, {"retrain"}),
        ({"defaults/evaluate/batch_size": 9}, {"evaluate"}),
        ({"defaults/binarize/weight_clip": 2.0}, {"search", "derive", "retrain", "evaluate"}),
        ({"runtime/threads": 2}, {"search", "derive", "retrain", "evaluate"}),
        ({"runtime/device": "auto"}, set()),
        ({"scales/tiny/slots/cifar10/data/path": "elsewhere"}, set()),
        ({"scales/tiny/slots/cifar10/data/workers": 7}, set()),
        ({"scales/tiny/slots/cifar10/data/flip": True}, {"search", "derive", "retrain", "evaluate"}),
        ({"scales/tiny/slots/cifar10/search_data": {"classes": 5}}, {"search", "derive"}),
        ({"report/figures/dpi": 50}, set()),
        ({"experiments/searched/a/label": "other"}, set()),
        ({"scales/tiny/slots/imagenet": None}, set()),
        ({"recipe": "own"}, set()),
    ],
)
def test_a_change_reaches_exactly_the_stages_that_read_it(make_grid: MakeGrid, edit: Any, changed: set[str]) -> None:
    before, after = make_grid()["a"], make_grid(edit)["a"]
    assert {s for s in before.stages if before.stage_params(s) != after.stage_params(s)} == changed


def test_a_view_refuses_other_blocks(make_grid: MakeGrid) -> None:
    view = make_grid()["a"].view("retrain")
    assert view.retrain.epochs == 2
    assert view.runtime.device == "cpu"
    for name in ("search", "derive", "evaluate", "model", "budget_biops", "genotype", "slot"):
        with pytest.raises(AttributeError, match=f"retrain does not read {name}"):
            getattr(view, name)


def test_modules_behind_a_stage(make_grid: MakeGrid) -> None:
    grid = make_grid()
    assert grid["a"].modules("search") == ("bars.stages.search", "bars.data")
    assert "bars.models.network" in grid["a"].modules("retrain")
    assert "bars.models.baselines" in grid["r18"].modules("evaluate")
    assert "bars.models.baselines" not in grid["a"].modules("evaluate")


# ----------------------------------------------------------------------------------------------------- budgets
def test_a_fraction_is_of_the_slots_own_space(make_grid: MakeGrid) -> None:
    grid = make_grid({"experiments/ablations/a-shared/space": {"cells_per_stage": 3}})
    largest = max_biops(
        block(models.SpaceParams, stages=2, cells_per_stage=1, nodes=2, widths=(0.5, 1.0), init_channels=4), 8, 10
    )
    assert grid["a"].budget_biops == grid["a-shared"].budget_biops == round(0.3 * largest)
    assert grid["a"].search.budget.fraction is None
    assert grid["b"].budget_biops == 150000
    assert grid["a-random"].stage_params("derive")["budget_biops"] == round(0.3 * largest)


def test_a_budget_relative_to_a_network_is_a_factor_of_its_counted_operations(make_grid: MakeGrid) -> None:
    for name, slot, options in (("r18", "cifar10", {}), ("i18", "imagenet", {"downsample": "binary"})):
        budget = {"reference": name, "factor": 0.008}
        edits = {
            "experiments/searched/a/search/budget": budget,
            "experiments/searched/a/slot": slot,
            f"experiments/baselines/{name}/model/options": options,
        }
        grid = make_grid({**edits, "experiments/ablations": {}, "experiments/widened": {}})
        reference = grid[name]
        size = reference.data.image_size
        model = build(reference.model, 10, size, reference.slot, reference.binarize)
        counted, _ = count_model(model, (1, 3, size, size))
        assert grid["a"].budget_biops == round(0.008 * counted.biops)


@pytest.mark.parametrize(
    ("reference", "said"),
    [("b", "known without building it"), ("r19", "did you mean r18"), ("a", "wait for each other")],
)
def test_references_that_cannot_be(make_grid: MakeGrid, reference: str, said: str) -> None:
    budget = {"reference": reference, "factor": 0.5}
    refused(make_grid, {"experiments/searched/a/search/budget": budget}, BarsError, said)


@pytest.mark.parametrize("family", list(RESIDUAL_BLOCKS))
@pytest.mark.parametrize("downsample", ["float", "binary"])
@pytest.mark.parametrize("width", [0.125, 0.17, 1.0])
@pytest.mark.parametrize(("slot", "size"), [("cifar10", 8), ("cifar10", 20), ("imagenet", 32)])
def test_residual_operations_are_those_of_the_built_network(
    family: str, downsample: str, width: float, slot: str, size: int
) -> None:
    params = ModelParams(family=family, width=width, options={"downsample": downsample})
    counted, _ = count_model(build(params, 10, size, slot, block(BinarizeParams)), (1, 3, size, size))
    assert residual_biops(family, width, size, slot == "imagenet", downsample == "binary") == counted.biops


def test_a_budget_below_the_smallest_architecture_names_both(make_grid: MakeGrid) -> None:
    grid = make_grid()
    least = min_biops(grid["a"].space, 8, 10)
    grid = make_grid({"experiments/searched/a/search/budget": {"biops": least - 1}})
    reason = grid["a"].reason or ""
    assert f"{least - 1:,}" in reason
    assert f"{least:,}" in reason
    assert grid["a-argmax"].reason is not None  # it needs the search of a
    assert grid["b"].reason is None  # the rest of the grid can be
    with pytest.raises(GridError, match="budget"):
        grid["a"].inputs("search", 0)
    assert make_grid({"experiments/searched/a/search/budget": {"biops": least}})["a"].budget_biops == least


# -------------------------------------------------------------------------------------------------- folders of images
@pytest.mark.parametrize("where", [".", "elsewhere"])
@pytest.mark.parametrize("there", [("study",), ("study", "base"), ("base",), ("base", "elsewhere"), ()])
def test_images_lie_beside_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, there: tuple[str, ...]
) -> None:
    """The including file's own folder first, then the included one's, else the working directory."""
    for folder in ("study", "base", "elsewhere"):
        (tmp_path / folder).mkdir()
    for folder in there:
        (tmp_path / folder / "pictures").mkdir()
    (tmp_path / "base/params.yaml").write_text(
        yaml.safe_dump(edited(TREE, {"scales/tiny/slots/cifar10/data/path": "pictures"}))
    )
    (tmp_path / "study/study.yaml").write_text("include: ../base/params.yaml\n")
    monkeypatch.chdir(tmp_path / where)
    experiment = Grid(load_params(tmp_path / "study/study.yaml"))["a"]
    assert experiment.dataset == "cifar10"  # the slot's own, found at the same place
    found = experiment.data.path
    first = next((folder for folder in there if folder != "elsewhere"), None)
    assert found is not None
    assert Path(found).absolute().resolve() == (Path.cwd() if first is None else tmp_path / first).joinpath("pictures")
    assert not Path(found).is_absolute()


def test_nothing_is_looked_for_within_the_package() -> None:
    """An installed package has a folder `data`, which is code."""
    package = Path(bars.__file__).parent
    assert beside([package / "params.yaml"], "data") == "data"
    assert beside([package.parent / "params.yaml"], "~/data") == "~/data"


# -------------------------------------------------------------------------------------------------- widths, recipes
@pytest.mark.parametrize(("factor", "channels"), [(1.0, 4), (1.4, 6), (1.125, 5), (0.5, 2), (2.0, 8)])
def test_width_multiplier_rounds_to_whole_channels(make_grid: MakeGrid, factor: float, channels: int) -> None:
    grid = make_grid({"experiments/widened/a-x2/width_multiplier": factor})
    assert grid["a-x2"].space.init_channels == channels
    assert grid["a"].space.init_channels == 4


def test_model_width_is_the_scales_unless_given(make_grid: MakeGrid) -> None:
    grid = make_grid()
    assert (grid["r18"].model.width, grid["i18"].model.width) == (0.25, 0.5)
    assert make_grid({"scales/tiny/slots/cifar10/model_width": 0.75})["r18"].model.width == 0.75
    assert make_grid({"scales/tiny/model_width": DELETE})["r18"].model.width == 1.0
    assert make_grid({"experiments/baselines/r18/width_multiplier": 1.5})["r18"].model.width == 0.375


def test_own_recipes(make_grid: MakeGrid) -> None:
    common, own = make_grid()["r18"], make_grid({"recipe": "own"})["r18"]
    assert (common.retrain.lr, common.own_recipe) == (0.001, False)
    assert (own.retrain.lr, own.retrain.epochs, own.retrain.batch_size, own.own_recipe) == (0.5, 2, 16, True)
    assert not make_grid({"recipe": "own"})["i18"].own_recipe
    asked = {"model": {"options": {"downsample": "binary"}}, "binarize": {"weight_gradient": "unscaled"}}
    for recipe, gradient, options in (("common", "exact", {}), ("own", "unscaled", {"downsample": "binary"})):
        r18 = make_grid({"recipe": recipe, "experiments/baselines/r18/own_recipe": asked})["r18"]
        assert (r18.binarize.weight_gradient, r18.model.options) == (gradient, options)
    paper = {"recipe": "own", "scale": "paper", "scales/paper": {**make_grid().params.tree["scales"]["cpu"]}}
    assert (make_grid(paper)["r18"].retrain.epochs, make_grid(paper)["r18"].retrain.batch_size) == (99, 7)


# ----------------------------------------------------------------------------------------------------- not run
def test_what_is_not_run_says_why(make_grid: MakeGrid) -> None:
    grid = make_grid({"scales/cpu/experiments": {"a": None}}, "cpu")
    assert grid["b"].reason == grid["i18"].reason == "no imagenet data at scale cpu"
    assert grid["a"].reason == "switched off at scale cpu"
    assert grid["a-argmax"].reason == grid["a-x2"].reason == "needs a: switched off at scale cpu"
    assert grid["a-shared"].reason is None
    assert [e.name for e in grid.runnable()] == ["a-shared", "a-random", "r18"]
    for ask in (
        lambda: grid["b"].space,
        lambda: grid["b"].inputs("search", 0),
        lambda: grid["b"].stage_params("search"),
    ):
        with pytest.raises(GridError, match="no imagenet data"):
            ask()
    with pytest.raises(GridError, match="there is none at this scale"):
        grid.dataset("imagenet")


def test_data_sets(make_grid: MakeGrid) -> None:
    grid = make_grid({"experiments/ablations/a-shared/data": {"max_train": 60}})
    assert set(grid.datasets) == {"cifar10", "imagenet", "imagenet-search", "a-shared"}
    assert grid.dataset("imagenet-search").classes == 5
    assert (grid["a-shared"].dataset, grid["a-shared"].search_dataset) == ("a-shared", "a-shared")
    assert grid["b"].dataset, grid["b"].search_dataset == ("imagenet", "imagenet-search")
    assert "path" in grid.dataset_params("cifar10")["data"]
    other = make_grid({"experiments/ablations/a-shared/search_data": {"classes": 3}})
    assert (other["a-shared"].dataset, other["a-shared"].search_dataset) == ("cifar10", "a-shared-search")


# ----------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("edits", "kind", "said"),
    [
        ({"experiments/searched/a/slot": DELETE}, ParamsError, "needs a slot"),
        ({"experiments/ablations/a-shared/base": "aa"}, GridError, "no such experiment; did you mean a?"),
        ({"experiments/searched/a/base": "a-shared"}, GridError, "each other's base"),
        ({"experiments/ablations/a-argmax/search_from": "aa"}, GridError, "ablations.a-argmax.search_from"),
        ({"experiments/ablations/a-argmax/search_from": "r18"}, GridError, "r18 has no search stage"),
        ({"experiments/widened/a-x2/genotype_from": "r18"}, GridError, "r18 has no derive stage"),
        (
            {
                "experiments/ablations/f": {"base": "a", "search": {"operations": "float"}},
                "experiments/ablations/g": {"base": "f", "search_from": "f"},
            },
            GridError,
            "f searches in floats",
        ),
        (
            {"experiments/ablations/f": {"base": "a", "search": {"operations": "float"}, "derive": {"samples": 3}}},
            ParamsError,
            "a search in floats does not read it",
        ),
        ({"experiments/widened/a-x2/genotype_from": "a-x2"}, GridError, "wait for each other"),
        ({"experiments/widened/a-x2/genotype_from": "b"}, GridError, None),
        ({"experiments/widened/a-x2/space": {"nodes": 3}}, GridError, "does not fit the space"),
        ({"experiments/widened/a-x2/width_multiplier": 0.01}, ParamsError, "leaves no channel"),
        ({"experiments/ablations/a-argmax/space": {"norm": "node"}}, GridError, "norm: node instead of edge"),
        ({"experiments/ablations/a-argmax/binarize": {"weight_clip": 3}}, GridError, "another binarize"),
        ({"experiments/ablations/a-argmax/search": {"epochs": 30}}, GridError, "another search"),
        ({"experiments/searched/a/seeds": [0]}, None, None),
        ({"experiments/ablations/a-argmax/seeds": [5]}, GridError, "missing [5]"),
        ({"experiments/widened/a-x2/model": {"family": "x"}}, ParamsError, "more than one source"),
        ({"experiments/ablations/a-argmax/derive": {"method": "random"}}, ParamsError, "random draws need no search"),
        ({"experiments/baselines/r18/search": {"epochs": 3}}, ParamsError, "a baseline experiment does not read it"),
        ({"experiments/widened/a-x2/derive": {"samples": 3}}, ParamsError, "a widened experiment does not read it"),
        ({"experiments/ablations/a-random/search": {"epochs": 3}}, ParamsError, "a random experiment does not read it"),
        (
            {"experiments/ablations/a-matched/search": {"epochs": 3}},
            ParamsError,
            "a matched experiment does not read it",
        ),
        ({"experiments/ablations/a-matched/derive": {"method": "sample"}}, ParamsError, "set derive.method to random"),
        ({"experiments/ablations/a-matched/space": {"norm": "node"}}, GridError, "norm: node instead of edge"),
        ({"experiments/ablations/a-matched/seeds": [5]}, GridError, "missing [5]"),
        ({"experiments/ablations/a-matched/matched_to": "r18"}, GridError, "has no derive stage"),
        ({"defaults/search/temperature/start": -1}, ParamsError, "an exponential ramp needs start > 0"),
        ({"scales/tiny/search/epochs": DELETE, "scales/tiny/experiments": {}}, ParamsError, "search.epochs of a"),
        (
            {"defaults/search/weight_lr": DELETE},
            ParamsError,
            "and 3 more: missing, allowed a number > 0",
        ),
        ({"experiments/searched/z": {"slot": "cifar10", "genotype": "nowhere.json"}}, ParamsError, "nowhere.json"),
        (
            {"experiments/searched/a/genotype": {"stages": [], "cells": {}}},
            GenotypeError,
            "experiments.searched.a.genotype",
        ),
    ],
)
def test_grids_that_cannot_be(make_grid: MakeGrid, edits: Any, kind: type[BarsError] | None, said: str | None) -> None:
    if kind is None:
        assert make_grid(edits)["a-argmax"].seeds == (0,)
        return
    if said is None:  # another slot, but the same cells: allowed
        assert make_grid(edits)["a-x2"].inputs("retrain", 0)[1] == "tiny/searched/b/seed-0/derive/genotype.json"
        return
    refused(make_grid, edits, kind, said)


def test_asking_for_what_is_not_there(make_grid: MakeGrid) -> None:
    grid = make_grid()
    with pytest.raises(GridError, match="did you mean a-argmax"):
        grid["a-argmaxx"]
    with pytest.raises(GridError, match="no data set cifar1 .*did you mean cifar10"):
        grid.dataset("cifar1")
    with pytest.raises(GridError, match="no such scale; did you mean tiny"):
        make_grid(scale="tinyy")
    with pytest.raises(GridError, match="no stage search"):
        grid["r18"].inputs("search", 0)
    with pytest.raises(GridError, match="no seed 1 "):
        grid["a"].inputs("search", 1)
    with pytest.raises(GridError, match="no block space"):
        _ = grid["r18"].space
    with pytest.raises(GridError, match="no stage search"):
        grid["r18"].file("search", "epochs.csv", 0)


# ----------------------------------------------------------------------------------------------------- given genotypes
def literal(space: SearchSpace) -> dict[str, Any]:
    edges = [{"source": s, "target": t, "primitive": "binary_conv_3x3"} for s, t in space.edges]
    return {"stages": [{"depth": 1, "width": 1}] * 2, "cells": {name: edges for name in space.all_types}}


def test_a_genotype_in_the_grid_or_in_a_file(make_grid: MakeGrid, tmp_path: Path) -> None:
    space = SearchSpace.from_params(make_grid()["a"].space)
    given = {"slot": "cifar10", "genotype": literal(space)}
    grid = make_grid({"experiments/ablations/mine": given})
    mine = grid["mine"]
    assert (mine.kind, mine.stages) == ("fixed", ("derive", "retrain", "evaluate"))
    assert mine.genotype is not None
    assert Genotype.from_json(mine.genotype, space).stages[0].depth == 1
    assert mine.stage_params("derive")["genotype"] == mine.genotype
    assert mine.inputs("derive", 0) == ("tiny/data/cifar10/split.json",)
    (tmp_path / "g.json").write_text(json.dumps(mine.genotype))
    again = make_grid({"experiments/ablations/mine": {"slot": "cifar10", "genotype": "g.json"}})["mine"]
    assert again.stage_params("derive") == mine.stage_params("derive")
    tampered = {**mine.genotype, "stages": [{"depth": 0, "width": 1.0}] * 2}
    refused(
        make_grid,
        {"experiments/ablations/mine/genotype": tampered, "experiments/ablations/mine/slot": "cifar10"},
        GenotypeError,
        "edited",
    )


def test_a_genotype_of_another_space_keeps_only_its_experiment_from_running(make_grid: MakeGrid) -> None:
    foreign = SearchSpace(3, 1, 4, (0.5, 1.0), ("binary_conv_3x3", "shortcut", "none"), "stage")
    edges = {name: dict.fromkeys(foreign.edges, "shortcut") for name in foreign.all_types}
    genotype = Genotype(foreign, (StageGenotype(1, 1.0),) * 3, edges).to_json()
    grid = make_grid({"experiments/ablations/mine": {"slot": "cifar10", "genotype": genotype}})
    assert grid["a"].reason is None
    with pytest.raises(GridError, match="belongs to another search space"):
        grid["mine"].inputs("derive", 0)


@pytest.mark.parametrize("block", ["search", "derive", "retrain"])
def test_no_batch_of_one_image(make_grid: MakeGrid, block: str) -> None:
    where = {f"experiments/searched/a/{block}": {"batch_size": 1}}
    refused(make_grid, where, ParamsError, f"{block}.batch_size: got 1, allowed a whole number >= 2")


# -------------------------------------------------------------------------------------------------- the repository
def test_number_of_classes_without_opening_images(tmp_path: Path) -> None:
    def data(**given: Any) -> models.DataParams:
        return block(models.DataParams, image_size=8, **given)

    assert num_classes(data(source="digits")) == num_classes(data(source="cifar10", path="x")) == 10
    assert num_classes(data(source="cifar10", path="x", classes=3)) == 3
    assert num_classes(data(source="imagefolder", path="x", classes=("a", "b"))) == 2
    assert num_classes(data(source="imagefolder", path=str(tmp_path / "absent"))) is None
    for name in ("cat", "dog", "owl"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    assert num_classes(data(source="imagefolder", path=str(tmp_path))) == 3


def test_the_repository_grid_at_every_scale() -> None:
    params = load_params(ROOT / "params.yaml")
    assert {"smoke", "cpu", "gpu", "paper"} <= set(params.scales)
    for scale in params.scales:
        grid = Grid(params, scale)
        for experiment in grid.runnable():
            for stage in experiment.stages:
                experiment.view(stage)
                experiment.stage_params(stage)
    off = {e.name for e in Grid(params, "smoke") if e.reason is not None}
    assert off == {*(f"bars-{x}-printed" for x in "abc"), *(f"random-{x}-matched" for x in "acde")}
    assert all(e.reason is None for e in Grid(params, "paper"))


def test_the_nearest_source_of_a_network_counts(make_grid: MakeGrid) -> None:
    def kind(**keys: Any) -> tuple[str, str | None, str | None]:
        z = make_grid({"experiments/ablations/z": keys})["z"]
        return z.kind, z.search_from, z.genotype_from

    assert kind(base="a-argmax") == ("searched", "a", None)
    assert kind(base="a-argmax", genotype_from="a-argmax") == ("widened", None, "a-argmax")
    assert kind(base="a-argmax", search_from=None) == ("searched", None, None)
    assert kind(base="a-x2", genotype_from=None) == ("searched", None, None)
    assert kind(base="a-random", genotype_from="a-random") == ("widened", None, "a-random")
    assert kind(base="a-random", derive={"method": "sample"}) == ("searched", None, None)
    assert kind(base="r18", binarize={"weight_clip": 2.0}) == ("baseline", None, None)
