"""Ids and labels of answers: the few that are asked for often are kept as strings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.vocabulary import NameTable
from mulde.storage.strings import StringColumn

_FEW = 64
_KEPT = 16_384


class Texts:
    """One column of names, in front of the mapped file. Threads may share it."""

    def __init__(self, strings: StringColumn) -> None:
        self._strings = strings
        self._kept: dict[int, str] = {}

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of rows [B]; from memory where they are few and known."""
        if len(rows) > _FEW:
            return self._strings.take(rows)
        kept = self._kept
        texts = [kept.get(row) for row in rows.tolist()]
        if None not in texts:
            return texts  # type: ignore[return-value]  # as was just seen
        return self._add(rows)

    def _add(self, rows: NDArray[np.integer]) -> list[str]:
        texts = self._strings.take(rows)
        if len(self._kept) > _KEPT:
            self._kept.clear()
        self._kept.update(zip(rows.tolist(), texts, strict=True))
        return texts


class Shown:
    """What answers are called: ids, and labels where they differ."""

    def __init__(self, names: NameTable) -> None:
        self.ids = Texts(names.ids)
        self.labels = self.ids if names.labels is names.ids else Texts(names.labels)
