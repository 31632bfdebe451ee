"""Array types with their shapes, used by all packages.

Shape letters: n triples, B batch, E entities, R relations, K candidates, W width of the entity
table, D dimension. A name says what the numbers are; the shape is that of the usual case.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""[...] of any type."""

Ints: TypeAlias = NDArray[np.integer]
"""[B] whole numbers of any width, as a caller may pass them."""

Floats: TypeAlias = NDArray[np.floating]
"""[...] floating-point numbers of any width, as a caller may pass them."""

Rows: TypeAlias = NDArray[np.int64]
"""[B] rows of entities in [0, E), or of relations in [0, 2R); reciprocal ones start at R."""

Triples: TypeAlias = NDArray[np.int32]
"""[n, 3] rows of head, relation and tail."""

Offsets: TypeAlias = NDArray[np.int64]
"""[B + 1]: part i of a flat array is ``flat[offsets[i] : offsets[i + 1]]``."""

Mask: TypeAlias = NDArray[np.bool_]
"""[B] or [2R] yes or no."""

Float32: TypeAlias = NDArray[np.float32]
"""[B, W] query vectors, [n, W] table rows."""

Float64: TypeAlias = NDArray[np.float64]
"""[B] or [B, K] scores, bounds and other numbers that are computed in full precision."""

Bytes: TypeAlias = NDArray[np.uint8]
"""[N] stored bytes: text, codes, compressed numbers."""

Products: TypeAlias = NDArray[np.int32]
"""[b, N] integer products of queries and rows in bytes."""
