"""A query alone is encoded as it is in a batch, to the last bit, with padding or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mulde.bundle.table.entity_table import Layout
from mulde.errors import BundleError
from mulde.typing import Float32, Rows
from serving.engine.encoder import Encoder
from serving.engine.engine import Engine
from serving.engine.scoring import Query
from tests.support.toy import toy_bundle

LAYOUT = Layout(2)
WIDTH = LAYOUT.width
FIELDS = ("vector", "offset", "bias", "slope")


def same(one: Query, batch: Query, at: int) -> bool:
    return all(np.array_equal(getattr(one, n)[0], getattr(batch, n)[at]) for n in FIELDS)


def write_encoder(path: Path, *offset: onnx.NodeProto) -> None:
    """The query is the head, and bias and slope its first two columns; the offset as said."""
    real, value = TensorProto.FLOAT, helper.make_tensor_value_info
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        *(helper.make_tensor(f"at{i}", TensorProto.INT64, [1], [i]) for i in range(3)),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["head"], ["query"]),
            helper.make_node("Slice", ["head", "at0", "at1", "axis"], ["first"]),
            helper.make_node("Squeeze", ["first", "axis"], ["bias"]),
            helper.make_node("Slice", ["head", "at1", "at2", "axis"], ["second"]),
            helper.make_node("Squeeze", ["second", "axis"], ["slope"]),
            *offset,
        ],
        "encoder",
        [value("head", real, ["n", WIDTH]), value("relation", TensorProto.INT64, ["n"])],
        [value("query", real, ["n", WIDTH]), *(value(n, real, ["n"]) for n in FIELDS[1:])],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def asked(generator: np.random.Generator) -> tuple[Float32, Rows]:
    """Float32 that make queries of the layout: equal halves of the excess, a bias of 1."""
    heads = generator.normal(size=(70, WIDTH)).astype(np.float32)
    heads[:, 1] = np.abs(heads[:, 1]) + 0.1
    heads[:, LAYOUT.excess], heads[:, LAYOUT.tail_bias] = heads[:, 2:3], 1
    heads[:, LAYOUT.head_bias] = 0
    return heads, np.arange(70)


def checked(encoder: Encoder, heads: Float32, relations: Rows) -> Query:
    return encoder.check(heads, relations, LAYOUT)


def test_a_graph_that_takes_each_query_by_itself_needs_no_padding(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["relation"], ["offset"], to=TensorProto.FLOAT)
    write_encoder(tmp_path / "e.onnx", cast)
    encoder = Encoder(tmp_path / "e.onnx", WIDTH)
    heads, relations = asked(np.random.default_rng(0))
    padded = [encoder.encode(heads[i : i + 1], relations[i : i + 1]) for i in range(70)]
    batch = checked(encoder, heads, relations)
    bare = [encoder.encode(heads[i : i + 1], relations[i : i + 1]) for i in range(70)]
    for at in range(70):
        assert same(padded[at], batch, at)
        assert same(bare[at], batch, at)
    assert [one.offset[0] for one in bare] == list(range(70))


def test_a_graph_whose_numbers_change_without_padding_keeps_it(tmp_path: Path) -> None:
    """Its offset is the size of its batch, which a query alone sees as 16."""
    write_encoder(
        tmp_path / "e.onnx",
        helper.make_node("Shape", ["relation"], ["size"]),
        helper.make_node("Cast", ["size"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bias", "number"], ["offset"]),
    )
    encoder = Encoder(tmp_path / "e.onnx", WIDTH)
    heads, relations = asked(np.random.default_rng(1))
    checked(encoder, heads, relations)
    alone = encoder.encode(heads[:1], relations[:1])
    assert alone.offset[0] == np.float32(16) * heads[0, 0]


@pytest.mark.parametrize("count", [1, 70])
def test_outputs_of_other_shapes_are_refused(tmp_path: Path, count: int) -> None:
    """An output of twice as many rows as queries."""
    write_encoder(
        tmp_path / "e.onnx", helper.make_node("Concat", ["bias", "slope"], ["offset"], axis=0)
    )
    encoder = Encoder(tmp_path / "e.onnx", WIDTH)
    heads, relations = asked(np.random.default_rng(2))
    with pytest.raises(BundleError, match="shapes"):
        encoder.encode(heads[:count], relations[:count])


def test_what_an_engine_encodes_does_not_change_with_its_company(tmp_path: Path) -> None:
    engine = Engine.open(toy_bundle(tmp_path / "toy", entities=300, dimension=16).path)
    generator = np.random.default_rng(3)
    entities = generator.integers(300, size=200)
    relations = np.resize(np.arange(2 * engine.num_relations), 200)
    batch = engine.encode(entities, relations)
    for at in range(200):
        assert same(engine.encode(entities[at : at + 1], relations[at : at + 1]), batch, at)
