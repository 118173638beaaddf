"""What the declarations of the fields promise: one place for a default, one mark for what changes no result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from bars.errors import ParamsError
from bars.params import Block, DataParams, ReportParams, RuntimeParams
from bars.pipeline.experiments import Grid
from bars.pipeline.schema import BLOCKS, SCALE_BLOCKS
from tests.blocks import block, tree
from tests.grids import DELETE

MakeGrid = Callable[..., Grid]


def given_twice(model: type[Block], values: Mapping[str, Any], at: str) -> Iterator[str]:
    """Fields that params.yaml gives a value to, and their class another."""
    for name, field in model.model_fields.items():
        if name in values and not field.is_required():
            yield f"{at}.{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Block) and isinstance(values.get(name), Mapping):
            yield from given_twice(kind, values[name], f"{at}.{name}")


def test_a_default_stands_in_one_place() -> None:
    blocks = {**tree()["defaults"], "runtime": tree()["runtime"]}
    models = {**BLOCKS, **SCALE_BLOCKS}
    found = [name for key, values in blocks.items() for name in given_twice(models[key], values, key)]
    assert found + list(given_twice(ReportParams, tree()["report"], "report")) == []
    assert list(given_twice(DataParams, {"flip": True, "source": "digits"}, "data")) == ["data.flip"]


def test_what_changes_no_result_decides_nothing() -> None:
    runtime = block(RuntimeParams, device="cuda:1", threads=3)
    assert runtime.deciding("search") == block(RuntimeParams, threads=3, device="cpu").deciding("search")
    assert set(RuntimeParams.model_fields) - set(runtime.deciding("search")) == {"device"}
    data = block(DataParams, source="digits", image_size=8)
    left_out = {stage: set(DataParams.model_fields) - set(data.deciding(stage)) for stage in ("data", "retrain")}
    assert left_out == {"data": {"download", "workers"}, "retrain": {"path", "download", "workers"}}


@pytest.mark.parametrize(
    ("edits", "split", "stages"),
    [
        ({"runtime/device": "auto"}, False, False),
        ({"runtime/threads": 2}, False, True),
        ({"defaults/data/workers": 3}, False, False),
        ({"defaults/data/path": "elsewhere"}, True, False),
        ({"defaults/data/split_seed": 3}, True, True),
    ],
)
def test_stages_record_what_decides_them(edits: dict[str, Any], split: bool, stages: bool, make_grid: MakeGrid) -> None:
    before, after = make_grid(), make_grid(edits)
    assert (before.dataset_params("cifar10") != after.dataset_params("cifar10")) == split
    for stage in before["a"].stages:
        assert (before["a"].stage_params(stage) != after["a"].stage_params(stage)) == stages


def test_a_value_that_nobody_gives_is_one_problem(make_grid: MakeGrid) -> None:
    with pytest.raises(ParamsError, match=r"search\.weight_decay of a, b, a-argmax and \d more: missing") as caught:
        make_grid({"defaults/search/weight_decay": DELETE})
    assert str(caught.value).count("weight_decay") == 1


def test_decisions_are_a_set(make_grid: MakeGrid) -> None:
    one, other = (
        make_grid({"defaults/search/straight_through": order}) for order in (["op", "depth"], ["depth", "op"])
    )
    assert one["a"].stage_params("search") == other["a"].stage_params("search")
    with pytest.raises(ParamsError, match="straight_through.*each decision once"):
        make_grid({"defaults/search/straight_through": ["op", "op"]})
