"""Bounds of a table and of its inverted lists, stored in ``measures.bin``.

A process that verifies a bundle reads the whole table and refuses measures that it exceeds
(``serving.engine``). A process that opens a bundle which was just verified maps the measures and
reads none of the table.

Shape letters: W width, C inverted lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mulde.errors import BundleError
from mulde.storage.container import read_sections, write_sections
from mulde.typing import Array, Float32, Float64

MAGIC = b"MULDEMEA"
VERSION = 1

_EXPECTED = {
    "extent": ("f8",),
    "weights": ("f8",),
    "error": ("f8",),
    "reach": ("f8",),
    "spread": ("f4",),
    "means": ("f4",),
}
_LENGTHS = 4


@dataclass(frozen=True)
class TableBounds:
    """Bounds that every row of the table keeps.

    Attributes:
        row_norm: the largest Euclidean norm of a row.
        tail_bias: the largest tail bias.
        length, norm: of the codes' errors and of the codes (``code_loss.CodeLoss``).
        weights: [W], of columns where lists are compared.
        error: [W], the codes' largest error in each column.
        reach: [C], the largest distance of a row from the mean of its list.
        spread: [C], the mean square of that distance; no bound relies on it.
        means: [W, C].
    """

    row_norm: float
    tail_bias: float
    length: float
    norm: float
    weights: Float64
    error: Float64
    reach: Float64
    spread: Float32
    means: Float32

    def write(self, path: Path) -> None:
        """Write ``measures.bin``, a new file."""
        extent = np.array([self.row_norm, self.tail_bias, self.length, self.norm])
        arrays: dict[str, Array] = {
            "extent": extent,
            **{name: getattr(self, name).reshape(-1) for name in _EXPECTED if name != "extent"},
        }
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, width: int, cells: int) -> TableBounds:
        """Map a ``measures.bin``; the engine checks it against the table.

        Args:
            path: the file.
            width: W, as the manifest says.
            cells: C, likewise.

        Raises:
            BundleError: if it is missing, damaged, foreign or of another size.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        lengths = _LENGTHS, width, width, cells, cells, width * cells
        sizes = {name: len(array) for name, array in arrays.items()}
        wanted = dict(zip(_EXPECTED, lengths, strict=True))
        if sizes != wanted:
            raise BundleError(path, f"expected measures of {width} columns and {cells} cells")
        if not all(np.isfinite(array[array != -np.inf]).all() for array in arrays.values()):
            raise BundleError(path, "a measure is not finite")
        row_norm, tail_bias, length, norm = arrays.pop("extent").tolist()
        arrays["means"] = arrays["means"].reshape(width, cells)
        return cls(row_norm, tail_bias, length, norm, **arrays)
