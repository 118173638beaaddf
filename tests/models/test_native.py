"""The native passes against torch's, part by part: a whole network would turn a last bit into another sign."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bars.binarize.signs import binary_sign
from bars.binarize.weights import Scaling
from bars.models import native_build
from bars.models.native import Native
from bars.models.norm import BatchNorm
from bars.models.staggered import halves, interleave
from bars.models.sums import add_scaled, joined, masked, pooled
from bars.models.template import Template
from bars.models.unit import BinaryUnit, use_native
from bars.models.unit_passes import Edges, Kernels
from bars.models.weight_gradient import QuantiseFunction
from bars.models.width import Width
from bars.params import BinarizeParams
from tests.architectures import space_params

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
BINARIZE = BinarizeParams(weight_scale="tensor", activation_clip=1.3, weight_clip=1.0, weight_gradient="exact")


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def close(ours: list[Tensor | None], theirs: list[Tensor | None]) -> None:
    """To 1e-6 of the largest entry of all; what is a sum over a map, to that times the root of how many it sums."""
    there = [b.detach() for b in theirs if b is not None]
    largest, most = max(1.0, *(float(b.abs().max()) for b in there)), max(b.numel() for b in there)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * largest * (most / b.numel()) ** 0.5)


def gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """The outputs, and the gradients of a sum of them with fixed random weights."""
    generator = torch.Generator().manual_seed(5)
    total = sum((out * torch.randn(out.shape, generator=generator)).sum() for out in outputs)
    assert isinstance(total, Tensor)
    return [*outputs, *torch.autograd.grad(total, leaves, allow_unused=True)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    c=st.integers(1, 9),
    active=st.integers(1, 9),
    n=st.integers(1, 5),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    edges=st.integers(1, 4),
    stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([1, 3, 5]),
    norm=st.sampled_from(["edge", "node"]),
    shortcut=st.booleans(),
    scaled=st.booleans(),
    relaxed=st.booleans(),
    frozen=st.booleans(),
    adds=st.booleans(),
    together=st.booleans(),
    drawn=st.none() | st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_a_unit_is_the_same(
    seed: int, c: int, active: int, n: int, height: int, width: int, edges: int, stride: int, kernel: int, norm: str,
    shortcut: bool, scaled: bool, relaxed: bool, frozen: bool, adds: bool, together: bool, drawn: list[bool] | None,
) -> None:  # fmt: skip
    """Also where it is told which edges are multiplied by zero.

    A sum that is zero but for rounding passes the ReLU's gradient or does not: none is, here.
    """
    if kernel == 1:  # that of the preprocess; for a stride with it, see bars.models.blocks.Pointwise
        stride = 1
    torch.manual_seed(seed)
    template = Template.of(space_params(norm=norm), BINARIZE, track=False)
    unit = BinaryUnit(c, c * stride, kernel, template, stride=stride, shortcut=shortcut, edges=edges)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        for conv in unit.conv_list():  # sums of what is binary in floats are exact
            conv.weight.copy_(torch.where(conv.weight < 0, -0.5, 0.5))
    source = min(c, active)
    masks = [(torch.randint(1, 65, (k * source,)) / 64).requires_grad_() if relaxed else None for k in (1, stride)]
    x = last(torch.randn(n, source, height * stride, width * stride)).requires_grad_()
    scale = torch.rand(edges) if scaled and adds else None
    passing = drawn[:edges] if scale is not None and drawn is not None else None
    if scale is not None:
        scale = (scale if passing is None else torch.tensor(passing).float()).requires_grad_()
    unit.requires_grad_(not frozen)
    found = []
    for told, model in ((None, unit), (passing, unit), (passing, copy.deepcopy(unit))):
        if model is not unit:
            use_native(model, Native())
            for conv in model.conv_list():  # or a last bit of the scale decides over sums of nothing
                conv.native = None
        totals = [last(torch.ones(n, source * stride, height, width)) for _ in range(edges if adds else 0)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bars.models.unit.TOGETHER_BELOW", 1e9 if together else 0)
            widths = Width(source, masks[0]), Width(source * stride, masks[1])
            signs = binary_sign(x.detach()) if norm == "node" else None
            outputs = model.add_to(totals, x, *widths, scale=scale, signs=signs, passing=told)
        leaves = [x, scale, masks[0], *model.parameters()]
        found.append(gradients(outputs, [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]))
    for ours in found[1:]:
        pairs = zip(ours, found[0], strict=True)
        close([torch.zeros_like(b) if a is None and b is not None else a for a, b in pairs], found[0])


@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (2, 1, 3, 3), (4, 200, 1, 1), (2, 16, 1, 7), (64, 24, 8, 8)])
@pytest.mark.parametrize("track", [True, False])
def test_batch_norm_is_that_of_torch(shape: tuple[int, ...], track: bool) -> None:
    torch.manual_seed(0)
    x = last(torch.randn(shape) * 3 + 20).requires_grad_()
    ours = BatchNorm(shape[1], track)
    ours.native = Native()
    theirs = nn.BatchNorm2d(shape[1], affine=False, track_running_stats=track).double()
    for _ in range(2):
        close(gradients([ours(x)], [x]), gradients([theirs(x.double()).float()], [x]))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value.double(), theirs.state_dict()[name].double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("scaled", "wanted"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("gaps", [True, False])
def test_shortcuts_are_the_same(scaled: bool, wanted: bool, gaps: bool) -> None:
    """Where gradients have gaps, they are slices of that of a concatenation; also where nobody wants the map's own."""
    torch.manual_seed(0)
    x = last(torch.randn(3, 5, 4, 4)).requires_grad_(wanted)
    scales = torch.rand(3, requires_grad=True)
    found = []
    for native in (None, Native()):
        totals = [last(torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(i))) for i in range(3)]
        sums = add_scaled(totals, x, list(scales.unbind()) if scaled else [None] * 3, native)
        found.append(gradients([torch.cat(sums, 1)] if gaps else sums, [x, scales] if wanted else [scales]))
    close(found[1], found[0])


