"""The binary convolution in OpenVINO, and a check of it.

OpenVINO's own (opset1) takes bits from the lowest up and sends the sign of zero to -1; for other than multiples of
eight input channels it is wrong, or fails. Here all of it is put right, and tried out before a network is run with it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bars.errors import PackedError
from bars.packed.bits import to_bits, to_signs
from bars.packed.convert import BINARY_CONV, BinaryConv
from bars.packed.graph import DOMAIN, Array

_JUST_BELOW_ZERO = -np.finfo(np.float32).tiny  # "> this" is ">= 0" but for numbers too small to be normal
_CHANNELS = 8
_WINDOW = ("strides", "pads", "dilations")


@cache
def core() -> Any:
    """OpenVINO, told what ``bars::BinaryConv`` is; making one takes longer than compiling a small network."""
    import openvino as ov
    from openvino.frontend.onnx import ConversionExtension

    made = ov.Core()
    made.add_extension(ConversionExtension(BINARY_CONV, DOMAIN, _convert))
    return made


def _convert(node: Any) -> Any:
    """A node of the file as OpenVINO's."""
    bits, scale, *bias = (node.get_input(i).get_node().get_data() for i in range(1, node.get_input_size()))
    window = {name: list(node.get_attribute(name)) for name in _WINDOW}
    signs = to_signs(bits.reshape(-1), node.get_attribute("shape"))
    return binary_conv(node.get_input(0), BinaryConv(signs, scale, bias[0] if bias else None, window)).outputs()


def binary_conv(x: Any, conv: BinaryConv) -> Any:
    """The convolution of the sign of ``x``, times scale, plus bias."""
    from openvino import opset1, opset13

    missing = -conv.signs.shape[1] % _CHANNELS
    signs = np.pad(conv.signs, ((0, 0), (0, missing), (0, 0), (0, 0)))
    signs[:, conv.signs.shape[1] :: 2] = True  # +1 and -1 in turn: the channels that are added cancel each other
    if missing:
        x = opset13.pad(x, [0, 0, 0, 0], [0, missing, 0, 0], "constant", arg_pad_value=np.float32(0)).output(0)
    at = opset1.constant(np.full((1, 1, 1, 1), _JUST_BELOW_ZERO, np.float32))
    low, high = (opset1.constant(np.full((1, 1, 1, 1), level, np.float32)) for level in (0, 1))
    binary = opset1.fake_quantize(x, at, at, low, high, 2)
    strides, pads, dilations = (conv.window[name] for name in _WINDOW)
    y = opset1.binary_convolution(
        binary, _constant(signs), strides, pads[:2], pads[2:], dilations, "xnor-popcount", 0.0
    )
    if missing % 2:  # one of them is left over: +1 wherever the window is on the image
        y = opset1.subtract(y, opset1.constant(_taps(x, conv)))
    if (conv.scale != 1).any():
        y = opset1.multiply(y, opset1.constant(conv.scale.reshape(1, -1, 1, 1)))
    return y if conv.bias is None else opset1.add(y, opset1.constant(conv.bias.reshape(1, -1, 1, 1)))


def _constant(signs: npt.NDArray[np.bool_]) -> Any:
    """Weights as OpenVINO's one-bit numbers."""
    import openvino as ov

    tensor = ov.Tensor(ov.Type.u1, ov.Shape(list(signs.shape)))
    tensor.data.reshape(-1)[:] = to_bits(signs)
    return ov.op.Constant(tensor)


def _taps(x: Any, conv: BinaryConv) -> Array:
    """How many pixels of the image each window holds, [1, 1, H', W']."""
    size = [int(x.get_partial_shape()[axis].get_length()) for axis in (2, 3)]
    counts = []
    for axis in range(2):
        kernel, stride, dilation = conv.signs.shape[2 + axis], *(conv.window[n][axis] for n in ("strides", "dilations"))
        start, end = conv.window["pads"][axis], conv.window["pads"][2 + axis]
        first = np.arange(-start, size[axis] + end - dilation * (kernel - 1), stride)
        place = first[:, None] + dilation * np.arange(kernel)
        counts.append(((place >= 0) & (place < size[axis])).sum(1))
    return np.asarray(np.outer(*counts)[None, None], dtype=np.float32)


@cache
def check() -> None:
    """Compare small convolutions with sums of integers, once a process. Raises PackedError where one differs."""
    rng = np.random.default_rng(0)
    for channels, stride in ((8, 1), (12, 1), (19, 2)):
        x = rng.integers(-2, 3, (1, channels, 5, 6)).astype(np.float32)  # many zeros among them
        window = {"strides": [stride] * 2, "pads": [1] * 4, "dilations": [1] * 2}
        signs = rng.random((10, channels, 3, 3)) < 0.5
        ours = run_alone(x, BinaryConv(signs, np.ones(10, np.float32), None, window))
        if not np.array_equal(ours, _by_hand(x, signs, stride)):
            import openvino

            raise PackedError(
                "the binary convolution of this OpenVINO is not exact on this machine",
                got=f"openvino {openvino.__version__}, {channels} channels, stride {stride}",
                do="pip install 'bars-nas[packed]', which names the release that was tried",
            )


def run_alone(x: Array, conv: BinaryConv) -> Array:
    """One convolution [N, I, H, W] -> [N, O, H', W'] as a network of its own."""
    import openvino as ov
    from openvino import opset13

    source = opset13.parameter(list(x.shape), np.float32)
    compiled = core().compile_model(ov.Model([binary_conv(source.output(0), conv)], [source]), "CPU")
    return np.array(compiled([x])[0])


def _by_hand(x: Array, signs: npt.NDArray[np.bool_], stride: int) -> Array:
    """3x3, padded by one zero: the definition."""
    padded = np.pad(np.where(x >= 0, 1, -1), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.asarray(np.einsum("nihwkl,oikl->nohw", seen, np.where(signs, 1, -1)), dtype=np.float32)
