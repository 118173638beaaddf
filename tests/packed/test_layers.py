"""A packed layer equals the training network's convolution on the same signs, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bars.binarize.activations import SignActivation
from bars.binarize.layers import BinaryConv2d
from bars.binarize.weights import ScaledSign
from bars.packed.bits import hash_of, to_bits, to_signs
from bars.packed.convert import BinaryConv

pytest.importorskip("openvino")
from bars.packed import openvino_ops  # noqa: E402


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 2),
    holes=st.booleans(),
    padding=st.integers(0, 2),
    extent=st.tuples(st.integers(1, 3), st.integers(9, 12), st.integers(9, 12)),
    seed=st.integers(0, 2**31),
)
def test_a_layer_is_exact(
    channels: tuple[int, int],
    kernel: int,
    stride: int,
    holes: bool,
    padding: int,
    extent: tuple[int, int, int],
    seed: int,
) -> None:
    """Any channels, window and image; a third of the inputs are zero, some of them -0.0, whose sign is +1 too."""
    rng = np.random.default_rng(seed)
    c_in, c_out = channels
    dilation = 2 if holes and kernel <= 3 else 1
    torch.manual_seed(seed)
    layer = BinaryConv2d(
        *(c_in, c_out, kernel),
        stride=stride if kernel > 1 else 1,
        padding=padding if kernel > 1 else 0,
        dilation=dilation,
        weight_quantizer=ScaledSign("none"),
        activation_quantizer=SignActivation(),
    )
    n, height, width = extent
    x = np.float32(rng.choice([1, -1, -1e-30])) * rng.integers(-1, 2, (n, c_in, height, width)).astype(np.float32)
    window = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4, "dilations": [dilation] * 2}
    signs = layer.weight_signs().numpy()
    conv = BinaryConv(signs, np.ones(c_out, np.float32), None, window)
    with torch.no_grad():
        assert np.array_equal(openvino_ops.run_alone(x, conv), layer(torch.from_numpy(x)).numpy())


def test_scale_and_bias_are_per_channel() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 8, 4, 4)).astype(np.float32)
    signs = rng.random((3, 8, 1, 1)) < 0.5
    window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    scale, bias = np.array([0.5, 0.25, 2.0], np.float32), np.array([1.0, -1.0, 0.0], np.float32)
    alone = openvino_ops.run_alone(x, BinaryConv(signs, np.ones(3, np.float32), None, window))
    both = openvino_ops.run_alone(x, BinaryConv(signs, scale, bias, window))
    assert np.array_equal(both, alone * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1))


@given(st.integers(0, 2**31), st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_bits_return_as_they_were(seed: int, shape: tuple[int, int]) -> None:
    signs = np.random.default_rng(seed).random((*shape, 3, 3)) < 0.5
    assert np.array_equal(to_signs(to_bits(signs), signs.shape), signs)
    assert len(to_bits(signs)) == -(-signs.size // 8)


def test_the_order_of_bits_is_in_the_hash() -> None:
    signs = np.array([True] + [False] * 15).reshape(1, 16)
    turned = to_signs(np.packbits(signs.reshape(-1), bitorder="big"), signs.shape)
    assert hash_of([signs]) != hash_of([turned])


def test_bytes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes for 16 weights"):
        to_signs(np.zeros(3, np.uint8), (2, 8))


def test_the_check_at_load_finds_a_wrong_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be with bits from the highest down."""
    from bars.errors import PackedError

    turned = lambda signs: np.packbits(signs.reshape(-1), bitorder="big")  # noqa: E731
    openvino_ops.check.__wrapped__()
    monkeypatch.setattr(openvino_ops, "to_bits", turned)
    with pytest.raises(PackedError, match="not exact"):
        openvino_ops.check.__wrapped__()