@pytest.mark.parametrize("channels", [1, 3, 40])
def test_pooling_is_the_same(channels: int) -> None:
    torch.manual_seed(0)
    x = last(torch.randn(3, channels, 6, 4)).requires_grad_()
    found = [gradients([torch.cat([pooled(x, native), pooled(x, native)], 1)], [x]) for native in (None, Native())]
    close(found[1], found[0])


@pytest.mark.parametrize("passes", ["torch's", "native"])
def test_a_map_that_does_not_halve_is_refused(passes: str) -> None:
    template = Template.of(space_params(strided_conv="plain"), BINARIZE, track=False)
    unit = BinaryUnit(4, 8, 3, template, stride=2, shortcut=True)
    if passes == "native":
        use_native(unit, Native())
    with pytest.raises(RuntimeError, match="size of tensor"):
        unit(last(torch.randn(2, 4, 5, 6)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("unscaled", [True, False])
@pytest.mark.parametrize("shares", ["columns", "both", "rows", ""])
@pytest.mark.parametrize("scaling", ["none", "tensor", "channel"])
def test_quantised_weights_are_the_same(scaling: Scaling, shares: str, unscaled: bool, dtype: torch.dtype) -> None:
    """With weights that are zero, and on the edge of the window where the gradient ends."""
    torch.manual_seed(0)
    weight = torch.randn(2, 5, 7, 3, 3)
    weight.view(-1)[:40] = torch.tensor([0.0, -0.0, 1.0, -1.0]).repeat(10)
    weight = torch.cat([weight, weight], 3)[:, :, :, :3].requires_grad_()  # a view, as at part of a width
    columns = torch.rand(7) if shares in ("columns", "both") else None
    rows = torch.rand(5) if shares in ("rows", "both") else None
    grad = torch.randn(weight.shape).to(dtype)
    found = []
    for native in (None, Native(dtype)):
        out = QuantiseFunction.apply(weight, columns, rows, 1.0, scaling, unscaled, native)
        assert native is None or out.dtype == dtype
        found.append([out.float().detach(), *torch.autograd.grad(out, [weight], grad.to(out.dtype))])
    (theirs, d_theirs), (ours, d_ours) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-6 if dtype == torch.float32 else 2**-8, atol=1e-7)
    torch.testing.assert_close(d_ours, d_theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 7, 300])
def test_masks_are_the_same(channels: int) -> None:
    torch.manual_seed(0)
    x, mask = last(torch.randn(3, 2 * channels, 4, 4)).requires_grad_(), torch.rand(channels, requires_grad=True)
    found = [
        gradients([torch.cat([masked(x, Width(channels, mask), 2, native), x], 1)], [x, mask])
        for native in (None, Native())
    ]
    close(found[1], found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "count"), [(1, 1), (3, 4), (16, 2)])
