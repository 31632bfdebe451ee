"""The entity table as a FAISS index: ``entities.faiss``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.bundle.table.entity_table import Precision
from mulde.bundle.table.quantised_table import Codec
from mulde.errors import BundleError


def write_table(path: Path, table: NDArray[np.float32], precision: Precision) -> None:
    """Write a table as the codes of an inner-product index: they are the table.

    Args:
        path: the file.
        table: [E, W], from ``Layout.pack`` with the same precision, so that coding loses nothing.
        precision: "fp32" gives a flat index, "fp16" a scalar quantiser that stores halves.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
    write_index(_index(table, precision), path)


def write_index(index: Any, path: Path) -> None:
    """Write an index of FAISS.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
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
    """The same for a table of ``mulde.bundle.table.quantised_table.pack_quantised``.

    Args:
        path: the file.
        table: [E, W].
        codec: that it was packed with.

    Raises:
        BundleError: if it cannot be written, for want of space perhaps.
    """
    write_index(_quantised_index(table, codec), path)


def _quantised_index(table: NDArray[np.float32], codec: Codec) -> Any:
    kinds = {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}
    width = table.shape[1]
    index: Any = faiss.IndexScalarQuantizer(width, kinds[codec.bits], faiss.METRIC_INNER_PRODUCT)
    index.train(table[:1])
    faiss.copy_array_to_vector(np.concatenate([codec.low, codec.span]), index.sq.trained)
    faiss.copy_array_to_vector(codec.encode(table).reshape(-1), index.codes)
    index.ntotal = len(table)
    return index
