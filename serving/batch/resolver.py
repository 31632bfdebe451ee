"""Names of questions to rows, many at a time.

Shape letters: B questions of a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np

from mulde.bundle.entities.vocabulary import NameTable, Vocabulary
from mulde.errors import DatasetError, RequestError
from mulde.typing import Rows
from serving.batch.questions import Questions

_RECENT = 1 << 17


class Resolver:
    """Looks names up; those that were found lately are remembered, for files repeat them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Remember nothing yet.

        Args:
            vocabulary: of the bundle.
        """
        self._vocabulary = vocabulary
        self._recent: dict[str, dict[str, int]] = {"entity": {}, "relation": {}}

    def rows(self, shard: Questions) -> tuple[Rows, Rows]:
        """Rows of the given entities [B] and of the relations [B]; -1 for unknown names."""
        vocabulary = self._vocabulary
        entities = self._look_up(vocabulary.entities, shard.entities)
        return entities, self._look_up(vocabulary.relations, shard.relations)

    def _look_up(self, names: NameTable, wanted: Sequence[str]) -> Rows:
        recent = self._recent[names.kind]
        rows = np.fromiter(map(recent.get, wanted, repeat(-1)), np.int64, len(wanted))
        missing = np.flatnonzero(rows < 0)
        if missing.size:
            asked = [wanted[place] for place in missing.tolist()]
            rows[missing] = found = names.lookup(asked)
            if len(recent) > _RECENT:
                recent.clear()
            # What is unknown is not kept: it could be anything, of any length.
            pairs = zip(asked, found.tolist(), strict=True)
            recent.update((name, row) for name, row in pairs if row >= 0)
        return rows

    def unknown(self, source: Path, shard: Questions, place: int) -> DatasetError:
        """Why a question of the shard, one whose row is -1, is refused.

        Args:
            source: the file, for the message.
            shard: of it.
            place: of the question in the shard.
        """
        try:
            self._vocabulary.relations.row(shard.relations[place])
            self._vocabulary.entities.row(shard.entities[place])
        except RequestError as error:
            return DatasetError(source, str(error), shard.line + place)
        raise AssertionError("called with a question that can be asked")