def test_maps_side_by_side_are_those_of_torch_bit_by_bit(
    dtype: torch.dtype, channels: int, count: int, called: set[str]
) -> None:
    """Out and back; what is carried, too, where it is a map without gaps, and where it is not."""
    torch.manual_seed(0)
    whole = last(torch.randn(2, count * channels + 1, 3, 5).to(dtype))
    for carried in (None, last(whole[:, 1:]), whole[:, 1:]):
        found = []
        for native in (Native(dtype), None):
            maps = [last(torch.randn(2, channels, 3, 5).to(dtype)).requires_grad_() for _ in range(count)]
            with torch.no_grad():
                for i, leaf in enumerate(maps):
                    leaf.copy_(whole[:, i : i + channels] * (i + 1))
            kept = None if carried is None else carried.detach().clone(memory_format=torch.preserve_format)
            leaf = None if kept is None else kept.requires_grad_()
            out = joined(maps, leaf, native)
            leaves = [*maps, *([] if leaf is None else [leaf])]
            found.append([out, *torch.autograd.grad(out, leaves, whole[:, :-1])])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        assert all(a.is_contiguous(memory_format=torch.channels_last) for a in found[0][: count + 1])
    assert called == {"joined", "joined_backward"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 2, 3), (2, 16, 4, 4)])
def test_channels_in_turn_and_back(dtype: torch.dtype, shape: tuple[int, ...], called: set[str]) -> None:
    first, second = (last(torch.randn(shape).to(dtype)) for _ in range(2))
    expected = torch.stack([first, second], 2).flatten(1, 2)  # NCHW: a0 b0 a1 b1 ...
    native = Native(dtype).kernels()
    for way in (native.interleave, interleave):
        out = way(first, second)
        assert torch.equal(out, expected) and out.is_contiguous(memory_format=torch.channels_last)
    for back in (native.halves, halves):
        assert all(torch.equal(a, b) for a, b in zip(back(last(expected)), (first, second), strict=True))
    assert called == {"interleave", "halves"}


def test_signs_of_special_values_are_those_of_torch() -> None:
    """+1 at both zeros and where a value is not a number; a diverged network shows by what goes around the signs."""
    nan, inf, tiny = float("nan"), float("inf"), 1e-45
    x = last(torch.tensor([0.0, -0.0, nan, -nan, inf, -inf, tiny, -tiny] * 20).view(2, 5, 4, 4))
    expected = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0] * 20).view(2, 5, 4, 4)
    assert torch.equal(Native().signs_of(Edges(x, None, None, None, "nothing")), expected)
    assert torch.equal(binary_sign(x), expected)


