"""Timing networks side by side: each parameter acts, and what is written down is what was measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bars.errors import DeviceError
from bars.packed.timing import WARM_UP, by_round
from bars.params import LatencyParams
from bars.pipeline.latency_record import TORCH
from bars.stages import latency
from bars.stages.latency import Candidate, pinned, time_all, written
from tests.blocks import block


class Watched(nn.Module):
    """Remembers the shapes it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return images.mean((2, 3))


class Scaled(nn.Module):
    """The means of the colours, times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * self.factor


def candidate(model: nn.Module, size: int = 4) -> Candidate:
    job: Any = SimpleNamespace()
    return Candidate(job, model, size, None, None, None, None, "")


def settings(**changes: Any) -> LatencyParams:
    return block(LatencyParams, **{"rounds": 2, "round_ms": 0.001, **changes})


def test_every_network_is_called_once_a_round_at_its_own_size() -> None:
    models = [Watched(), Watched()]
    found = time_all([candidate(models[0]), candidate(models[1], 6)], 3, settings(rounds=4))
    assert [set(model.seen) for model in models] == [{(3, 3, 4, 4)}, {(3, 3, 6, 6)}]
    assert [len(model.seen) for model in models] == [2 + 4] * 2  # long calls, for such short turns
    for times in found:
        spread = times.ms_per_image[TORCH]
        assert 0 < spread.low <= spread.median <= spread.high
        assert (times.batch, times.speedup, set(times.ms_per_image)) == (3, None, {TORCH})


def test_a_longer_turn_repeats_short_calls() -> None:
    model = Watched()
    time_all([candidate(model)], 1, settings(round_ms=50.0))
    assert len(model.seen) > WARM_UP + 2 * (1 + 2)


def test_turns_are_interleaved_and_begin_with_a_call_that_is_not_timed() -> None:
    order: list[str] = []
    now = [0.0]

    def call(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds

    calls = {"short": lambda: call("short", 0.5), "long": lambda: call("long", 3.0)}
    found = by_round(calls, 3, 1.0, lambda: now[0])
    assert order == ["short"] * WARM_UP + ["long"] * 2 + ["short", "short", "short", "long"] * 3
    assert found == {"short": [500.0] * 3, "long": [3000.0] * 3}


def test_the_gain_is_the_median_of_the_rounds_own_ratios() -> None:
    found = latency._times({"packed": [1.0, 2.0, 4.0], "openvino float": [10.0, 12.0, 20.0]}, batch=2)
    assert found.speedup is not None
    assert found.speedup.median == 6.0  # of 10, 6 and 5; not 12 / 2 of the medians by chance
    assert found.ms_per_image["packed"].median == 1.0


def test_the_process_keeps_to_as_many_cores_as_threads() -> None:
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores)
        assert (len(cores), torch.get_num_threads()) == (1, 1)
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (before, threads)
    with pytest.raises(DeviceError, match="fewer cores than threads"), pinned(len(before) + 1):
        pass


def test_too_few_cores_are_told_before_a_network_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_write_ahead", lambda *_: pytest.fail("work began"))
    with pytest.raises(DeviceError, match="fewer cores than threads"):
        latency.run([], settings(threads=len(os.sched_getaffinity(0)) + 1), lambda said: None)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_packages_only_torch_is_timed_and_it_says_so(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    network, sizes, reason = written(Watched(), {"image_size": 4, "classes": ["a", "b"]}, 1, tmp_path)
    assert (network, sizes) == (None, {})
    assert reason == f"not installed: {package}"


def test_each_network_is_written_anew_also_into_one_folder(tmp_path: Path) -> None:
    """A file that is there is another network's, unless it was written ahead for this one."""
    card = {"image_size": 4, "classes": ["a", "b", "c"]}
    images = torch.arange(48.0).view(1, 3, 4, 4)
    for factor in (1.0, 2.0):
        network, _, _ = written(Scaled(factor), card, 1, tmp_path)
        assert network is not None
        assert network.runtime(1)(images.numpy()) == pytest.approx(factor * images.mean((2, 3)).numpy())
    network, _, _ = written(Scaled(3.0), card, 1, tmp_path, tmp_path / latency.ONNX)
    assert network is not None
    assert network.runtime(1)(images.numpy()) == pytest.approx(2.0 * images.mean((2, 3)).numpy())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks a process with torch")
def test_networks_are_written_ahead_and_one_that_fails_is_left_to_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def network(job: Any) -> tuple[nn.Module, Any, None]:
        if job == "broken":
            raise RuntimeError("no weights")
        return Scaled(float(job)), SimpleNamespace(image_size=4), None

    monkeypatch.setattr(latency, "_network", network)
    folders = [tmp_path / name for name in "abc"]
    jobs: Any = ["1", "broken", "3"]
    latency._write_ahead(jobs, folders, 2)
    assert [(folder / latency.ONNX).is_file() for folder in folders] == [True, False, True]
    assert (folders[0] / latency.ONNX).read_bytes() != (folders[2] / latency.ONNX).read_bytes()
