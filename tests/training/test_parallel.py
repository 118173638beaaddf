"""Two processes compute what one does with the same global batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bars.errors import DeviceError, ParamsError
from bars.training.parallel import SINGLE, Parallel, _take_device

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("parallel")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process and each of two processes found."""
    folder = tmp_path_factory.mktemp("parallel")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::FutureWarning", "-m", "tests.training.two_processes", str(folder)]
    waiting = [
        subprocess.Popen([*command, rank, size], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
        for rank, size in (("0", "2"), ("1", "2"), ("0", "1"))
    ]
    for process in waiting:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    return {name: torch.load(folder / f"{name}.pt") for name in ("0-of-1", "0-of-2", "1-of-2")}


def test_gradients_and_statistics_are_those_of_the_whole_batch(runs: dict[str, Any]) -> None:
    """In float64, on networks without ties at zero: equal to eight digits, in both processes."""
    one = runs["0-of-1"]["float64"]
    assert len(one) > 80
    assert sum(float(value.double().norm()) > 0 for value in one.values()) > 50
    for rank in ("0-of-2", "1-of-2"):
        two = runs[rank]["float64"]
        # A weight that a hard draw did not use has no gradient in one process, and may have zero in two.
        assert set(one) <= set(two)
        for name, value in two.items():
            torch.testing.assert_close(
                value,
                one.get(name, torch.zeros_like(value)),
                rtol=1e-8,
                atol=1e-12,
                msg=lambda text, name=name: f"{name}: {text}",
            )


def test_a_step_of_search_and_of_training_is_the_same(runs: dict[str, Any]) -> None:
    """float32, one step: the stages as they run, within the tolerance that docs/ROBUSTNESS.md states."""
    one, two = runs["0-of-1"]["stages"], runs["0-of-2"]["stages"]
    for stage in ("search", "retrain"):
        for ours, theirs in zip(one[stage], two[stage], strict=True):
            # A sign that falls the other way moves this one most: it is the gradient itself, of few images.
            ours, theirs = dict(ours), dict(theirs)
            gradients = [row.pop("gradient_data", 0.0) for row in (ours, theirs)]
            assert gradients[0] == pytest.approx(gradients[1], rel=0.1), stage
            assert ours == pytest.approx(theirs, rel=1e-2), stage
            assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-6)
    # Adam's first step is the learning rate, 0.02, times the gradient's sign: tiny gradients may have another one.
    assert float((two["alphas"] - one["alphas"]).abs().mean()) < 1e-3
    for name in ("supernet", "weights"):
        difference = sum(float((two[name][k].double() - v.double()).square().sum()) for k, v in one[name].items())
        size = sum(float(v.double().square().sum()) for v in one[name].values())
        assert difference**0.5 < 1e-4 * size**0.5, name


def test_both_processes_hold_the_same_weights_and_alphas(runs: dict[str, Any]) -> None:
    one, other = runs["0-of-2"]["stages"], runs["1-of-2"]["stages"]
    assert one["search"] == other["search"]
    assert one["retrain"] == other["retrain"]
    assert torch.equal(one["alphas"], other["alphas"])
    for name in ("supernet", "weights"):
        assert all(torch.equal(value, other[name][key]) for key, value in one[name].items())


def test_only_the_main_process_reads_and_writes_the_checkpoint(runs: dict[str, Any]) -> None:
    main, other = runs["0-of-2"]["checkpoint"], runs["1-of-2"]["checkpoint"]
    assert main["wrote"]
    assert not other["wrote"]
    assert main["first"] is None
    assert other["first"] is None
    for found in (main, other):
        assert found["second"]["rank"] == 0
        assert torch.equal(found["second"]["values"], torch.arange(3))


def test_a_single_process_is_left_alone() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    norm = model[0]
    SINGLE.synchronise(model)
    assert model[0] is norm
    assert SINGLE.wrap(model) is model
    value = torch.ones(2)
    assert SINGLE.sum(value) is value
    assert SINGLE.mean(value) is value
    assert SINGLE.is_main
    SINGLE.require_divisible(7, "retrain.batch_size")
    with Parallel.join(0, 1, "cpu") as parallel:
        assert parallel == SINGLE


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"retrain.batch_size[\s\S]*a multiple of 2"):
        Parallel(1, 2).require_divisible(33, "retrain.batch_size")


def test_devices_that_processes_cannot_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="cannot share one device"):
        _take_device(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(DeviceError, match="fewer devices than processes"):
        _take_device(torch.device("cuda"))
