"""How large bytes may be, so that this machine multiplies them exactly.

ONNX Runtime multiplies unsigned bytes z (queries) by signed bytes w (the table) and adds the
products in 32 bits. Processors with an instruction for that (VNNI, the dot products of ARM) are
exact whatever the bytes are. Others, with AVX2 or AVX-512 alone, first add two neighbouring
products in 16 bits, and what is beyond 32,767 is cut off without a word: 2 * 255 * 127 is 64,770.
So there are two ranges. In the narrow one no two products can leave 16 bits, by arithmetic; and
either is tried with its extremes before it is believed.

Shape letters: B queries, J columns of bytes, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from serving.engine.encoder import session_options
from serving.engine.index.product_graph import product_graph

_QUERIES = (1, 2, 3, 4, 5, 8, 16)
_COLUMNS, _ROWS = (7, 68), 300


class InexactProducts(Exception):  # noqa: N818 - what is so, not what went wrong
    """Byte products on this machine are not exact."""


@dataclass(frozen=True)
class ByteRange:
    """The greatest magnitudes of bytes.

    Attributes:
        queries: of a query's, at most 127.
        weights: of the table's, at most 127.
    """

    queries: int
    weights: int

    @property
    def zero(self) -> int:
        """The unsigned byte that stands for a query's 0, so that the least is 1."""
        return self.queries + 1

    @property
    def fits_16_bits(self) -> bool:
        """Whether the sum of any two products of unsigned and signed bytes does."""
        return 2 * (self.zero + self.queries) * self.weights <= np.iinfo(np.int16).max


WIDE = ByteRange(127, 127)
NARROW = ByteRange(90, 90)
"""The sum of two products is 32,580 at most."""


def exact_range(threads: int = 1) -> ByteRange:
    """The wider range whose products this machine gets exactly.

    Raises:
        InexactProducts: if there is none.
    """
    for tried in (WIDE, NARROW):
        if _is_exact(tried, threads):
            return tried
    raise InexactProducts


def product_session(
    weights: NDArray[np.int8], span: ByteRange, threads: int
) -> ort.InferenceSession:
    """Products of queries in ``span`` with ``weights`` [J, N]."""
    graph = product_graph(weights, span.zero)
    return ort.InferenceSession(graph, session_options(threads), providers=["CPUExecutionProvider"])


def _is_exact(span: ByteRange, threads: int) -> bool:
    """Whether extreme products come out right, alone and in batches."""
    generator = np.random.default_rng(0)
    for columns in _COLUMNS:
        signs = generator.choice([-1, 1], size=(columns, _ROWS))
        signs[:, 0], signs[:, 1] = 1, -1
        weights = (signs * span.weights).astype(np.int8)
        session = product_session(weights, span, threads)
        for count in _QUERIES:
            queries = generator.choice([-1, 1], size=(count, columns)) * span.queries
            queries[0] = span.queries
            rounded = (queries + span.zero).astype(np.uint8)
            found = session.run(["products"], {"queries": rounded})[0]
            if not np.array_equal(found, queries @ weights.astype(np.int64)):
                return False
    return True
