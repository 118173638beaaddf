"""An ONNX graph as a list of nodes and a table of constants, and the clean-up that every export needs first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = npt.NDArray[Any]
DOMAIN = "bars"  # of the one operation that ONNX does not have


@dataclass
class Graph:
    """One input, one output, nodes in an order in which they can run."""

    nodes: list[NodeProto]
    constants: dict[str, Array]
    source: str
    result: str
    opset: int
    template: ModelProto

    @classmethod
    def of(cls, model: ModelProto) -> Graph:
        """Take a model apart; its tensors become arrays."""
        from onnx import numpy_helper

        opset = next(entry.version for entry in model.opset_import if not entry.domain)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        (source,), (result,) = model.graph.input, model.graph.output
        return cls(list(model.graph.node), constants, source.name, result.name, opset, model)

    def to_model(self) -> ModelProto:
        """The model without what nobody reads, its values named in the order in which they appear."""
        from onnx import helper, numpy_helper

        nodes = self._live()
        names = {"": "", self.source: self.source, self.result: self.result}
        for name in (name for node in nodes for name in (*node.input, *node.output)):
            names.setdefault(name, f"v{len(names)}")
        for node in nodes:
            node.ClearField("name")
            node.ClearField("metadata_props")
            for values in (node.input, node.output):
                values[:] = [names[name] for name in values]
        kept = [name for name in self.constants if name in names]
        tensors = [numpy_helper.from_array(np.ascontiguousarray(self.constants[name]), names[name]) for name in kept]
        given = self.template.graph
        graph = helper.make_graph(nodes, "network", given.input, given.output, tensors)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.template.ir_version)

    def _live(self) -> list[NodeProto]:
        """Copies of the nodes on which the result depends."""
        from onnx import NodeProto

        live, needed = [], {self.result}
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(NodeProto.FromString(node.SerializeToString()))
        return live[::-1]


def node(op: str, inputs: Iterable[str], output: str, **attributes: Any) -> NodeProto:
    """One node of one output."""
    from onnx import helper

    return helper.make_node(op, list(inputs), [output], **attributes)


def attributes_of(of: NodeProto) -> dict[str, Any]:
    """Its attributes as plain values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in of.attribute}


def simplify(graph: Graph) -> None:
    """Compute what depends on no image, and leave out what changes nothing: sums with zero, splits in one part."""
    renamed: dict[str, str] = {}
    zeros: set[str] = set()
    kept = []
    for now in graph.nodes:
        now.input[:] = [renamed.get(name, name) for name in now.input]
        same = _passes_through(now, zeros)
        if all(name in graph.constants or not name for name in now.input):
            graph.constants.update(zip(now.output, _computed(now, graph), strict=True))
        elif same is not None and now.output[0] != graph.result:
            renamed[now.output[0]] = same
        else:
            kept.append(now)
        if now.op_type == "Expand" and not graph.constants.get(now.input[0], np.ones(1)).any():
            zeros.add(now.output[0])
    graph.nodes = kept


def _passes_through(now: NodeProto, zeros: set[str]) -> str | None:
    """The input that a node returns as it is."""
    if now.op_type == "Identity" or (now.op_type == "Split" and len(now.output) == 1):
        return str(now.input[0])
    if now.op_type == "Add" and zeros.intersection(now.input):
        # Where edges are summed the first is added to zeros of its own shape.
        return str(now.input[1] if now.input[0] in zeros else now.input[0])
    return None


def _computed(now: NodeProto, graph: Graph) -> list[Array]:
    """What a node of constants returns."""
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    given = {name: graph.constants[name] for name in now.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [ValueInfoProto(name=name) for name in now.output]
    alone = helper.make_graph([now], "constant", inputs, outputs)
    model = helper.make_model(alone, opset_imports=[helper.make_opsetid("", graph.opset)])
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, given)]
