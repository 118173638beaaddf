"""What a long run says while it works, and what happens when its loss is no longer a number."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bars.commands.progress import HEARTBEAT, EpochProgress
from bars.pipeline import records as rec
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.training.divergence import finite
from bars.training.progress import Progress
from tests.calling import call
from tests.grids import TREE, edited

pytestmark = pytest.mark.xdist_group("long-runs")
FAILING = "without-gumbel-softmax"  # a row of Table 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with experiments that diverge by an absurd learning rate, and the split of their images."""
    folder = tmp_path_factory.mktemp("long")
    absurd = {"base": "a", "search": {"weight_lr": 1e30, "grad_clip": None}}
    edits = {
        "experiments/ablations/absurd": absurd,
        f"experiments/ablations/{FAILING}": {**absurd, "search": {**absurd["search"], "may_fail": True}},
        "experiments/baselines/r18/retrain": {"lr": 1e38, "optimizer": "sgd", "grad_clip": None},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, edits), sort_keys=False))
    with contextlib.chdir(folder):
        assert call("data", "cifar10")[0] == 0
        yield folder


# ----------------------------------------------------------------------------------------------------- divergence
@pytest.mark.parametrize(
    ("stage", "name", "key"), [("search", "absurd", "search.weight_lr"), ("retrain", "r18", "retrain.lr")]
)
def test_divergence_stops_with_epoch_and_advice(folder: Path, stage: str, name: str, key: str) -> None:
    status, err = call(stage, name, "--seed", "0")
    assert status == 1
    assert f"lower {key}" in err
    assert "diverged: a loss or a weight is not a finite number" in err
    assert "where:   epoch 1 of" in err
    assert "Traceback" not in err
    assert not list(Path("results").rglob(f"{name}/seed-0/{stage}"))


def test_a_search_that_may_fail_is_a_result(folder: Path) -> None:
    """Its status reaches metrics.json and Table 1; derive scores the last weights that were numbers."""
    for stage in ("search", "derive", "retrain", "evaluate"):
        status, err = call(stage, FAILING, "--seed", "0")
        assert status == 0, err
    experiment = Grid(load_params())[FAILING]

    def made(stage: str, file: str) -> Path:
        return Path("results") / experiment.file(stage, file, 0)

    found = rec.read_distribution(made("search", "distribution.json"))
    assert found.status == "diverged"
    assert found.epochs == len(rec.read_search_epochs(made("search", "epochs.csv"))) < 3
    weights = torch.load(made("search", "supernet.pt"), weights_only=True)["state"]
    assert all(bool(value.isfinite().all()) for value in weights.values())
    losses = [row.valid_loss for row in rec.read_candidates(made("derive", "candidates.csv"))]
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
    assert rec.read_metrics(made("evaluate", "metrics.json")).search_status == "diverged"
    assert not list(Path(".bars/checkpoints").glob("*/*"))
    assert call("table", "table1")[0] == 0
    rows = list(csv.reader(Path("results/table1.csv").read_text().splitlines()))
    assert any("diverged" in cell for row in rows if FAILING in row for cell in row), rows


def test_later_divergence_keeps_the_last_good_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the second epoch is forced to NaN: the message names the checkpoint, which holds the first epoch."""
    from bars.stages.search import Search

    whole = Search.epoch

    def epoch(self: Search, number: int, progress: Progress) -> dict[str, float]:
        row = whole(self, number, progress)
        return row if number == 0 else {**row, "train_loss": float("nan")}

    monkeypatch.setattr(Search, "epoch", epoch)
    status, err = call("search", "a", "--seed", "0")
    assert status == 1
    assert "where:   epoch 2 of 3" in err
    (state,) = Path(".bars/checkpoints").glob("*/state.pt")
    assert f"the state after epoch 1 is kept in {state}" in err
    assert len(torch.load(state, weights_only=True)["rows"]) == 1
    monkeypatch.undo()
    status, err = call("search", "a", "--seed", "0")
    assert status == 0, err
    assert "epoch 2/3" in err
    assert "epoch 1/3" not in err


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_and_values_are_both_watched(bad: float) -> None:
    model = torch.nn.Linear(2, 2)
    row = {"epoch": 1, "train_loss": 0.5}
    assert finite(row, model)
    assert not finite({**row, "valid_loss": bad}, model)
    with torch.no_grad():
        model.weight[0, 0] = bad
    assert not finite(row, model)


# ----------------------------------------------------------------------------------------------------- heartbeat
class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(seconds_a_step: float, steps: int, stream: Any) -> list[str]:
    clock = Clock()
    progress = EpochProgress("search a seed 0", stream, clock)
    for step in range(1, steps + 1):
        clock.now += seconds_a_step
        progress.step(step, steps, 64)
    progress.epoch("search", 1, 2, {"train_loss": 1.0})
    return [line for line in stream.getvalue().splitlines() if "step" in line]


def test_a_long_epoch_gives_a_sign_of_life_every_minute() -> None:
    lines = said(10.0, 30, io.StringIO())
    assert lines[0] == "search a seed 0: step 6/30  6 images/s, 4 min 0 s left in this epoch"
    assert len(lines) == 30 * 10.0 // HEARTBEAT - 1  # the last one is the epoch's own line


def test_short_epochs_say_nothing_between() -> None:
    assert said(1.0, 59, io.StringIO()) == []


def test_on_a_terminal_too() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert len(said(10.0, 30, Terminal())) == 4
