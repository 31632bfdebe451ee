"""An ONNX graph put together by hand, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
_IR_VERSION = 10


@dataclass
class Nodes:
    """A graph in the making; values are called by name. Equal calls give equal graphs."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, operator: str, *inputs: str, to: Sequence[str] = (), **options: int) -> str:
        """A node; the name of its (first) output."""
        outputs = [*to] or [f"{operator.lower()}_{len(self.nodes)}"]
        node = helper.make_node(operator, inputs, outputs)
        node.attribute.extend(helper.make_attribute(*option) for option in options.items())
        self.nodes.append(node)
        return outputs[0]

    def as_float(self, value: str) -> str:
        """The same numbers in float32."""
        output = f"cast_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [value], [output], to=TensorProto.FLOAT))
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """A constant; its name."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def look_up(self, parts: dict[str, NDArray[np.float32]], rows: str) -> None:
        """Values [B, n] called as ``parts`` are, the rows of each part [R, n]; one look-up."""
        table = self.constant("table", np.concatenate([*parts.values()], axis=1))
        widths = self.constant("widths", np.array([part.shape[1] for part in parts.values()]))
        self.add("Split", self.add("Gather", table, rows), widths, to=[*parts], axis=1)

    def encoder(self, width: int) -> onnx.ModelProto:
        """The model with an encoder's inputs and outputs ."""
        real, whole = TensorProto.FLOAT, TensorProto.INT64
        value = helper.make_tensor_value_info
        scalars = (value(name, real, ["batch"]) for name in ("offset", "bias", "slope"))
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [value("head", real, ["batch", width]), value("relation", whole, ["batch"])],
            [value("query", real, ["batch", width]), *scalars],
            [*self.constants.values()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="mulde"
        )
