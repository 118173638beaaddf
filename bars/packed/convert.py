"""From an ONNX network whose binary weights are floats to one that holds them as bits, and back.

The packed graph has one operation that ONNX lacks, ``bars::BinaryConv(x, bits, scale[, bias])``: the sign of x (+1 at
zero), convolved with weights +-1, zero padding after the sign; then per output channel times scale, plus bias.
Attributes: shape [O, I, k, k], strides, pads, dilations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bars.errors import PackedError
from bars.packed.bits import Signs, to_bits, to_signs
from bars.packed.graph import DOMAIN, Array, Graph, attributes_of, node, simplify

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

BINARY_CONV = "BinaryConv"
_KEPT = ("strides", "pads", "dilations")


@dataclass(frozen=True)
class BinaryConv:
    """One binary convolution of a packed graph; signs [O, I, k, k], scale [O], bias [O] or None."""

    signs: Signs
    scale: Array
    bias: Array | None
    window: dict[str, Any]


def pack(model: ModelProto) -> ModelProto:
    """The same network with one bit per binary weight. Raises PackedError where no convolution is binary."""
    graph = Graph.of(model)
    simplify(graph)
    made = {output: now for now in graph.nodes for output in now.output}
    nodes, reasons = [], []
    for now in graph.nodes:
        if now.op_type == "Conv":
            packed = _packed(now, made, graph)
            reasons += [packed] if isinstance(packed, str) else []
            nodes += [now] if isinstance(packed, str) else packed
        else:
            nodes.append(now)
    graph.nodes = nodes
    if not any(now.op_type == BINARY_CONV for now in nodes):
        raise PackedError(
            "no convolution of this network can be packed",
            got="; ".join(dict.fromkeys(reasons)) or "no convolution",
            allowed="signs convolved with weights +a or -a, one a per output channel",
        )
    return graph.to_model()


def unpack(model: ModelProto) -> ModelProto:
    """The same network in plain ONNX, its weights +-scale as floats: the float twin."""
    graph = Graph.of(model)
    half = "half"
    graph.constants[half] = np.array(0.5, np.float32)
    nodes, signed = [], set()
    for now in graph.nodes:
        if now.op_type != BINARY_CONV:
            nodes.append(now)
            continue
        conv, (x, bits), out = read_node(now, graph.constants), now.input[:2], now.output[0]
        if x not in signed:
            signed.add(x)
            nodes += [
                node("Sign", [x], f"{x}/sign"),
                node("Add", [f"{x}/sign", half], f"{x}/shifted"),
                node("Sign", [f"{x}/shifted"], f"{x}/binary"),
            ]
        scale = conv.scale.reshape(-1, 1, 1, 1)
        graph.constants[f"{bits}/float"] = np.where(conv.signs, scale, -scale).astype(np.float32)
        given = [f"{x}/binary", f"{bits}/float", *now.input[3:]]
        nodes.append(node("Conv", given, out, kernel_shape=conv.signs.shape[2:], **conv.window))
    graph.nodes = nodes
    return graph.to_model()


def binary_convs(model: ModelProto) -> Iterator[BinaryConv]:
    """The binary convolutions of a packed graph. Raises ValueError where one is malformed."""
    graph = Graph.of(model)
    return (read_node(now, graph.constants) for now in graph.nodes if now.op_type == BINARY_CONV)


def read_node(now: NodeProto, constants: dict[str, Array]) -> BinaryConv:
    """A BinaryConv node's weights. Raises ValueError where they do not fit its shape."""
    attributes = attributes_of(now)
    shape = attributes.pop("shape")
    bits, scale, *bias = (constants[name] for name in now.input[1:])
    if len(shape) != 4 or any(vector.shape != (shape[0],) for vector in (scale, *bias)):
        raise ValueError(f"scale or bias do not fit weights {shape}")
    return BinaryConv(to_signs(bits, shape), scale, bias[0] if bias else None, attributes)


def _packed(conv: NodeProto, made: dict[str, NodeProto], graph: Graph) -> list[NodeProto] | str:
    """A convolution as packed nodes, or why it stays as it is."""
    attributes = attributes_of(conv)
    weight = graph.constants.get(conv.input[1])
    if weight is None or attributes.get("group", 1) != 1 or weight.ndim != 4:
        return "a convolution in groups"
    if not _is_tried(weight.shape[2:], attributes):
        return "a window beyond those that are exact: 5x5, strides above 2, holes in 5x5"
    magnitude = np.abs(weight).reshape(len(weight), -1)
    if (magnitude != magnitude[:, :1]).any():
        return "weights of more than two values +a, -a per channel"
    before = _before_sign(conv.input[0], made, graph)
    if before is None:
        return "an input that is no sign"
    x, factor, slices = before
    out = conv.output[0]
    nodes = []
    for i, cut in enumerate(slices):
        # What is cut out of signs is cut out before the sign: bits are not cut.
        nodes.append(node("Slice", [x, *cut.input[1:]], f"{out}/cut{i}"))
        x = f"{out}/cut{i}"
    names: dict[str, Array] = {"bits": to_bits(weight > 0), "scale": (magnitude[:, 0] * factor).astype(np.float32)}
    graph.constants.update({f"{out}/{name}": value for name, value in names.items()})
    given = [x, *(f"{out}/{name}" for name in names), *conv.input[2:]]
    window = {key: attributes[key] for key in _KEPT}
    return [*nodes, node(BINARY_CONV, given, out, domain=DOMAIN, shape=weight.shape, **window)]


def _is_tried(kernel: tuple[int, ...], attributes: dict[str, Any]) -> bool:
    """OpenVINO's kernels are wrong for strides above 2, and lack large windows; no network here has any."""
    reach = [dilation * (size - 1) for dilation, size in zip(attributes["dilations"], kernel, strict=True)]
    return bool(max(attributes["strides"]) <= 2 and max(reach) <= 4)


def _before_sign(name: str, made: dict[str, NodeProto], graph: Graph) -> tuple[str, float, list[NodeProto]] | None:
    """What the sign was taken of, the factor behind it, and the slices between sign and convolution, first to last."""
    factor, slices = 1.0, []
    while name in made:
        now = made[name]
        if now.op_type == "Slice" and all(each in graph.constants for each in now.input[1:]):
            slices.append(now)
            name = now.input[0]
        elif now.op_type == "Mul" and (scalar := _scalar(now, graph)) is not None:
            factor *= scalar[1]
            name = scalar[0]
        elif now.op_type == "Sign":
            inner = _half_added(made.get(now.input[0]), made, graph)
            return None if inner is None else (inner, factor, slices[::-1])
        else:
            return None
    return None


def _scalar(now: NodeProto, graph: Graph) -> tuple[str, float] | None:
    """The other input and the value of a product or sum with one number."""
    for value, other in (now.input, tuple(reversed(now.input))):
        constant = graph.constants.get(value)
        if constant is not None and constant.size == 1:
            return other, float(constant.reshape(()))
    return None


def _half_added(now: NodeProto | None, made: dict[str, NodeProto], graph: Graph) -> str | None:
    """x of sign(x) + 1/2, whose sign is that of x with +1 at zero."""
    added = None if now is None or now.op_type != "Add" else _scalar(now, graph)
    if added is None or added[1] != 0.5:
        return None
    first = made.get(added[0])
    return first.input[0] if first is not None and first.op_type == "Sign" else None
