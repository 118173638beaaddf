"""Channels that are interleaved or widened, written as a runtime copies them fast.

The exporter writes both with the channels moved to the end, or to the front, where OpenVINO then copies numbers one by
one: a strided cell spent more time on that than on its binary convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bars.packed.graph import Graph, attributes_of, node, simplify

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Made = dict[str, "NodeProto"]  # by the name of what a node returns
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_BLOCKS = [2, 1, 0, 3, 4]  # [N, blocks, C, H, W] with C and N in each other's place


def straightened(model: ModelProto) -> ModelProto:
    """The same network, number for number, without those detours."""
    graph = Graph.of(model)
    simplify(graph)  # a plain network has not been yet
    made = {output: now for now in graph.nodes for output in now.output}
    nodes: list[NodeProto] = []
    for now in graph.nodes:
        nodes += _interleaved(now, made, graph) or _widened(now, made, graph) or [now]
    graph.nodes = nodes
    return graph.to_model()


def _interleaved(now: NodeProto, made: Made, graph: Graph) -> list[NodeProto] | None:
    """[N, C, H, W] twice -> [N, 2C, H, W], a0 b0 a1 b1 ...: ``bars.models.staggered.interleave``."""
    found = _behind(now.input[0], made, "Reshape", "Concat")
    if found is None or not _turns(now, _TO_FIRST):
        return None
    reshape, both = found
    sources = []
    for each in both.input:
        before = _behind(each, made, "Unsqueeze", "Transpose")
        if before is None or _values(before[0], graph) != [-1] or not _turns(before[1], _TO_LAST):
            return None
        sources.append(before[1].input[0])
    shape = _values(reshape, graph)
    if shape is None or len(shape) != 4 or len(sources) != 2 or attributes_of(both)["axis"] != -1:
        return None
    _, height, width, channels = shape
    out = now.output[0]
    axis, size, stacked = f"{out}/axis", f"{out}/shape", f"{out}/both"
    graph.constants[axis] = np.array([2])
    graph.constants[size] = np.array([-1, channels, height, width])
    return [
        *(node("Unsqueeze", [source, axis], f"{out}/{i}") for i, source in enumerate(sources)),
        node("Concat", [f"{out}/0", f"{out}/1"], stacked, axis=2),
        node("Reshape", [stacked, size], out),
    ]


def _widened(now: NodeProto, made: Made, graph: Graph) -> list[NodeProto] | None:
    """[N, blocks * c, H, W] -> [N, blocks * C, H, W], zeros behind each block: ``bars.models.width.fit_channels``."""
    found = _behind(now.input[0], made, "Transpose", "ScatterND") if now.op_type == "Reshape" else None
    shape = _values(now, graph) if found else None
    if found is None or shape is None or len(shape) != 4 or not _turns(found[0], _BLOCKS):
        return None
    zeros, places, given = (_behind(name, made, *ops) for name, ops in zip(found[1].input, _SCATTERED, strict=True))
    if zeros is None or places is None or given is None:
        return None
    if not (_turns(zeros[0], _BLOCKS) and _turns(given[0], _BLOCKS)):
        return None
    blocked = _values(given[1], graph)
    first = [graph.constants.get(name, np.zeros(0)).tolist() for name in places[1].input[1:3]]
    if blocked is None or len(blocked) != 5 or attributes_of(zeros[1]) or first != [[0], blocked[2:3]]:
        return None
    out = now.output[0]
    pads = [0] * 7 + [shape[1] // blocked[1] - blocked[2], 0, 0]
    graph.constants[f"{out}/pads"] = np.array(pads)
    return [
        node("Reshape", given[1].input, f"{out}/blocks"),
        node("Pad", [f"{out}/blocks", f"{out}/pads"], f"{out}/wide"),
        node("Reshape", [f"{out}/wide", now.input[1]], out),
    ]


# Zeros without a value of their own, the first channels of each block, and what is written there.
_SCATTERED = (("Transpose", "ConstantOfShape"), ("Unsqueeze", "Slice", "Range"), ("Transpose", "Reshape"))


def _behind(name: str, made: Made, *ops: str) -> list[NodeProto] | None:
    """The nodes that a value comes through, from the last on, if they are these."""
    found = []
    for op in ops:
        now = made.get(name)
        if now is None or now.op_type != op:
            return None
        found.append(now)
        name = now.input[0]
    return found


def _turns(now: NodeProto, order: list[int]) -> bool:
    return now.op_type == "Transpose" and list(attributes_of(now)["perm"]) == order


def _values(now: NodeProto, graph: Graph) -> list[int] | None:
    """The constant that is a node's second input: a shape, or axes."""
    value = graph.constants.get(now.input[1])
    return None if value is None else [int(each) for each in value]
