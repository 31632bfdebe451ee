"""Facts that came after the training, by name: one SQLite file for each model name.

Each changed fact has one row with its last change: added or removed against the graph that the
model was trained on. ``sequence`` grows with every change, so that a reader asks for what is newer
than what it has; a sequence is never given twice, and neither is the number of a new entity. An
entity whose texts change gets the next number.

``compact`` drops the changes that a new version of the model carries. ``compacted`` is the greatest
sequence that was ever dropped: a reader that had not read it yet reads everything again.

A batch that ``change`` has returned from survives a crash of the process and of the machine, and
one that was interrupted leaves nothing. Several processes may open the same file. Each row has a
checksum.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection

from mulde.errors import StoreError
from mulde.storage.fact_database import TEXTS, FactDatabase
from mulde.storage.fact_records import Change, Names, NewEntity, StoredPlacement

MOST_FACTS = 1_000_000
"""Changed facts of one model name; beyond it an update of the model is due."""
MOST_ENTITIES = 10_000
"""New entities of one model name."""


class FactStore:
    """One file of changes. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open a file, or make it with its folder.

        Raises:
            StoreError: if it cannot be opened, is none of ours or is of a newer version.
        """
        self.path = path
        self._database = FactDatabase(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def generation(self) -> tuple[int, int]:
        """A value that changes with every change, by whichever process; cheap to read."""
        with self._database.reading() as base:
            (outside,) = base.execute("PRAGMA data_version").fetchone()
            return int(outside), base.total_changes

    def change(
        self, facts: Sequence[Names], *, removed: bool, entities: Sequence[NewEntity] = ()
    ) -> int:
        """Write a batch: all of it, durably, or nothing.

        Args:
            facts: distinct.
            removed: whether they are removed; else they are added.
            entities: those that are new; one that is there already keeps its texts where none are
                given.

        Returns:
            the sequence of the last change.

        Raises:
            StoreError: if the file cannot be written or a limit is reached.
        """
        now = time.time()
        with self._database.writing() as base:
            if entities:
                _write_entities(base, entities)
            last = _count(base, "sequence", len(facts))
            rows = [
                (*fact, removed, number, now, _checksum(fact, removed, number))
                for number, fact in enumerate(facts, last - len(facts) + 1)
            ]
            base.executemany("REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._check_limits(base, last)
            return last

    def _check_limits(self, base: Connection, last: int) -> None:
        """Refuse too many rows; facts are counted where their changes alone are so many."""
        limits = {"entities": MOST_ENTITIES} | ({"facts": MOST_FACTS} if last > MOST_FACTS else {})
        for table, limit in limits.items():
            (count,) = base.execute(f"SELECT count(*) FROM {table}").fetchone()
            if count > limit:
                problem = f"expected at most {limit} changed {table}, found {count}"
                raise StoreError(self.path, f"{problem}; update the model with them first")

    def changes(self, after: int = 0, most: int = MOST_FACTS) -> list[Change]:
        """Return the changes after a sequence, at most so many, in their order.

        Raises:
            StoreError: if the file cannot be read or a row is damaged.
        """
        query = "SELECT * FROM facts WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._database.reading() as base:
            rows = base.execute(query, (after, most)).fetchall()
        changes = []
        for head, relation, tail, removed, sequence, time_s, checksum in rows:
            fact = head, relation, tail
            if _checksum(fact, removed, sequence) != checksum:
                raise StoreError(self.path, f"the row of change {sequence} is damaged")
            changes.append(Change(fact, bool(removed), sequence, time_s))
        return changes

    def entities(self, after: int = 0) -> list[NewEntity]:
        """Return the new entities with a number above ``after``, by their number."""
        query = f"SELECT id, {', '.join(TEXTS)}, number FROM entities WHERE number > ?"
        with self._database.reading() as base:
            rows = base.execute(f"{query} ORDER BY number", (after,)).fetchall()
        return [
            NewEntity(name, label, description, tuple(types.split("\n")) if types else (), number)
            for name, label, description, types, number in rows
        ]

    def placements(self, model: str) -> dict[str, StoredPlacement]:
        """Return the placements of new entities in a model, by id; damaged ones are left out."""
        query = "SELECT id, sequence, vectors, checksum FROM placements WHERE model = ?"
        with self._database.reading() as base:
            rows = base.execute(query, (model,)).fetchall()
        return {
            name: StoredPlacement(sequence, vectors)
            for name, sequence, vectors, checksum in rows
            if zlib.crc32(vectors, sequence) == checksum
        }

    def keep_placements(self, model: str, placements: Mapping[str, StoredPlacement]) -> None:
        """Write placements, which a model can compute again, in the place of former ones."""
        rows = [
            (model, name, one.sequence, one.vectors, zlib.crc32(one.vectors, one.sequence))
            for name, one in placements.items()
        ]
        with self._database.writing() as base:
            base.executemany("REPLACE INTO placements VALUES (?, ?, ?, ?, ?)", rows)

    @property
    def compacted(self) -> int:
        """The greatest sequence of the changes that were dropped; 0 if none was."""
        query = "SELECT value FROM counters WHERE name = 'compacted'"
        with self._database.reading() as base:
            (value,) = base.execute(query).fetchone()
        return int(value)

    def compact(self, carried: Sequence[int]) -> None:
        """Drop changes that the model carries, and new entities that no change names any more.

        Args:
            carried: sequences of the changes; of a fact that has changed again since, nothing is
                dropped.
        """
        unnamed = "id NOT IN (SELECT head FROM facts UNION SELECT tail FROM facts)"
        with self._database.writing() as base:
            rows = [(sequence,) for sequence in carried]
            base.executemany("DELETE FROM facts WHERE sequence = ?", rows)
            base.execute(f"DELETE FROM entities WHERE {unnamed}")
            base.execute(f"DELETE FROM placements WHERE {unnamed}")
            latest = "UPDATE counters SET value = max(value, ?) WHERE name = 'compacted'"
            base.execute(latest, (max(carried, default=0),))


def _write_entities(base: Connection, entities: Sequence[NewEntity]) -> None:
    first = _count(base, "entity", len(entities)) - len(entities) + 1
    rows = [
        (number, one.id, one.label, one.description, "\n".join(one.types))
        for number, one in enumerate(entities, first)
    ]
    texts = ", ".join(f"{name} = excluded.{name}" for name in TEXTS)
    given = " || ".join(f"excluded.{name}" for name in TEXTS)
    base.executemany(
        f"INSERT INTO entities (number, id, {', '.join(TEXTS)}) VALUES (?, ?, ?, ?, ?) "
        f"ON CONFLICT (id) DO UPDATE SET number = excluded.number, {texts} WHERE {given} <> ''",
        rows,
    )


def _count(base: Connection, counter: str, more: int) -> int:
    """Return a counter after it was raised."""
    query = "UPDATE counters SET value = value + ? WHERE name = ? RETURNING value"
    ((value,),) = base.execute(query, (more, counter)).fetchall()
    return int(value)


def _checksum(fact: Names, removed: bool, sequence: int) -> int:
    return zlib.crc32("\0".join((*fact, str(int(removed)), str(sequence))).encode())
