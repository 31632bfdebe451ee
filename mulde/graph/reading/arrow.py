"""Between numpy, Python and Arrow without pandas.

``pyarrow.array``, ``pyarrow.scalar`` and ``Array.to_numpy`` import pandas where it is installed,
which takes longer than reading a graph of a hundred thousand facts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def arrow_rows(rows: NDArray[Any]) -> Any:
    """Numbers as an Arrow array that shares their memory."""
    whole = np.ascontiguousarray(rows)
    kind = pa.from_numpy_dtype(whole.dtype)
    return pa.Array.from_buffers(kind, len(whole), [None, pa.py_buffer(whole)])


def numpy_of(numbers: Any) -> NDArray[Any]:
    """An Arrow array of numbers without nulls as numpy, sharing its memory."""
    if not len(numbers):
        return np.zeros(0, dtype=str(numbers.type))
    whole = np.frombuffer(numbers.buffers()[1], dtype=str(numbers.type))
    return whole[numbers.offset : numbers.offset + len(numbers)]


def arrow_names(names: Sequence[str]) -> Any:
    """Names without line ends as an Arrow array."""
    text = "".join(f"{name}\n" for name in names).encode()
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    offsets = np.concatenate([[0], ends - np.arange(len(ends))])
    return _text(offsets, text.replace(b"\n", b""))


def arrow_scalar(text: str) -> Any:
    """A text as an Arrow scalar."""
    raw = text.encode()
    return _text(np.array([0, len(raw)]), raw)[0]


def _text(offsets: NDArray[np.int64], raw: bytes) -> Any:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def find(ids: Any, name: str) -> int:
    """The row of a name among sorted Arrow strings; -1 if it is not there."""
    row = bisect_left(range(len(ids)), name, key=lambda place: str(ids[place].as_py()))
    return row if row < len(ids) and ids[row].as_py() == name else -1
