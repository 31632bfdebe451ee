"""Front coding of a string column, where that takes fewer bytes (``mulde.storage.strings``).

Shape letters: n strings.
"""

from __future__ import annotations

import numpy as np

from mulde.runs import run_places
from mulde.storage.string_sections import column_arrays
from mulde.storage.strings import CHUNK_ROWS, GROUP, StringColumn
from mulde.typing import Array, Ints, Rows

_MOST_SHARED = 255


def shortest(strings: StringColumn, order: Ints | None = None) -> StringColumn:
    """The same strings, front-coded if that is smaller.

    Args:
        strings: n of them.
        order: [n], rows in ascending order of their strings; None where they have it themselves.
    """
    if strings.shared is not None or not len(strings):
        return strings
    return min(strings, front_code(strings, order), key=_bytes)


def front_code(strings: StringColumn, order: Ints | None = None) -> StringColumn:
    """Front-code a plain column; arguments as for ``shortest``."""
    count = len(strings)
    rows = np.arange(count) if order is None else order.astype(np.int64)
    shared, parts = np.zeros(count, np.uint8), [np.zeros(0, np.uint8)]
    for first in range(0, count, CHUNK_ROWS):
        places = np.arange(first, min(first + CHUNK_ROWS, count))
        shared[places] = _shared(strings, rows, places)
        text, sizes = strings.text(rows[places])
        letter = run_places(0, sizes)
        parts.append(text[letter >= np.repeat(shared[places], sizes)])
    kept = strings.sizes(rows) - shared
    places_of_rows = None if order is None else inverse(rows)
    return StringColumn.front_coded(np.concatenate(parts), kept, shared, places_of_rows)


def inverse(order: Rows) -> Array:
    """The place of each row in an order [n] of the rows."""
    places = np.empty(len(order), narrow(len(order)))
    places[order] = np.arange(len(order))
    return places


def narrow(count: int) -> type[np.unsignedinteger]:
    """The type of numbers below ``count``."""
    return np.uint16 if count <= 1 << 16 else np.uint32


def _bytes(strings: StringColumn) -> int:
    return sum(array.nbytes for array in column_arrays(strings, "").values())


def _shared(strings: StringColumn, rows: Rows, places: Rows) -> Rows:
    """How many bytes each of ``places`` [B] has in common with the one that it refers to."""
    here, there = rows[places], rows[places & places - 1]
    most = np.minimum(np.minimum(strings.sizes(here), strings.sizes(there)), _MOST_SHARED)
    width = int(most.max())
    pair = (strings.padded(one, width).view(np.uint8).reshape(-1, width) for one in (here, there))
    differs = np.not_equal(*pair)
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
    return np.where(places % GROUP, np.minimum(first, most), 0)
