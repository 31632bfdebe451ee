"""The entity table as a FAISS index: ``entities.faiss``."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.errors import BundleError
from mulde.layout import PRECISIONS, Precision
from mulde.quantised import Codec

_COUNT = struct.Struct("<Q")
_ROWS_AT = 8
"""Where FAISS writes the number of rows."""


def write_table(path: Path, table: NDArray[np.float32], precision: Precision) -> None:
    """Write a table as the codes of an inner-product index: they are the table.

    Args:
        path: the file.
        table: [E, W], from ``Layout.pack`` with the same precision, so that coding loses nothing.
        precision: "fp32" gives a flat index, "fp16" a scalar quantiser that stores halves.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
    _write(_index(table, precision), path)


def _write(index: Any, path: Path) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # all that FAISS raises
        reason = str(error).strip().splitlines()[-1]
        raise BundleError(path, f"cannot be written: {reason}") from error


def _index(table: NDArray[np.float32], precision: Precision) -> Any:
    width = table.shape[1]
    index: Any = faiss.IndexFlatIP(width)
    if precision == "fp16":
        codec = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(width, codec, faiss.METRIC_INNER_PRODUCT)
        index.train(table[:1])
    index.add(table)
    return index


def write_quantised(path: Path, table: NDArray[np.float32], codec: Codec) -> None:
    """The same for a table of ``mulde.quantised.pack_quantised``.

    Args:
        path: the file.
        table: [E, W].
        codec: that it was packed with.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
    kinds = {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}
    width = table.shape[1]
    index: Any = faiss.IndexScalarQuantizer(width, kinds[codec.bits], faiss.METRIC_INNER_PRODUCT)
    index.train(table[:1])
    faiss.copy_array_to_vector(np.concatenate([codec.low, codec.span]), index.sq.trained)
    faiss.copy_array_to_vector(codec.encode(table).reshape(-1), index.codes)
    index.ntotal = len(table)
    _write(index, path)


def stream_table(
    path: Path,
    chunks: Iterable[NDArray[np.float32]],
    entities: int,
    width: int,
    precision: Precision,
) -> None:
    """Write the file that ``write_table`` writes, from chunks; only one of them is in memory.

    Args:
        path: a file that does not exist.
        chunks: rows of the table in order, [n, W] each; E together.
        entities: E.
        width: W.
        precision: as for ``write_table``.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
        ValueError: if the chunks have another number of rows or columns.
    """
    written = 0
    try:
        with path.open("xb") as file:
            file.write(_head(entities, width, precision))
            for chunk in chunks:
                if chunk.shape[1] != width:
                    raise ValueError(f"expected chunks of width {width}, found {chunk.shape[1]}")
                file.write(np.ascontiguousarray(chunk, dtype=PRECISIONS[precision]).data)
                written += len(chunk)
    except OSError as error:
        raise BundleError(path, f"cannot be written: {error}") from error
    if written != entities:
        raise ValueError(f"expected {entities} rows, found {written}")


def _head(entities: int, width: int, precision: Precision) -> bytes:
    """What FAISS writes before the codes: that of a table of one row, with the sizes replaced."""
    row = np.zeros((1, width), dtype=np.float32)
    one: bytes = faiss.serialize_index(_index(row, precision)).tobytes()
    head = bytearray(one[: -width * np.dtype(PRECISIONS[precision]).itemsize])
    (codes,) = _COUNT.unpack_from(head, len(head) - _COUNT.size)
    _COUNT.pack_into(head, len(head) - _COUNT.size, codes * entities)
    _COUNT.pack_into(head, _ROWS_AT, entities)
    return bytes(head)