# ---------------------------------------------------------------- in bfloat16
@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the functions of native.cpp that were called."""
    names: set[str] = set()
    whole = Native.__call__

    def call(self: Native, name: str, *arguments: Any) -> None:
        names.add(name)
        whole(self, name, *arguments)

    monkeypatch.setattr(Native, "__call__", call)
    return names


def rounded_once(ours: Tensor | None, exact: Tensor | None, times: int = 1) -> None:
    """A map in bfloat16 is what float32 gives, rounded to 8 bits, or more ``times`` in turn; a vector is float32."""
    assert ours is not None and exact is not None
    if ours.ndim == 4:
        assert ours.dtype == torch.bfloat16
        largest = float(exact.abs().max()) if times > 1 else 0.0
        torch.testing.assert_close(ours.float(), exact, rtol=2**-8, atol=1e-6 + (times - 1) * largest * 2**-8)
    else:
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("edges", [1, 3])
@pytest.mark.parametrize("channels", [1, 5, 16, 200])
@pytest.mark.parametrize("shortcut", [True, False])
def test_in_bfloat16_what_surrounds_a_convolution_is_rounded_once(
    edges: int, channels: int, shortcut: bool, called: set[str]
) -> None:
    torch.manual_seed(0)
    half = Native(torch.bfloat16)
    some = [last(torch.randn(3, c * channels, 4, 4).bfloat16()) for c in (1, edges, edges, edges, 1)]
    normed, y, dx, dy, before = some
    totals, grads = ([last(torch.randn(3, channels, 4, 4).bfloat16()) for _ in range(edges)] for _ in range(2))
    gain, bias, scale = torch.rand(edges, channels) + 0.5, torch.randn(edges, channels), torch.rand(edges)
    mask = torch.rand(channels)

    def edges_of(x: Tensor) -> Edges:
        return Edges(x, gain, bias, scale, "same" if shortcut else "nothing")

    def all_of(kernels: Kernels, cast: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
        """The sums, of outputs as they are stored, and everything else."""
        own = edges_of(cast(normed))
        signs, sums = kernels.signs_of(own), [cast(total) for total in totals]
        found = [*sums, signs, kernels.add_output(cast(y), own, sums)]
        through, d_scale = kernels.output_backward([cast(grad) for grad in grads], cast(y).relu_(), own, signs, True)
        assert through is not None
        arguments = (cast(dx), cast(dy), through.x, signs, own, mask, 1.3, True)
        afresh, added = (kernels.signs_backward(*arguments, into) for into in (None, cast(before)))
        return [*found, through.dy, d_scale, *afresh, *added]

    pairs = zip(all_of(half.kernels(), torch.clone), all_of(Kernels(), lambda t: last(t.float())), strict=True)
    for i, (ours, exact) in enumerate(pairs):
        rounded_once(ours, exact, times=2 if i < edges else 1)
    assert called == {"signs", "output", "output_backward", "signs_backward"}


def test_in_bfloat16_batch_norm_shortcuts_and_masks_are_rounded_once(called: set[str]) -> None:
    torch.manual_seed(0)
    x, grad = last((torch.randn(8, 12, 6, 6) * 3 + 20).bfloat16()), last(torch.randn(8, 12, 6, 6).bfloat16())
    mask, scales = torch.rand(6), torch.rand(2).bfloat16()
    found: list[list[Tensor]] = []
    for dtype in (torch.bfloat16, torch.float32):
        native = Native(torch.bfloat16) if dtype == torch.bfloat16 else None
        leaves = [last(x.to(dtype)).requires_grad_(), mask.clone().requires_grad_(), scales.to(dtype).requires_grad_()]
        norm = BatchNorm(12, track=False)
        norm.native = native
        totals = [last(torch.ones(8, 12, 6, 6, dtype=dtype)) for _ in range(2)]
        outputs = {
            "norm": [norm(leaves[0])],
            "masked": [masked(leaves[0], Width(6, leaves[1]), 2, native)],
            "add_scaled": add_scaled(totals, leaves[0], list(leaves[2].unbind()), native),
            "pooled_twice": [pooled(leaves[0], native)],
            "joined": [joined([leaves[0], leaves[0] * 2], torch.cat([leaves[0], leaves[0]], 1).detach(), native)],
        }
        for own in outputs.values():
            given = [torch.cat([grad] * 2, 1)[:, : out.shape[1], : out.shape[2], : out.shape[3]] for out in own]
            wanted = torch.autograd.grad(own, leaves, [g.to(dtype) for g in given], allow_unused=True)
            found.append([t.detach() for t in (*own, *wanted) if t is not None])
    for ours, exact in zip(found[:5], found[5:], strict=True):
        for a, b in zip(ours, exact, strict=True):
            torch.testing.assert_close(a.float(), b, rtol=2**-8, atol=2**-7)  # norms keep their rounded output
    assert called == {f"{name}{way}" for name in outputs for way in ("", "_backward")}


def test_bfloat16_rounds_to_the_nearest_as_torch_does() -> None:
    """To even between two; infinities and what is not a number stay so."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = last(bits[torch.isfinite(bits.float())].view(1, 1, -1, 1))
    gain, bias = torch.tensor([[1.0 + 2**-9]]), torch.zeros(1, 1)
    out = last(torch.zeros_like(x))
    Native(torch.bfloat16).add_output(out, Edges(x, gain, bias, None, "same"), [])
    assert torch.equal(out, (x.float() * gain).relu().bfloat16())
    special = last(torch.tensor([float("nan"), float("inf"), -float("inf")]).view(1, 3, 1, 1).bfloat16())
    seen = Native(torch.bfloat16).add_output(special.clone(), Edges(special, None, None, None, "nothing"), [])
    assert torch.equal(seen.isnan(), special.isnan()) and seen[0, 1].isinf() and seen[0, 2] == 0


@pytest.mark.parametrize("how", ["float64", "nchw", "bfloat16"])
def test_other_tensors_take_the_plain_way(how: str) -> None:
    torch.manual_seed(0)
    template = Template.of(space_params(), BINARIZE, track=False)
    unit = BinaryUnit(4, 4, 3, template, shortcut=True)
    x = torch.randn(2, 4, 6, 6) if how == "nchw" else last(torch.randn(2, 4, 6, 6))
    if how == "float64":
        unit, x = unit.double(), x.double()
    if how == "bfloat16":
        x = x.bfloat16()
    plain = unit(x)
    use_native(unit, Native())
    assert torch.equal(unit(x), plain)


# ---------------------------------------------------------------- the compiler and its cache
def test_the_source_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Native()
    (built,) = (tmp_path / "bars").glob("*.so")

    def refused(*command: Any, **options: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(native_build.subprocess, "run", refused)
    Native()
    assert [path.name for path in sorted((tmp_path / "bars").iterdir())] == ["lock", built.name]


def test_without_a_compiler_that_works_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for compiler, reason in (("no-such-compiler", "no C.. compiler"), ("false", "cannot be compiled")):
        monkeypatch.setenv("CXX", compiler)
        with pytest.raises(native_build.BuildError, match=reason) as raised:
            Native()
        assert "\n" not in str(raised.value)
    monkeypatch.delenv("CXX")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(native_build.BuildError, match="cannot be compiled"):
        Native()
