"""The entity table as a FAISS index: ``entities.faiss``."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entity_table import PRECISIONS, Precision
from mulde.bundle.quantised_table import Codec
from mulde.errors import BundleError

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
    """The same for a table of ``mulde.bundle.quantised_table.pack_quantised``.

    Args:
        path: the file.
        table: [E, W].
        codec: that it was packed with.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
    _write(_quantised_index(table, codec), path)


def _quantised_index(table: NDArray[np.float32], codec: Codec) -> Any:
    kinds = {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}
    width = table.shape[1]
    index: Any = faiss.IndexScalarQuantizer(width, kinds[codec.bits], faiss.METRIC_INNER_PRODUCT)
    index.train(table[:1])
    faiss.copy_array_to_vector(np.concatenate([codec.low, codec.span]), index.sq.trained)
    faiss.copy_array_to_vector(codec.encode(table).reshape(-1), index.codes)
    index.ntotal = len(table)
    return index


def stream_table(
    path: Path,
    chunks: Iterable[NDArray[np.float32]],
    entities: int,
    width: int,
    precision: Precision | Codec,
) -> None:
    """Write the file that ``write_table`` or ``write_quantised`` writes, from chunks.

    Only one of them is in memory.

    Args:
        path: a file that does not exist.
        chunks: rows of the table in order, [n, W] each; E together.
        entities: E.
        width: W.
        precision: as for ``write_table``, or the codec of ``write_quantised``.

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
                file.write(_codes(chunk, precision).data)
                written += len(chunk)
    except OSError as error:
        raise BundleError(path, f"cannot be written: {error}") from error
    if written != entities:
        raise ValueError(f"expected {entities} rows, found {written}")


def _codes(rows: NDArray[np.float32], precision: Precision | Codec) -> NDArray[Any]:
    if isinstance(precision, Codec):
        return precision.encode(rows)
    return np.ascontiguousarray(rows, dtype=PRECISIONS[precision])


def _head(entities: int, width: int, precision: Precision | Codec) -> bytes:
    """What FAISS writes before the codes: that of a table of one row, with the sizes replaced."""
    row = np.zeros((1, width), dtype=np.float32)
    make = _quantised_index if isinstance(precision, Codec) else _index
    index = make(row, precision)  # type: ignore[arg-type]
    one: bytes = faiss.serialize_index(index).tobytes()
    head = bytearray(one[: -_codes(row, precision).nbytes])
    (codes,) = _COUNT.unpack_from(head, len(head) - _COUNT.size)
    _COUNT.pack_into(head, len(head) - _COUNT.size, codes * entities)
    _COUNT.pack_into(head, _ROWS_AT, entities)
    return bytes(head)
