"""Encoders made to do harm, with digests to match: refused before they are loaded to serve."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mulde.bundle.files import ENCODER
from tests.serving.resealing import reseal
from tests.torture.tools import Opener, Tally

Change = Callable[[onnx.ModelProto], None]


def change_graph(folder: Path, change: Change) -> None:
    model = onnx.load(folder / ENCODER)
    change(model)
    (folder / ENCODER).write_bytes(model.SerializeToString())
    reseal(folder)


def spliced(model: onnx.ModelProto, *nodes: onnx.NodeProto, **constants: object) -> None:
    """Nodes before all others, whose last output ``extra`` is added to the offset."""
    graph = model.graph
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    kept = [*graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in kept:
        for place, name in enumerate(node.output):
            if name == "offset":
                node.output[place] = "former"
    graph.node.extend(kept)
    graph.node.append(helper.make_node("Add", ["former", "extra"], ["offset"]))


def other_operator(model: onnx.ModelProto) -> None:
    shape = helper.make_node("RandomNormal", [], ["r"], shape=[1])
    spliced(model, shape, helper.make_node("ReduceSum", ["r"], ["extra"], keepdims=0))


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, []),
        ],
    )
    node = helper.make_node("Loop", ["many", "yes", "zero"], ["extra"], body=body)
    spliced(model, node, many=np.int64(2**62), yes=np.bool_(True), zero=np.float32(0))


def hidden_loop(model: onnx.ModelProto) -> None:
    """A graph as an attribute of an operator that takes none."""
    empty = helper.make_graph([], "g", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", empty))


def other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def function(model: onnx.ModelProto) -> None:
    add = helper.make_node("Add", ["a", "a"], ["b"])
    sets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Twice", ["a"], ["b"], [add], sets))


def weights_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)


def absolute_weights(model: onnx.ModelProto) -> None:
    weights_outside(model)
    model.graph.initializer[0].external_data[0].value = "/etc/passwd"


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, places, [1 << 20, 1 << 20])
    )


def many_nodes(model: onnx.ModelProto) -> None:
    chain = [helper.make_node("Neg", ["zero"], ["n0"])]
    chain += [helper.make_node("Neg", [f"n{at}"], [f"n{at + 1}"]) for at in range(2000)]
    chain += [helper.make_node("Neg", ["n2000"], ["extra"])]
    spliced(model, *chain, zero=np.float32(0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_operator, "it may not hold the operator 'RandomNormal'"),
        (loop, "it may not hold the operator 'Loop'"),
        (hidden_loop, "an attribute may hold numbers alone"),
        (other_domain, "expected standard operators alone, found b'com.microsoft'"),
        (function, "it may not hold functions"),
        (weights_outside, "it may not hold weights in another file"),
        (absolute_weights, "it may not hold weights in another file"),
        (sparse, "it may not hold a sparse tensor"),
        (many_nodes, "expected a graph of 1 to 1024 nodes"),
    ],
)
def test_an_encoder_that_is_more_than_sums_is_refused(
    copy: Path, change: Change, reason: str, opener: Opener, tally: Tally
) -> None:
    change_graph(copy, change)
    assert opener(copy).startswith(f"{copy / ENCODER}: is not an encoder: {reason}")
    tally("bundle: made to do harm", bundles=1, refused=1)


def doubling(model: onnx.ModelProto) -> None:
    names = ["once", *(f"twice{at}" for at in range(34))]
    nodes = [helper.make_node("Concat", [one, one], [two], axis=0) for one, two in pairwise(names)]
    total = helper.make_node("ReduceSum", [names[-1]], ["extra"], keepdims=0)
    spliced(model, *nodes, total, once=np.ones(64, np.float32))


def outer_product(model: onnx.ModelProto) -> None:
    """Of the batch with itself, for each of many numbers."""
    nodes = [
        helper.make_node("Gather", ["many", "relation"], ["own"], axis=0),
        helper.make_node("Reshape", ["own", "row"], ["r"]),
        helper.make_node("Reshape", ["own", "column"], ["c"]),
        helper.make_node("MatMul", ["c", "r"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["extra"], keepdims=0),
    ]
    flat, tall = np.array([1, -1]), np.array([-1, 1])
    spliced(model, *nodes, many=np.ones((6, 512), np.float32), row=flat, column=tall)


def expansion(model: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("Expand", ["zero", "wide"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["extra"], keepdims=0),
    ]
    spliced(model, *nodes, zero=np.float32(0), wide=np.array([1 << 20, 1 << 20]))


@pytest.mark.parametrize("change", [doubling, outer_product, expansion])
def test_an_encoder_that_asks_for_any_amount_of_memory_is_refused(
    copy: Path, change: Change, opener: Opener, tally: Tally
) -> None:
    change_graph(copy, change)
    told = opener(copy)
    assert told.startswith(f"{copy / ENCODER}: ONNX Runtime refuses it")
    assert "smaller than requested bytes" in told
    tally("bundle: made to do harm", bundles=1, refused=1)
