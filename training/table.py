"""The entity table as a FAISS index: ``entities.faiss``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mulde.layout import Precision


def write_table(path: Path, table: NDArray[np.float32], precision: Precision) -> None:
    """Write a table as the codes of an inner-product index: they are the table.

    Args:
        path: the file.
        table: [E, W], from ``Layout.pack`` with the same precision, so that coding loses nothing.
        precision: "fp32" gives a flat index, "fp16" a scalar quantiser that stores halves.
    """
    width = table.shape[1]
    index: Any = faiss.IndexFlatIP(width)
    if precision == "fp16":
        codec = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(width, codec, faiss.METRIC_INNER_PRODUCT)
        index.train(table[:1])
    index.add(table)
    faiss.write_index(index, str(path))
