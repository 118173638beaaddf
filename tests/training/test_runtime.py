"""Every option of ``runtime``: what it switches, and the one line where it cannot be had."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bars.errors import DeviceError
from bars.models.template import Template
from bars.models.unit import BinaryUnit, fuse
from bars.models.unit_passes import Kernels
from bars.params import BinarizeParams, RuntimeParams
from bars.stages.search import Search
from bars.training import runtime
from bars.training.runtime import Runtime
from tests.architectures import space_params
from tests.blocks import block
from tests.stages.test_search import SPACE, Images, params


def searching(**options: Any) -> Search:
    parts: tuple[Any, Any] = (Images(0), Images(1))
    how = block(RuntimeParams, **({"device": "cpu", "passes": "eager"} | options))
    return Search(SPACE, block(BinarizeParams), params(), how, *parts, 0)


def notes(**options: Any) -> list[str]:
    lines: list[str] = []
    Runtime.resolve(block(RuntimeParams, **({"device": "cpu", "passes": "eager"} | options)), lines.append)
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


def test_bfloat16_changes_the_losses_and_a_cpu_without_units_for_it_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    exact = losses(searching())
    assert notes() == []
    assert losses(searching(precision="float32")) == exact
    rough = losses(searching(precision="bfloat16"))
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.2)
    assert notes(precision="bfloat16") == ["runtime.precision"]


@pytest.mark.parametrize("units", [True, False])
def test_auto_takes_bfloat16_on_a_cpu_that_multiplies_it(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": units})
    resolved = Runtime.resolve(block(RuntimeParams, device="cpu", precision="auto", passes="eager"))
    assert resolved.precision == ("bfloat16" if units else "float32")
    assert notes(precision="bfloat16") == ([] if units else ["runtime.precision"])


def test_width_masks_stay_in_float32_under_autocast() -> None:
    search = searching(precision="bfloat16")
    supernet: Any = search.trained.model
    sample = search.distribution.sample("gumbel", 1.0, torch.Generator().manual_seed(0))
    exact = supernet._width(0, 0, sample).mask
    with search.trained.runtime.autocast():
        mask = supernet._width(0, 0, sample).mask
    assert mask.dtype == torch.float32
    assert torch.equal(mask, exact)


@pytest.mark.skipif(runtime.shutil.which("g++") is None, reason="needs a C++ compiler")
def test_passes(threads: None) -> None:
    def passes(**options: Any) -> str:
        return Runtime.resolve(block(RuntimeParams, **({"device": "cpu"} | options))).passes

    assert passes(passes="auto") == passes(passes="native") == "native"
    assert passes(passes="auto", precision="bfloat16") == "native"
    assert passes(passes="eager") == passes(passes="auto", compile="on") == passes(passes="auto", threads=2) == "eager"
    assert notes(passes="native") == []
    assert notes(passes="native", compile="on") == ["runtime.passes"]
    assert losses(searching(passes="native")) == pytest.approx(losses(searching()), rel=0.02)
    assert losses(searching(passes="native")) == losses(searching(passes="auto"))
    rough = losses(searching(precision="bfloat16"))
    assert losses(searching(passes="native", precision="bfloat16")) == pytest.approx(rough, rel=0.2)


def test_passes_fall_back_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    assert losses(searching(passes="native")) == losses(searching())
    assert notes(passes="auto") == ["runtime.passes"]


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
    assert len(set(compiled)) == sum(map(callable, Kernels()))
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
