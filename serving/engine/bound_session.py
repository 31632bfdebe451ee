"""One query through the encoder's graph, without asking for memory.

Making the graph's inputs and outputs anew takes about as long as a fourth of the run. So each
thread keeps arrays for a query, bound once.

Shape letters: P padded queries, W width of the table.
"""

from __future__ import annotations

import threading

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

SCALARS = ("offset", "bias", "slope")


class Alone(threading.local):
    """The graph for one query; every thread that uses it has its own arrays."""

    def __init__(self, session: ort.InferenceSession, padded: int, width: int) -> None:
        """Bind arrays.

        Args:
            session: an encoder.
            padded: P, of which the first is the query.
            width: W.
        """
        self._session = session
        self._head = np.zeros((padded, width), np.float32)
        self._relation = np.zeros(padded, np.int64)
        self._vector = np.zeros((padded, width), np.float32)
        self._scalars = np.zeros((len(SCALARS), padded), np.float32)
        self._binding = session.io_binding()
        self._binding.bind_cpu_input("head", self._head)
        self._binding.bind_cpu_input("relation", self._relation)
        for name, array in zip(("query", *SCALARS), (self._vector, *self._scalars), strict=True):
            address = array.ctypes.data
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, address)

    def run(
        self, head: NDArray[np.float32], relation: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """For a head [1, W] and a relation [1], the vector [1, W] and ``SCALARS`` [3, 1].

        Raises:
            Exception: of ONNX Runtime, if the graph fails or its outputs have other shapes.
        """
        self._head[:1], self._relation[:1] = head, relation
        self._session.run_with_iobinding(self._binding)
        return self._vector[:1].copy(), self._scalars[:, :1].astype(np.float64)
