"""Every option of ``runtime``: what it switches, and the one line where it cannot be had."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bars.errors import DeviceError
from bars.models.template import Template
from bars.models.unit import BinaryUnit, fuse
from bars.params import BinarizeParams, RuntimeParams
from bars.stages.search import Search
from bars.training import runtime
from bars.training.runtime import Runtime
from tests.architectures import space_params
from tests.blocks import block
from tests.stages.test_search import SPACE, Images, params


def searching(**options: Any) -> Search:
    parts: tuple[Any, Any] = (Images(0), Images(1))
    return Search(SPACE, block(BinarizeParams), params(), block(RuntimeParams, device="cpu", **options), *parts, 0)


def notes(**options: Any) -> list[str]:
    lines: list[str] = []
    Runtime.resolve(block(RuntimeParams, device="cpu", **options), lines.append)
    return [line.partition(":")[0] for line in lines]


def losses(state: Search) -> list[float]:
    noise = torch.Generator().manual_seed(3)
    part: Any = state.train.part
    images, labels = part.images[:8], part.labels[:8]
    return [float(state._weight_step(images, labels, 1.0, noise)[0]) for _ in range(2)]


@pytest.fixture
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads(threads: None) -> None:
    Runtime.resolve(block(RuntimeParams, threads=2))
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_device() -> None:
    assert Runtime.resolve(block(RuntimeParams)).device.type == "cpu"
    with pytest.raises(DeviceError, match="the device is not there"):
        Runtime.resolve(block(RuntimeParams, device="cuda:0"))


def test_bfloat16_changes_the_losses_and_a_cpu_is_warned_of() -> None:
    exact = losses(searching())
    assert notes() == []
    assert losses(searching(precision="float32")) == exact
    rough = losses(searching(precision="bfloat16"))
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.2)
    assert notes(precision="bfloat16") == ["runtime.precision"]


def test_capture_falls_back_on_a_cpu() -> None:
    assert losses(searching(capture="on")) == losses(searching(capture="off"))
    assert notes(capture="on") == ["runtime.capture"]


def test_compile_merges_the_kernels_of_every_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def counting(function: Any, **options: Any) -> Any:
        def call(*args: Any) -> Any:
            compiled.append(function)
            return function(*args)

        return call

    plain = losses(searching())
    assert not compiled
    monkeypatch.setattr(torch, "compile", counting)
    assert losses(searching(compile="on")) == plain
    assert len(set(compiled)) == 4
    compiled.clear()
    assert losses(searching(compile="auto")) == losses(searching(compile="off")) == plain
    assert not compiled


def test_compile_falls_back_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    assert losses(searching(compile="on")) == losses(searching())
    assert notes(compile="on") == ["runtime.compile"]


@pytest.mark.slow
@pytest.mark.skipif(runtime.shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_units_compute_the_same() -> None:
    template = Template.of(space_params(), block(BinarizeParams), track=False)
    torch.manual_seed(0)
    unit = BinaryUnit(4, 4, 3, template, shortcut=True, edges=2)
    x, scale = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last), torch.tensor([0.3, 0.7])

    def run() -> list[Tensor]:
        inputs = [x.clone().requires_grad_(), scale.clone().requires_grad_()]
        totals = [torch.zeros_like(x) for _ in range(2)]
        outputs = unit.add_to(totals, inputs[0], None, None, scale=inputs[1])
        leaves = [*inputs, *unit.parameters()]
        return [*outputs, *torch.autograd.grad(sum((o * o).sum() for o in outputs), leaves)]  # type: ignore[arg-type]

    expected = run()
    fuse(unit)
    for got, wanted in zip(run(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
