"""The exported encoder: (head row of the table, relation) -> query, run by ONNX Runtime.

Shape letters: B queries, W width of the table, R relations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mulde.errors import BundleError, shorten
from serving.engine.bound_session import SCALARS, Alone
from serving.engine.checks.onnx_graph import check_graph
from serving.engine.checks.onnx_trial import reason, try_graph

_INPUTS = {"head": "tensor(float)", "relation": "tensor(int64)"}
_OUTPUTS = ("query", *SCALARS)
_NUMBERS = "tensor(float)"
_STEP = 16
_LARGEST = 1024
SMALL = 64
"""Queries that are answered together where memory is scarce."""
_COMPUTES_WHEN_LOADED = ["ConstantFolding"]
"""Left out: it saves nothing here, and its memory cannot be bounded (``try_graph``)."""


@dataclass(slots=True)  # frozen ones take four times as long to make
class Query:
    """What the encoder says about B queries: <vector, row> + offset = b_t - slope u.

    Attributes:
        vector: float32 [B, W].
        offset: float64 [B].
        bias: float64 [B], of the head.
        slope: float64 [B], above 0.
    """

    vector: NDArray[np.float32]
    offset: NDArray[np.float64]
    bias: NDArray[np.float64]
    slope: NDArray[np.float64]

    def __len__(self) -> int:
        """B."""
        return len(self.vector)

    def take(self, which: slice | NDArray[np.integer]) -> Query:
        """Some of the queries."""
        return Query(self.vector[which], self.offset[which], self.bias[which], self.slope[which])


class Encoder:
    """``encoder.onnx``, loaded.

    Batches are padded to a multiple of 16, so that a query meets the same vector instructions
    whatever else is in its batch; its numbers are then the same to the last bit. One query alone
    goes without where that was tried and changed no bit (``pad_less``).
    """

    def __init__(
        self, path: Path, width: int, *, threads: int = 1, low_memory: bool = False
    ) -> None:
        """Load the graph.

        Args:
            path: an ONNX file.
            width: W, of the table whose rows come in.
            threads: for one batch.
            low_memory: run small batches, and keep no memory between them.

        Raises:
            BundleError: if it is not a plain graph, ONNX Runtime refuses it, its inputs and outputs
                are others, or a run takes more memory or time than an encoder needs.
        """
        self._path, self._width = path, width
        self._largest = SMALL if low_memory else _LARGEST
        check_graph(path)
        options = session_options(threads, low_memory=low_memory)
        try:
            self._session = ort.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_COMPUTES_WHEN_LOADED,
                enable_fallback=0,  # a second try, which prints to stdout
            )
        except Exception as error:  # ONNX Runtime raises a family of types without a public root
            raise BundleError(path, f"ONNX Runtime refuses it: {reason(error)}") from error
        self._check_signature()
        self._alone = Alone(self._session, _STEP, width)
        largest = self._largest
        heads, relations = np.zeros((largest, width), np.float32), np.zeros(largest, np.int64)
        try_graph(path, self._feed(heads, relations))

    def pad_less(
        self, heads: NDArray[np.float32], relations: NDArray[np.integer], batch: Query
    ) -> None:
        """Run a query alone without padding, if it gets the same bits that way.

        Most graphs treat each query by itself in any batch; then padding only costs time.

        Args:
            heads: [B, W], of queries to try.
            relations: [B].
            batch: the same, encoded together.
        """
        lone = Alone(self._session, 1, self._width)
        for at in range(len(batch)):
            one = slice(at, at + 1)
            try:
                vector, scalars = lone.run(heads[one], relations[one])
            except Exception:  # as above; a graph that needs the padding keeps it
                return
            expected = batch.offset[one], batch.bias[one], batch.slope[one]
            if not np.array_equal(vector, batch.vector[one]):
                return
            if not np.array_equal(scalars, expected):
                return
        self._alone = lone

    def _check_signature(self) -> None:
        inputs = {node.name: node.type for node in self._session.get_inputs()}
        outputs = {node.name: node.type for node in self._session.get_outputs()}
        if inputs != _INPUTS or outputs != dict.fromkeys(_OUTPUTS, _NUMBERS):
            expected = f"expected inputs {sorted(_INPUTS)} and outputs {sorted(_OUTPUTS)}"
            found = f"{shorten(sorted(inputs))}, {shorten(sorted(outputs))}"
            raise BundleError(self._path, f"{expected} of their types, found {found}")

    def encode(self, heads: NDArray[np.float32], relations: NDArray[np.integer]) -> Query:
        """Queries for heads [B, W] (rows of the table) and relations [B] in [0, 2R).

        Raises:
            BundleError: if the graph fails, or its outputs have other shapes or are not finite.
        """
        largest = self._largest
        if len(heads) <= largest:
            return self._encode(heads, relations)
        parts = [
            self._encode(heads[start : start + largest], relations[start : start + largest])
            for start in range(0, len(heads), largest)
        ]
        fields = ("vector", "offset", "bias", "slope")
        return Query(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    def _encode(self, heads: NDArray[np.float32], relations: NDArray[np.integer]) -> Query:
        count = len(heads)
        if count == 1:
            return self._encode_alone(heads, relations)
        feed = self._feed(heads, relations)
        try:
            outputs = self._session.run(_OUTPUTS, feed)
        except Exception as error:  # as above
            raise BundleError(self._path, f"the encoder failed: {reason(error)}") from error
        vector, *scalars = outputs
        self._check_outputs(vector, scalars, len(feed["relation"]))
        offset, bias, slope = (scalar[:count].astype(np.float64) for scalar in scalars)
        return Query(vector[:count], offset, bias, slope)

    def _encode_alone(self, head: NDArray[np.float32], relation: NDArray[np.integer]) -> Query:
        try:
            vector, scalars = self._alone.run(head, relation)
        except Exception as error:  # as above
            raise BundleError(self._path, f"the encoder failed: {reason(error)}") from error
        return Query(vector, *scalars)

    def _feed(
        self, heads: NDArray[np.float32], relations: NDArray[np.integer]
    ) -> dict[str, NDArray[np.number]]:
        """What the graph takes, padded."""
        padded = -(-len(heads) // _STEP) * _STEP
        head = np.zeros((padded, self._width), dtype=np.float32)
        head[: len(heads)] = heads
        relation = np.zeros(padded, dtype=np.int64)
        relation[: len(heads)] = relations
        return {"head": head, "relation": relation}

    def _check_outputs(
        self, vector: NDArray[np.float32], scalars: list[NDArray[np.float32]], count: int
    ) -> None:
        sound = vector.shape == (count, self._width)
        if not sound or any(scalar.shape != (count,) for scalar in scalars):
            shapes = [vector.shape, *(scalar.shape for scalar in scalars)]
            raise BundleError(self._path, f"the encoder gave outputs of shapes {shapes}")


def session_options(threads: int, *, low_memory: bool = False) -> ort.SessionOptions:
    """How the server runs graphs: few threads, none of them spinning, warnings left out.

    With ``low_memory``, what a run takes goes back when it ends.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if low_memory:
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return options
