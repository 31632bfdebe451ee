"""The exported encoder: (head row of the table, relation) -> query, run by ONNX Runtime.

Shape letters: B queries, W width of the table, R relations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mulde.bundle.checks.onnx_graph import check_graph
from mulde.bundle.table.entity_table import Layout
from mulde.errors import BundleError, shorten
from mulde.typing import Array, Float32, Ints
from serving.engine.onnx_session import open_session, reason, try_graph
from serving.engine.scoring import Query

MOST_QUERIES = 256
"""Queries of one run; larger batches are encoded in parts."""

_INPUTS = {"head": "tensor(float)", "relation": "tensor(int64)"}
_OUTPUTS = ("query", "offset", "bias", "slope")
_NUMBERS = "tensor(float)"
_STEP = 16


class Encoder:
    """``encoder.onnx``, loaded.

    Attributes:
        opset: the version of its operators.

    Batches are padded to a multiple of 16, so that a query meets the same vector instructions
    whatever else is in its batch; its numbers are then the same to the last bit. A batch of one is
    not padded where ``check`` saw the same bits without.
    """

    def __init__(
        self, path: Path, width: int, *, threads: int = 1, low_memory: bool = False
    ) -> None:
        """Load the graph.

        Args:
            path: an ONNX file.
            width: W, of the table whose rows come in.
            threads: for one batch.
            low_memory: keep no memory between batches.

        Raises:
            BundleError: if it is not a plain graph, ONNX Runtime refuses it, its inputs and outputs
                are others, or a run takes more memory or time than an encoder needs.
        """
        self._path, self._width, self._least = path, width, _STEP
        self.opset = check_graph(path)
        self._session = open_session(path, threads, low_memory=low_memory)
        self._check_signature()
        heads = np.zeros((MOST_QUERIES, width), np.float32)
        try_graph(path, self._feed(heads, np.zeros(MOST_QUERIES, np.int64)))

    @property
    def model(self) -> bytes:
        """The serialised graph."""
        return self._path.read_bytes()

    def padded(self, count: int) -> int:
        """Return how many queries are encoded for so many."""
        return self._least if count == 1 else -(-count // _STEP) * _STEP

    def _check_signature(self) -> None:
        inputs = {node.name: node.type for node in self._session.get_inputs()}
        outputs = {node.name: node.type for node in self._session.get_outputs()}
        if inputs != _INPUTS or outputs != dict.fromkeys(_OUTPUTS, _NUMBERS):
            expected = f"expected inputs {sorted(_INPUTS)} and outputs {sorted(_OUTPUTS)}"
            found = f"{shorten(sorted(inputs))}, {shorten(sorted(outputs))}"
            raise BundleError(self._path, f"{expected} of their types, found {found}")

    def encode(self, heads: Float32, relations: Ints) -> Query:
        """Return queries for heads [B, W] (rows of the table) and relations [B] in [0, 2R).

        Raises:
            BundleError: if the graph fails, or its outputs have other shapes.
        """
        parts = [
            self._run(heads[start : start + MOST_QUERIES], relations[start : start + MOST_QUERIES])
            for start in range(0, len(heads), MOST_QUERIES)
        ]
        return Query.join(parts)

    def _run(self, heads: Float32, relations: Ints) -> Query:
        count, feed = len(heads), self._feed(heads, relations)
        try:
            vector, *scalars = self._session.run(_OUTPUTS, feed)
        except Exception as error:  # ONNX Runtime raises a family of types without a public root
            raise BundleError(self._path, f"the encoder failed: {reason(error)}") from error
        self._check_shapes(vector, scalars, len(feed["relation"]))
        offset, bias, slope = (scalar[:count].astype(np.float64) for scalar in scalars)
        return Query(vector[:count], offset, bias, slope)

    def _feed(self, heads: Float32, relations: Ints) -> dict[str, Array]:
        """Return the inputs of the graph, padded."""
        count = len(heads)
        padded = self.padded(count)
        if padded == count:
            return {"head": heads, "relation": relations}
        head = np.zeros((padded, self._width), dtype=np.float32)
        head[:count] = heads
        relation = np.zeros(padded, dtype=np.int64)
        relation[:count] = relations
        return {"head": head, "relation": relation}

    def _check_shapes(self, vector: Float32, scalars: list[Any], count: int) -> None:
        shapes = [vector.shape, *(scalar.shape for scalar in scalars)]
        if shapes != [(count, self._width), *[(count,)] * len(scalars)]:
            raise BundleError(self._path, f"the encoder gave outputs of shapes {shapes}")

    def check(self, heads: Float32, relations: Ints, layout: Layout) -> Query:
        """Encode a sample and refuse queries whose columns break the layout.

        Args:
            heads: [B, W].
            relations: [B], that hold each relation.
            layout: of the table.

        Raises:
            BundleError: as for ``encode``, or if a query breaks the layout.
        """
        query = self.encode(heads, relations)
        _check_layout(self._path, query, layout)
        self._least = 1
        if not self._is_same_alone(heads, relations, query):
            self._least = _STEP
        return query

    def _is_same_alone(self, heads: Float32, relations: Ints, batch: Query) -> bool:
        """Return whether some queries have the same bits in a batch of one without padding."""
        some = np.linspace(0, len(heads) - 1, 4 * _STEP).astype(np.int64)
        for place in some.tolist():
            one = slice(place, place + 1)
            try:
                alone = self._run(heads[one], relations[one])
            except BundleError:  # this graph needs the padding
                return False
            if not alone.equals(batch.take(one)):
                return False
        return True


def _check_layout(path: Path, query: Query, layout: Layout) -> None:
    numbers = (query.vector, query.offset, query.bias, query.slope)
    if not all(np.isfinite(part).all() for part in numbers) or not (query.slope > 0).all():
        raise BundleError(path, "expected finite queries with a slope above 0")
    excess, bias = query.vector[:, layout.excess], query.vector[:, layout.tail_bias]
    unused = query.vector[:, layout.head_bias].any() or query.vector[:, layout.traits.stop :].any()
    if (excess[:, 0] != excess[:, 1]).any() or (bias != 1).any() or unused:
        raise BundleError(
            path, "expected queries laid out as docs/explanation/bundle-format.md says"
        )
